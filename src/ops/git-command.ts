/**
 * Starts the system's git, cut off from everything but its arguments: no configuration of the user, the system or a
 * repository nearby, no hooks, no credential helpers, no prompts. What a remote needs to let us in comes by environment, so
 * that no value is in a command line.
 */
import { dirname } from 'node:path'
import { BuildError, systemCode } from '../core/errors.js'
import { runProcess } from '../io/process.js'

/** git ended with an error. The message is its own word on what went wrong. */
export class GitError extends BuildError {
  /** All that git said, in English. */
  readonly output: string

  constructor(reason: string, output: string, hint?: string) {
    super('ADD_GIT_FAILED', reason, hint === undefined ? {} : { hint })
    this.output = output
  }
}

/** What lets git into one remote. */
export interface GitAccess {
  readonly config: readonly (readonly [name: string, value: string])[]
  readonly env: Readonly<Record<string, string>>
  /** Values that must not be shown. */
  readonly secrets: readonly string[]
}

/** How one command differs from others. */
export interface GitCall {
  readonly gitDir?: string
  /** The command runs in it. */
  readonly workTree?: string
  readonly indexFile?: string
  readonly access?: GitAccess
  /** Locks that the command shares: git may outlive a mille that was killed. */
  readonly locks?: readonly number[]
  /** Read from a repository of the store, instead of from the network. */
  readonly isLocal?: boolean
}

/** Runs git and answers what it printed. Throws GitError. */
export type RunGit = (args: readonly string[], call?: GitCall) => Promise<string>

/** A day: the network's own limits are below, and big repositories take their time. */
const timeoutMs = 24 * 3_600_000

const passedOn = [
  ...['PATH', 'TMPDIR', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'CURL_CA_BUNDLE'],
  ...['GIT_SSL_CAINFO', 'GIT_SSL_CAPATH', 'GIT_SSL_NO_VERIFY'],
  ...['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY', 'all_proxy', 'ALL_PROXY'],
]

const config: GitAccess['config'] = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['core.logAllRefUpdates', 'false'],
  ['init.defaultBranch', 'master'],
  ['advice.detachedHead', 'false'],
  ['fetch.recurseSubmodules', 'false'],
  // Nothing may go on when mille has ended.
  ['gc.autoDetach', 'false'],
  ['maintenance.autoDetach', 'false'],
  // A server that says nothing for a minute is gone.
  ['http.lowSpeedLimit', '1'],
  ['http.lowSpeedTime', '60'],
]

/**
 * Makes the function that runs git.
 *
 * @param neutral a directory that is in no repository, and that holds no `.gitconfig`
 */
export function createGit(env: Readonly<Record<string, string | undefined>>, neutral: string, signal: AbortSignal): RunGit {
  return async (args, call = {}) => {
    const { gitDir, workTree, access, locks = [] } = call
    const place = [
      ...['-C', workTree ?? neutral],
      ...(gitDir === undefined ? [] : [`--git-dir=${gitDir}`]),
      ...(workTree === undefined ? [] : [`--work-tree=${workTree}`]),
    ]
    const options = { input: '', env: environment(env, neutral, call), timeoutMs, signal, inherit: locks, ownSession: true }
    const result = await started(() => runProcess('git', [...place, ...args], options))
    if (result.exitCode === 0) return result.stdout
    const output = withoutSecrets(result.stderr, access?.secrets ?? [])
    throw new GitError(ownWord(output) || `git ${args[0]} ended with exit code ${result.exitCode}`, output)
  }
}

function environment(env: Readonly<Record<string, string | undefined>>, neutral: string, call: GitCall): Record<string, string> {
  const settings = [...config, ...(call.access?.config ?? [])]
  return {
    ...Object.fromEntries(passedOn.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]]))),
    LC_ALL: 'C',
    HOME: neutral,
    GIT_CEILING_DIRECTORIES: dirname(neutral),
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '',
    SSH_ASKPASS: '',
    GIT_ALLOW_PROTOCOL: call.isLocal === true ? 'file' : 'http:https:ssh:git',
    ...(call.indexFile === undefined ? {} : { GIT_INDEX_FILE: call.indexFile }),
    ...call.access?.env,
    GIT_CONFIG_COUNT: String(settings.length),
    ...Object.fromEntries(
      settings.flatMap(([name, value], i) => [
        [`GIT_CONFIG_KEY_${i}`, name],
        [`GIT_CONFIG_VALUE_${i}`, value],
      ]),
    ),
  }
}

async function started<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return await run()
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    throw new BuildError('ADD_GIT_FAILED', 'the program git is not installed', { hint: 'install the package git', cause: error })
  }
}

function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((rest, secret) => (secret === '' ? rest : rest.replaceAll(secret, '***')), text)
}

/** The line that says `fatal:`, else the last one that says something. */
function ownWord(text: string): string {
  const lines = text.split('\n').map((line) => line.trim())
  const fatal = firstOf(lines, 'fatal:') ?? firstOf(lines, 'error:')
  const remote = lines.filter((line) => line.startsWith('remote: ') && line.length > 'remote: '.length)
  const word = fatal ?? lines.filter((line) => line !== '').at(-1) ?? ''
  const said = word.replace(/^(?:fatal|error): /, '')
  return remote.length === 0 || said === '' ? said : `${said} (${remote.map((line) => line.slice('remote: '.length)).join(' ')})`
}

/** What ends in a colon is said on the next line. */
function firstOf(lines: readonly string[], start: string): string | undefined {
  const at = lines.findIndex((line) => line.startsWith(start))
  const line = lines[at]
  return line?.endsWith(':') ? `${line} ${lines[at + 1] ?? ''}`.trim() : line
}
