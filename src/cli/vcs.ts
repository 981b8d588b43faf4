/** What git says of the checkout that a context is: a hint for provenance, as buildx gives it. Loaded only for that. */
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { systemCode } from '../core/errors.js'
import { runProcess } from '../io/process.js'
import type { Shell } from './shell.js'

const timeoutMs = 10_000

/**
 * `source` (the remote's URL) and `revision` (the commit, with `-dirty` when files differ from it) of a context directory;
 * nothing outside a checkout, without git, and with BUILDX_GIT_INFO=false.
 */
export async function readVcs(context: string, shell: Shell): Promise<Readonly<Record<string, string>>> {
  if (/^(0|f|false)$/i.test(shell.env.BUILDX_GIT_INFO ?? '')) return {}
  const directory = resolve(shell.cwd, context)
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) return {}
  const git = (...args: readonly string[]): Promise<string | undefined> => runGit(directory, args, shell)
  const revision = await git('rev-parse', '--verify', '--quiet', 'HEAD')
  if (revision === undefined) return {}
  const changes = await git('status', '--porcelain')
  const source = await git('remote', 'get-url', 'origin')
  const dirty = changes === undefined || changes === '' ? '' : '-dirty'
  return { revision: `${revision}${dirty}`, ...(source ? { source } : {}) }
}

/** What git prints; undefined when it fails, as outside of a checkout. */
async function runGit(directory: string, args: readonly string[], shell: Shell): Promise<string | undefined> {
  const env = { ...shell.env, GIT_OPTIONAL_LOCKS: '0', LC_ALL: 'C' }
  try {
    const options = { input: '', env, timeoutMs, signal: shell.signal }
    // Hooks and monitors that the checkout configures are not for us to start.
    const safe = ['-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null']
    const { exitCode, stdout } = await runProcess('git', [...safe, '-C', directory, ...args], options)
    return exitCode === 0 ? stdout.trim() : undefined
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}
