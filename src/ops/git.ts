/**
 * ADD of git repositories, with the system's git: the ref is pinned to a commit for the key, and only that commit is
 * fetched, without history. Credentials come from the user's own git set-up; nothing ever prompts.
 */
import { chmodSync, lstatSync, lutimesSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ContextTree } from '../context/tree.js'
import type { Context } from '../core/context.js'
import { BuildError, systemCode } from '../core/errors.js'
import { decodePath, fsPath } from '../core/path-bytes.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { GitOp } from '../graph/op.js'
import { type ProcessResult, runProcess } from '../io/process.js'
import { resolvePath } from '../layer/stack.js'
import type { OpRunner } from '../solver/ports.js'

/** What the runner of git sources needs. */
export interface GitRunnerOptions {
  /** Makes a new empty directory that lives until the build ends. */
  readonly scratch: () => string
  readonly env: Readonly<Record<string, string | undefined>>
}

const commitPattern = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/
const timeoutMs = 30 * 60_000

/** Makes the runner of git sources. A ref is looked up once in the runner's life. */
export function createGitRunner(options: GitRunnerOptions): OpRunner<GitOp> {
  const pinned = new Map<string, Promise<string>>()
  const commitOf = (op: GitOp, ctx: Context): Promise<string> => {
    const key = `${op.remote} ${op.ref ?? ''}`
    const known = pinned.get(key) ?? findCommit(op, options, ctx)
    pinned.set(key, known)
    return known
  }
  return {
    async key(op, _inputs, _vertex, ctx) {
      const commit = await commitOf(op, ctx)
      checkCommit(op, commit)
      const { kind, subdir, keepGitDir, submodules, mtime } = op
      // With .git kept, the remote and the ref are in the files too.
      const origin = keepGitDir ? { remote: withoutCredentials(op.remote), ref: op.ref } : undefined
      const fields = { kind, commit, subdir, keepGitDir, submodules, mtime, origin }
      return { fields, components: { commit }, coveredInputs: [] }
    },
    async run(op, _inputs, _vertex, ctx) {
      const commit = await commitOf(op, ctx)
      checkCommit(op, commit)
      const directory = options.scratch()
      await checkOut(op, commit, directory, options, ctx)
      const time = op.mtime === 'commit' ? await commitTime(op, directory, options, ctx) : undefined
      if (!op.keepGitDir) rmSync(join(directory, '.git'), { recursive: true, force: true })
      normalise(directory, time)
      return { kind: 'files', view: new ContextTree(subdirectory(op, directory), compileIgnore([])) }
    },
  }
}

async function findCommit(op: GitOp, options: GitRunnerOptions, ctx: Context): Promise<string> {
  const ref = op.ref ?? 'HEAD'
  if (commitPattern.test(ref)) return ref
  if (ref.startsWith('-') || op.remote.startsWith('-')) throw gitError(op, `"${ref}" cannot be a ref`)
  const { stdout } = await git(op, ['ls-remote', '--', op.remote, ref, `${ref}^{}`], options, ctx)
  const found = new Map(
    stdout
      .split('\n')
      .map((line) => line.split('\t'))
      .map(([commit = '', name = '']) => [name, commit]),
  )
  // As git itself resolves short names: tags (the commit, not the tag object) before branches.
  const names = [ref, `refs/${ref}`, `refs/tags/${ref}^{}`, `refs/tags/${ref}`, `refs/heads/${ref}`]
  const commit = names.map((name) => found.get(`${name}^{}`) ?? found.get(name)).find((value) => value !== undefined)
  if (commit === undefined) throw gitError(op, `it has no branch or tag "${ref}"`)
  return commit
}

function checkCommit(op: GitOp, commit: string): void {
  if (op.fetchByCommit && !commitPattern.test(op.checksum ?? '')) {
    throw gitError(op, 'fetch-by-commit needs the whole commit id as the checksum')
  }
  if (op.checksum === undefined || commit.startsWith(op.checksum)) return
  throw new BuildError('ADD_CHECKSUM_MISMATCH', `${withoutCredentials(op.remote)} is at commit ${commit}, not ${op.checksum}`, {
    hint: 'check what changed there, then update --checksum',
  })
}

async function checkOut(op: GitOp, commit: string, directory: string, options: GitRunnerOptions, ctx: Context): Promise<void> {
  const run = (...args: string[]): Promise<ProcessResult> => git(op, ['-C', directory, ...args], options, ctx)
  await run('init', '--quiet', '--template=')
  await run('remote', 'add', 'origin', '--', op.remote)
  // Some servers refuse to send a commit by its id: then by its name, as long as that still is the commit.
  const byName = op.ref === undefined || commitPattern.test(op.ref) ? 'HEAD' : op.ref
  try {
    await run('fetch', '--quiet', '--depth=1', '--no-tags', 'origin', commit)
  } catch (error) {
    if (!(error instanceof BuildError) || op.fetchByCommit) throw error
    await run('fetch', '--quiet', '--no-tags', 'origin', byName)
  }
  await run('checkout', '--quiet', '--detach', commit)
  if (op.submodules) await run('submodule', '--quiet', 'update', '--init', '--recursive', '--depth=1')
}

async function git(op: GitOp, args: readonly string[], options: GitRunnerOptions, ctx: Context): Promise<ProcessResult> {
  const env = {
    ...options.env,
    GIT_TERMINAL_PROMPT: '0',
    GIT_SSH_COMMAND: options.env.GIT_SSH_COMMAND ?? 'ssh -o BatchMode=yes',
    GIT_ALLOW_PROTOCOL: 'http:https:ssh:git:file',
    LC_ALL: 'C',
  }
  const safe = ['-c', 'core.hooksPath=/dev/null', '-c', 'advice.detachedHead=false']
  try {
    const result = await runProcess('git', [...safe, ...args], { input: '', env, timeoutMs, signal: ctx.signal })
    if (result.exitCode === 0) return result
    throw gitError(op, lastLine(result.stderr) || `git ended with exit code ${result.exitCode}`)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    throw new BuildError('ADD_GIT_FAILED', 'the program git is not installed', { hint: 'install the package git', cause: error })
  }
}

/** git's own word on what went wrong: the line that says `fatal:`, else the last. */
function lastLine(text: string): string {
  const lines = text.trim().split('\n')
  return withoutCredentials(
    lines
      .find((line) => line.startsWith('fatal:'))
      ?.slice('fatal:'.length)
      .trim() ??
      lines.at(-1) ??
      '',
  )
}

function gitError(op: GitOp, reason: string): BuildError {
  return new BuildError('ADD_GIT_FAILED', `git repository ${withoutCredentials(op.remote)} cannot be fetched: ${reason}`)
}

function withoutCredentials(text: string): string {
  return text.replace(/(\w+:\/\/)[^/@\s]+@/g, '$1')
}

/** When the commit was made, seconds since 1970. */
async function commitTime(op: GitOp, directory: string, options: GitRunnerOptions, ctx: Context): Promise<number> {
  const { stdout } = await git(op, ['-C', directory, 'log', '-1', '--format=%ct'], options, ctx)
  return Number(stdout.trim())
}

/** Modes as git knows them, whatever the umask: 0755 for directories and programs, 0644 for the rest. Then the time. */
function normalise(path: string, time: number | undefined): void {
  const stats = lstatSync(fsPath(path))
  if (stats.isDirectory()) {
    for (const name of readdirSync(fsPath(path), 'buffer')) normalise(`${path}/${decodePath(name)}`, time)
    chmodSync(fsPath(path), 0o755)
  } else if (stats.isFile()) chmodSync(fsPath(path), (stats.mode & 0o100) !== 0 ? 0o755 : 0o644)
  if (time !== undefined) lutimesSync(fsPath(path), time, time)
}

/** The directory that was asked for; links in its path stay inside the repository. */
function subdirectory(op: GitOp, directory: string): string {
  if (op.subdir === undefined) return directory
  const { entry } = resolvePath(new ContextTree(directory, compileIgnore([])), op.subdir, { followLast: true })
  if (entry?.type === 'directory') return entry.hostPath
  throw gitError(op, `it has no directory "${op.subdir}"`)
}
