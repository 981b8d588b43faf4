/**
 * Git repositories as sources: the reference is pinned to a commit, which is the key, and the files of that commit are
 * fetched without history into the store's repositories (git-cache.ts) and written out from there.
 *
 * A whole commit id, in the reference or as the checksum, needs no network where that commit is known.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ContextTree } from '../context/tree.js'
import type { Context } from '../core/context.js'
import { BuildError } from '../core/errors.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { GitOp } from '../graph/op.js'
import { Scope } from '../io/scope.js'
import { resolvePath } from '../layer/stack.js'
import type { OpRunner } from '../solver/ports.js'
import { accessHint, type GitCredentials, openGitAccess } from './git-access.js'
import type { GitPin, GitSource } from './git-cache.js'
import { checkOut, normaliseTree } from './git-checkout.js'
import { createGit, GitError, type RunGit } from './git-command.js'
import { type GitRemote, parseGitRemote } from './git-remote.js'

/** What git sources need. */
export interface GitOptions extends GitCredentials {
  /** The store's directory of repositories. */
  readonly directory: string
}

/** What the runner of git sources needs. */
export interface GitRunnerOptions extends GitOptions {
  /** Makes a new empty directory that lives until the build ends. */
  readonly scratch: () => string
}

/** The files of a git source. */
export interface GitTree {
  /** The directory that was asked for, absolute. */
  readonly directory: string
  readonly commit: string
  /** When the commit was made, seconds since 1970. */
  readonly committedAt: number
}

const wholeCommit = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/i

/** Makes the runner of git sources. A reference is looked up once in the runner's life. */
export function createGitRunner(options: GitRunnerOptions): OpRunner<GitOp> {
  const pins = new Map<string, Promise<GitPin & { readonly commit: string }>>()
  const pinOf = (op: GitOp, ctx: Context): Promise<GitPin & { readonly commit: string }> => {
    const key = JSON.stringify([op.remote, op.ref, op.checksum, op.fetchByCommit])
    const known = pins.get(key) ?? withGit(op, options, ctx, (session) => pinReference(op, session))
    pins.set(key, known)
    return known
  }
  return {
    async key(op, _inputs, _vertex, ctx) {
      const { kind, subdir, keepGitDir, submodules, mtime } = op
      const isPinned = op.checksum !== undefined && wholeCommit.test(op.checksum)
      const commit = isPinned ? (op.checksum ?? '').toLowerCase() : (await pinOf(op, ctx)).commit
      // With .git kept, the remote and the ref are in the files too.
      const origin = keepGitDir ? { remote: parseGitRemote(op.remote).url, ref: op.ref } : undefined
      const fields = { kind, commit, subdir, keepGitDir, submodules, mtime, origin }
      return { fields, components: { commit }, coveredInputs: [] }
    },
    async run(op, _inputs, _vertex, ctx) {
      const tree = await openGitTree(op, options.scratch(), options, ctx, await pinOf(op, ctx))
      return { kind: 'files', view: new ContextTree(tree.directory, compileIgnore([])) }
    },
  }
}

/**
 * Puts the files of a git source into a directory.
 *
 * @param scratch an empty directory
 * @param pin what the reference stands for, where that is known already
 * @throws BuildError ADD_GIT_FAILED, ADD_CHECKSUM_MISMATCH
 */
export function openGitTree(
  op: Omit<GitOp, 'kind'>,
  scratch: string,
  options: GitOptions,
  ctx: Context,
  pin?: GitPin,
): Promise<GitTree> {
  return withGit(op, options, ctx, async (session) => {
    const tree = join(scratch, 'tree')
    mkdirSync(tree)
    const { keepGitDir, submodules } = op
    const found = pin ?? (await pinReference(op, session))
    const done = await checkOut(session.source, found, tree, join(scratch, 'index'), {
      ...{ keepGitDir, submodules },
      sourceOf: session.sourceOf,
    })
    normaliseTree(tree, op.mtime === 'commit' ? done.committedAt : undefined)
    return { ...done, directory: subdirectory(op, tree) }
  })
}

/** git with what lets it in. */
interface Session {
  readonly git: RunGit
  readonly source: GitSource
  readonly sourceOf: (remote: GitRemote) => Promise<GitSource>
}

type Wanted = Omit<GitOp, 'kind'>

/** Runs `work` with access to the repository; its errors then name that. */
async function withGit<T>(op: Wanted, options: GitOptions, ctx: Context, work: (session: Session) => Promise<T>): Promise<T> {
  if (op.ref?.startsWith('-')) throw new GitError(`"${op.ref}" cannot be a reference`, '')
  const remote = parseGitRemote(op.remote)
  const { directory } = options
  const git = createGit(options.env, directory, ctx.signal)
  await using scope = new Scope()
  const sourceOf = async (each: GitRemote): Promise<GitSource> => {
    const access = await openGitAccess(each, remote.host, options, directory, scope)
    return { remote: each, access, git: explained(git, each, access), directory, signal: ctx.signal }
  }
  try {
    const source = await sourceOf(remote)
    return await work({ git: source.git, source, sourceOf })
  } catch (error) {
    if (!(error instanceof GitError)) throw error
    throw new BuildError('ADD_GIT_FAILED', `git repository ${remote.url} cannot be fetched: ${error.message}`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    })
  }
}

/** Errors get the hint that fits this remote: who calls may be about another one, of a submodule. */
function explained(git: RunGit, remote: GitRemote, access: GitSource['access']): RunGit {
  return async (args, call) => {
    try {
      return await git(args, call)
    } catch (error) {
      if (error instanceof GitError) error.hint ??= accessHint(error, remote, access)
      throw error
    }
  }
}

/** Looks up what the reference stands for, and compares it with the checksum. */
async function pinReference(op: Wanted, { source }: Session): Promise<GitPin & { readonly commit: string }> {
  const { checksum } = op
  if (op.fetchByCommit) {
    if (checksum === undefined || !wholeCommit.test(checksum)) {
      throw new GitError('fetch-by-commit needs the whole commit id as the checksum', '')
    }
    const commit = checksum.toLowerCase()
    return { object: commit, commit, ...(op.ref?.startsWith('refs/') ? { name: op.ref } : {}) }
  }
  const pin = await findReference(op.ref, source)
  const ids = [...new Set([pin.object, pin.commit])]
  if (checksum === undefined || ids.some((id) => id.startsWith(checksum.toLowerCase()))) return pin
  throw new BuildError(
    'ADD_CHECKSUM_MISMATCH',
    `expected checksum to match ${checksum}, but ${op.ref ?? 'the default branch'} of ${source.remote.url} is at ${ids.join(' or ')}`,
    { hint: 'check what changed there, then update the checksum' },
  )
}

async function findReference(given: string | undefined, source: GitSource): Promise<GitPin & { readonly commit: string }> {
  const ref = given ?? 'HEAD'
  if (wholeCommit.test(ref)) return { object: ref.toLowerCase(), commit: ref.toLowerCase() }
  const { git, remote, access } = source
  const text = await git(['ls-remote', '--quiet', '--', remote.url, ref, `${ref}^{}`], { access })
  const found = new Map(text.split('\n').map((line) => [line.slice(line.indexOf('\t') + 1), line.slice(0, line.indexOf('\t'))]))
  // As git itself resolves short names: tags before branches.
  for (const name of [ref, `refs/${ref}`, `refs/tags/${ref}`, `refs/heads/${ref}`]) {
    const object = found.get(name)
    if (object === undefined) continue
    return { object, commit: found.get(`${name}^{}`) ?? object, ...(name.startsWith('refs/') ? { name } : {}) }
  }
  const hint = /^[0-9a-f]{4,63}$/i.test(ref) ? 'a commit is named by its whole id: 40 hex digits' : undefined
  if (given === undefined) throw new GitError('it has no commits', '')
  throw new GitError(`repository does not contain ref "${ref}"`, '', hint)
}

/** The directory that was asked for; links in its path stay inside the repository. */
function subdirectory({ subdir }: Wanted, tree: string): string {
  if (subdir === undefined) return tree
  const { entry } = resolvePath(new ContextTree(tree, compileIgnore([])), subdir, { followLast: true })
  if (entry?.type === 'directory') return entry.hostPath
  throw new GitError(
    entry === undefined ? `it has no directory "${subdir}"` : `"${subdir}" is a ${entry.type}, not a directory`,
    '',
    'links in the path are followed inside the repository only',
  )
}
