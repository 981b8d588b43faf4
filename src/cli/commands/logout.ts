/** `mille logout`. */
import { removeLogin } from '../../registry/login.js'
import { defineCommand } from '../command.js'
import { credentialSettings, registryHost } from '../registry-client.js'

/** The verb `logout`. */
export const command = defineCommand({
  name: 'logout',
  usage: '[SERVER]',
  summary: 'Forget the credentials for a registry',
  flags: {},
  arguments: [0, 1],
  async run({ positionals }, shell) {
    const registry = registryHost(positionals[0])
    const removed = await removeLogin(registry, credentialSettings(shell), shell.signal)
    if (removed) shell.print(`Removing login credentials for ${registry}\n`)
    else shell.note(`Not logged in to ${registry}`)
    return 0
  },
})
