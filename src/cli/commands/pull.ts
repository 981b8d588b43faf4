/** `mille pull`. */
import { UsageError } from '../../core/errors.js'
import { formatPlatform, parsePlatform, platformMatches, platformOf } from '../../core/platform.js'
import { defineCommand } from '../command.js'
import { withTransfer } from '../transfer.js'

/** The verb `pull`. */
export const command = defineCommand({
  name: 'pull',
  usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
  summary: 'Fetch an image from a registry',
  flags: {
    platform: {
      type: 'string',
      value: 'os/arch',
      help: 'The platform of the image',
      env: 'DOCKER_DEFAULT_PLATFORM',
      defaultText: "this machine's",
    },
    quiet: { type: 'boolean', short: 'q', help: 'Show no progress; print the name only' },
  },
  unsupported: ['all-tags|a', 'disable-content-trust'],
  arguments: [1, 1],
  async run({ values, positionals }, shell) {
    const [reference = ''] = positionals
    const host = platformOf(process.platform, process.arch)
    const platform = values.platform === undefined ? host : parsePlatform(values.platform, host)
    if (platform === undefined) throw new UsageError('USAGE_BAD_FLAG', `--platform "${values.platform}" is no platform`)
    const { pullImage } = await import('../../engine/transfer.js')
    const operation = { id: 'pull', title: 'Pulling', name: `pull ${reference}`, quiet: values.quiet } as const
    const pulled = await withTransfer(operation, shell, (options) => pullImage({ ...options, reference, platform }))
    if (!values.quiet) {
      shell.note(
        `Digest: ${pulled.digest}\nStatus: ${pulled.isNew ? 'Downloaded newer image' : 'Image is up to date'} for ${reference}`,
      )
    }
    if (!platformMatches(pulled.platform, platform)) {
      const asked = values.platform === undefined ? 'this machine is' : '--platform asks for'
      const message = `${reference} is for ${formatPlatform(pulled.platform)}, and ${asked} ${formatPlatform(platform)}`
      shell.warn({ severity: 'warning', code: 'PlatformMismatch', message })
    }
    shell.print(`${pulled.reference}\n`)
    return 0
  },
})
