/** `mille login`: checks a login and keeps it where docker keeps it. */
import { BuildError, UsageError } from '../../core/errors.js'
import { collect, limited } from '../../io/stream.js'
import { checkLogin, type PasswordCredentials, saveLogin } from '../../registry/login.js'
import { defineCommand } from '../command.js'
import { ask } from '../prompt.js'
import { credentialSettings, openAnonymousClient, registryHost } from '../registry-client.js'
import type { Shell } from '../shell.js'

/** The verb `login`. */
export const command = defineCommand({
  name: 'login',
  usage: '[OPTIONS] [SERVER]',
  summary: 'Save credentials for a registry',
  notes: [
    'SERVER is the host of the registry; Docker Hub when there is none. The credentials are checked before they are saved.',
  ],
  flags: {
    password: { type: 'string', short: 'p', value: 'text', help: 'The password or token (others on this machine can see it)' },
    'password-stdin': { type: 'boolean', help: 'Read the password from stdin' },
    username: { type: 'string', short: 'u', value: 'name', help: 'The user' },
  },
  arguments: [0, 1],
  async run({ values, positionals }, shell) {
    const registry = registryHost(positionals[0])
    const credentials = await readCredentials(values, registry, shell)
    await using client = openAnonymousClient(shell)
    await checkLogin(client, registry, credentials, { signal: shell.signal, emit: shell.emit })
    const saved = await saveLogin(registry, credentials, credentialSettings(shell), shell.signal)
    if (saved.helper === undefined) shell.note(`the password is in ${saved.file}, readable by you, not encrypted`)
    shell.print('Login Succeeded\n')
    return 0
  },
})

async function readCredentials(
  values: { readonly username: string | undefined; readonly password: string | undefined; readonly 'password-stdin': boolean },
  registry: string,
  shell: Shell,
): Promise<PasswordCredentials> {
  const fromStdin = values['password-stdin']
  if (fromStdin && values.password !== undefined) {
    throw new UsageError('USAGE_BAD_FLAG', '--password and --password-stdin cannot be given together')
  }
  if (fromStdin && values.username === undefined) throw new UsageError('USAGE_BAD_FLAG', '--password-stdin needs --username')
  const username = values.username ?? (await askFor(`Username for ${registry}: `, false, shell))
  const password = fromStdin ? await readPassword(shell) : (values.password ?? (await askFor('Password: ', true, shell)))
  if (username === '' || password === '') {
    throw new BuildError('REGISTRY_CREDENTIALS', `the ${username === '' ? 'user name' : 'password'} is empty`)
  }
  return { kind: 'password', username, password }
}

async function readPassword(shell: Shell): Promise<string> {
  const bytes = await collect(limited(shell.stdin, 64 * 1024, 'USAGE_BAD_ARGUMENT', 'the password on stdin'))
  return bytes.toString('utf8').replace(/\r?\n$/, '')
}

function askFor(question: string, hidden: boolean, shell: Shell): Promise<string> {
  if (shell.stdin.isTTY) return ask(question, hidden, shell)
  throw new UsageError('USAGE_BAD_FLAG', 'stdin is no terminal to ask at', {
    hint: 'give --username and --password-stdin',
  })
}
