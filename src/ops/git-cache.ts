/**
 * The repositories in the store: one bare repository for each address, which only ever gains commits.
 *
 * A commit that is whole is named by `refs/mille/<id>`; without that ref it counts as not there, since a fetch that was
 * killed may have left parts. Who reads holds a shared flock, who fetches an exclusive one, and git holds it with
 * us: when mille is killed, nobody else begins before its git has ended. `mille prune` takes the exclusive lock, too.
 */
import { appendFileSync, closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf, hexOf } from '../core/digest.js'
import { removeFiles } from '../io/remove-files.js'
import { tryLock } from '../io/sys.js'
import { type GitAccess, type GitCall, GitError, type RunGit } from './git-command.js'
import type { GitRemote } from './git-remote.js'

/** What a reference stands for. */
export interface GitPin {
  /** The commit, or the tag object that names it. */
  readonly object: string
  /** The whole name of the branch or tag, where one was asked for. */
  readonly name?: string
}

/** What is needed to get at a repository. */
export interface GitSource {
  readonly remote: GitRemote
  readonly access: GitAccess
  readonly git: RunGit
  /** The store's directory of repositories. */
  readonly directory: string
  readonly signal: AbortSignal
}

/** A commit in a repository of the store, to be read as long as the work goes on. */
export interface CachedCommit {
  readonly gitDir: string
  readonly commit: string
  /** Runs git in the repository; it holds the lock too. */
  readonly git: (args: readonly string[], call?: GitCall) => Promise<string>
}

/** What damaged objects make git say. */
const damaged =
  /corrupt|bad object|unable to read|missing (?:blob|tree|commit)|inflate|not a valid (?:tree|commit|object)|loose object|not a git repository/i

/** Runs `work` with a commit, which is fetched when it is not there. A damaged repository is made anew once. */
export async function withCommit<T>(source: GitSource, pin: GitPin, work: (found: CachedCommit) => Promise<T>): Promise<T> {
  const format = pin.object.length === 64 ? 'sha256' : 'sha1'
  const gitDir = join(source.directory, `${hexOf(digestOf(`${format} ${source.remote.url}`)).slice(0, 32)}.git`)
  try {
    return await tryWithCommit(source, pin, gitDir, work)
  } catch (error) {
    if (!(error instanceof GitError) || !damaged.test(error.output) || !existsSync(gitDir)) throw error
    const lock = await takeLock(gitDir, 'exclusive', source.signal)
    try {
      await removeFiles(gitDir)
    } finally {
      closeSync(lock)
    }
    return await tryWithCommit(source, pin, gitDir, work)
  }
}

async function tryWithCommit<T>(
  source: GitSource,
  pin: GitPin,
  gitDir: string,
  work: (found: CachedCommit) => Promise<T>,
): Promise<T> {
  for (const how of ['shared', 'exclusive'] as const) {
    const lock = await takeLock(gitDir, how, source.signal)
    try {
      const git = (args: readonly string[], call: GitCall = {}): Promise<string> =>
        source.git(args, { gitDir, locks: [lock], ...call })
      let commit = await findCommit(gitDir, pin.object, git)
      if (commit === undefined && how === 'exclusive') commit = await fetchCommit(source, pin, gitDir, git)
      if (commit === undefined) continue
      utimesSync(gitDir, new Date(), new Date())
      return await work({ gitDir, commit, git })
    } finally {
      closeSync(lock)
    }
  }
  throw new Error('a commit that was fetched is not there')
}

type Git = CachedCommit['git']

async function takeLock(gitDir: string, how: 'shared' | 'exclusive', signal: AbortSignal): Promise<number> {
  const fd = openSync(`${gitDir}.lock`, 'a', 0o600)
  let held = false
  try {
    for (;;) {
      signal.throwIfAborted()
      held = tryLock(fd, how)
      if (held) return fd
      await sleep(50, undefined, { signal })
    }
  } finally {
    if (!held) closeSync(fd)
  }
}

/** The commit of an object that is here as a whole. */
async function findCommit(gitDir: string, object: string, git: Git): Promise<string | undefined> {
  if (!existsSync(join(gitDir, 'HEAD'))) return undefined
  return succeeded(git(['rev-parse', '--verify', '--quiet', '--end-of-options', `refs/mille/${object}^{commit}`]))
}

/** The first line that a command prints; undefined when it says no. */
async function succeeded(output: Promise<string>): Promise<string | undefined> {
  try {
    return (await output).trim()
  } catch (error) {
    if (error instanceof GitError) return undefined
    throw error
  }
}

async function fetchCommit(source: GitSource, pin: GitPin, gitDir: string, git: Git): Promise<string> {
  if (existsSync(join(gitDir, 'HEAD'))) removeStaleLocks(gitDir)
  else await makeRepository(source, gitDir, pin.object.length === 64)
  const all = ['+refs/heads/*:refs/all/heads/*', '+refs/tags/*:refs/all/tags/*']
  for (const refspecs of [[pin.object], ...(pin.name === undefined ? [] : [[pin.name]]), all]) {
    try {
      await fetchRefs(source, refspecs, refspecs === all, gitDir, git)
    } catch (error) {
      if (!(error instanceof GitError) || !refused.test(error.output)) throw error
      continue
    }
    if (await isHere(pin.object, git)) return await keep(pin.object, git)
  }
  throw new GitError(`it has no commit ${pin.object}`, '')
}

/** The server does not give what was asked for; it may do so under another name. */
const refused =
  /not our ref|unadvertised object|does not allow request|couldn't find remote ref|remote ref does not exist|unable to find|cannot obtain needed/i
const noShallow = /shallow|--depth/i

/** Without history where the server can do that: plain files on a web server cannot. */
async function fetchRefs(
  { remote, access }: GitSource,
  refspecs: readonly string[],
  whole: boolean,
  gitDir: string,
  git: Git,
): Promise<void> {
  const fetch = (depth: readonly string[]): Promise<string> =>
    git(['fetch', '--quiet', '--no-tags', '--force', ...depth, '--', remote.url, ...refspecs], { access })
  if (whole) {
    await fetch(existsSync(join(gitDir, 'shallow')) ? ['--unshallow'] : [])
    return
  }
  try {
    await fetch(['--depth=1'])
  } catch (error) {
    if (!(error instanceof GitError) || !noShallow.test(error.output)) throw error
    await fetch([])
  }
}

async function isHere(object: string, git: Git): Promise<boolean> {
  return (await succeeded(git(['cat-file', '-t', object]))) !== undefined
}

/** Names the object and its commit, from when on they count as being here. */
async function keep(object: string, git: Git): Promise<string> {
  const commit = await succeeded(git(['rev-parse', '--verify', '--quiet', '--end-of-options', `${object}^{commit}`]))
  if (commit === undefined) throw new GitError(`${object} is no commit`, '')
  for (const id of new Set([object, commit])) await git(['update-ref', `refs/mille/${id}`, id])
  return commit
}

async function makeRepository({ git }: GitSource, gitDir: string, isSha256: boolean): Promise<void> {
  const unfinished = `${gitDir}.new`
  await removeFiles(unfinished)
  mkdirSync(unfinished, { mode: 0o700 })
  await git(['init', '--quiet', '--bare', '--template=', ...(isSha256 ? ['--object-format=sha256'] : []), unfinished])
  // One thread packs the same objects to the same bytes; the check-outs that keep .git are made from here.
  appendFileSync(join(unfinished, 'config'), '[uploadpack]\n\tallowAnySHA1InWant = true\n[pack]\n\tthreads = 1\n')
  await removeFiles(gitDir)
  renameSync(unfinished, gitDir)
}

/** We hold the flock: whoever made these is dead. */
function removeStaleLocks(gitDir: string): void {
  for (const name of readdirSync(gitDir)) if (name.endsWith('.lock')) rmSync(join(gitDir, name), { force: true })
  const refs = join(gitDir, 'refs/mille')
  if (!existsSync(refs)) return
  for (const name of readdirSync(refs)) if (name.endsWith('.lock')) rmSync(join(refs, name), { force: true })
}
