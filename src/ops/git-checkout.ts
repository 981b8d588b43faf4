/**
 * The files of a commit in a directory, with those of its submodules.
 *
 * Submodules are fetched by this code and not by `git submodule`: each address is checked, each repository is cached, and
 * what `.gitmodules` says beyond path and address (commands to run, for one) is not heard. A kept `.git` has no path of this
 * machine, no credentials and no times in it, so that the same commit gives the same files.
 */
import { chmodSync, lstatSync, lutimesSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { BuildError } from '../core/errors.js'
import { decodePath, fsPath } from '../core/path-bytes.js'
import { type CachedCommit, type GitPin, type GitSource, withCommit } from './git-cache.js'
import { type GitCall, GitError } from './git-command.js'
import { type GitRemote, submoduleRemote } from './git-remote.js'

/** What of a repository is wanted. */
export interface CheckOutOptions {
  readonly keepGitDir: boolean
  readonly submodules: boolean
  /** How to get at the repository of a submodule. */
  readonly sourceOf: (remote: GitRemote) => Promise<GitSource>
}

/** What was checked out. */
export interface CheckedOut {
  readonly commit: string
  /** When it was committed, seconds since 1970. */
  readonly committedAt: number
}

const deepestSubmodule = 20

/** Writes the files of a commit to the empty directory `tree`; `index` is a path that may be written to. */
export async function checkOut(
  source: GitSource,
  pin: GitPin,
  tree: string,
  index: string,
  options: CheckOutOptions,
  depth = 0,
): Promise<CheckedOut> {
  const done = await withCommit(source, pin, async (found) => {
    if (options.keepGitDir) await makeGitDir(source, pin, found, tree)
    const call: GitCall = options.keepGitDir
      ? { gitDir: join(tree, '.git'), workTree: tree }
      : { workTree: tree, indexFile: index }
    rmSync(index, { force: true })
    await found.git(['read-tree', found.commit], call)
    await found.git(['checkout-index', '--all', '--force', '--quiet'], call)
    const committedAt = Number(await found.git(['show', '--no-patch', '--format=%ct', found.commit]))
    return { commit: found.commit, committedAt, links: options.submodules ? await readSubmodules(found, tree) : [] }
  })
  for (const link of done.links) {
    if (depth === deepestSubmodule) {
      throw new GitError(`its submodules are more than ${deepestSubmodule} deep`, '')
    }
    await addSubmodule(source.remote, link, tree, index, options, depth + 1)
  }
  if (options.keepGitDir && done.links.length > 0) await connectSubmodules(source, tree)
  return done
}

/** A repository with this one commit. */
async function makeGitDir(source: GitSource, pin: GitPin, { gitDir, commit, git }: CachedCommit, tree: string): Promise<void> {
  const call: GitCall = { gitDir: join(tree, '.git'), workTree: tree }
  const format = commit.length === 64 ? ['--object-format=sha256'] : []
  await source.git(['init', '--quiet', '--template=', ...format, tree])
  await git(['fetch', '--quiet', '--depth=1', '--no-tags', '--', gitDir, pin.object], { ...call, isLocal: true })
  if (pin.name?.startsWith('refs/')) await git(['update-ref', pin.name, pin.object], call)
  await git(['update-ref', '--no-deref', 'HEAD', commit], call)
  await git(['config', 'remote.origin.url', source.remote.url], call)
  await git(['config', 'remote.origin.fetch', '+refs/heads/*:refs/remotes/origin/*'], call)
  rmSync(join(tree, '.git/FETCH_HEAD'), { force: true })
}

interface Submodule {
  readonly name: string
  readonly path: string
  readonly url: string
  readonly commit: string
}

/** The submodules that `.gitmodules` names and the commit has. */
async function readSubmodules({ git, commit }: CachedCommit, tree: string): Promise<readonly Submodule[]> {
  const file = join(tree, '.gitmodules')
  if (lstatSync(file, { throwIfNoEntry: false })?.isFile() !== true) return []
  const fields = new Map<string, Map<string, string>>()
  for (const entry of (await git(['config', '--file', file, '--null', '--list'])).split('\0')) {
    const [, name, field] = /^submodule\.(.+)\.(path|url|update)$/s.exec(entry.slice(0, entry.indexOf('\n'))) ?? []
    if (name === undefined || field === undefined) continue
    const known = fields.get(name) ?? new Map<string, string>()
    fields.set(name, known.set(field, entry.slice(entry.indexOf('\n') + 1)))
  }
  const paths = [...fields.values()].flatMap((known) => known.get('path') ?? [])
  if (paths.length === 0) return []
  const listed = (await git(['ls-tree', '-z', commit, '--', ...paths])).split('\0')
  const links = new Map(
    listed.flatMap((line): [string, string][] => {
      const [, id = '', path = ''] = /^160000 commit ([0-9a-f]+)\t(.*)$/s.exec(line) ?? []
      return path === '' ? [] : [[path, id]]
    }),
  )
  return [...fields].flatMap(([name, known]) => {
    const path = known.get('path') ?? ''
    const id = links.get(path)
    if (id === undefined || known.get('update') === 'none') return []
    const url = known.get('url')
    if (url === undefined) throw new GitError(`.gitmodules has no address for the submodule "${name}"`, '')
    return [{ name, path, url, commit: id }]
  })
}

async function addSubmodule(
  parent: GitRemote,
  link: Submodule,
  tree: string,
  index: string,
  options: CheckOutOptions,
  depth: number,
): Promise<void> {
  const remote = submoduleRemote(parent, link.name, link.url)
  const directory = join(tree, link.path)
  checkPlace(tree, link, parent)
  try {
    await checkOut(await options.sourceOf(remote), { object: link.commit }, directory, index, options, depth)
  } catch (error) {
    if (!(error instanceof GitError)) throw error
    throw new BuildError('ADD_GIT_FAILED', `the submodule ${link.path} of ${parent.url} cannot be fetched: ${error.message}`, {
      hint: error.hint ?? 'submodules are left out with ?submodules=false',
      cause: error,
    })
  }
}

/** git leaves an empty directory for a submodule. A link on the way there would lead out of the tree. */
function checkPlace(tree: string, { name, path }: Submodule, parent: GitRemote): void {
  let at = tree
  for (const part of path.split('/')) {
    at = join(at, part)
    const stats = lstatSync(fsPath(at), { throwIfNoEntry: false })
    if (part !== '' && part !== '.' && part !== '..' && part.toLowerCase() !== '.git' && stats?.isDirectory() === true) continue
    throw new BuildError(
      'ADD_GIT_FAILED',
      `the submodule "${name}" of ${parent.url} is to be at ${path}, which is no place for it`,
    )
  }
  mkdirSync(at, { recursive: true })
}

/** Makes of the repositories in a kept one what `git submodule` would have made: known, and below `.git/modules`. */
async function connectSubmodules(source: GitSource, tree: string): Promise<void> {
  const call: GitCall = { workTree: tree, gitDir: join(tree, '.git'), isLocal: true }
  await source.git(['submodule', '--quiet', 'init'], call)
  await source.git(['submodule', '--quiet', 'absorbgitdirs'], call)
}

/**
 * Modes as git knows them, whatever the umask: 0755 for directories and programs, 0644 for the rest. Then the time, where one
 * is given: seconds since 1970.
 */
export function normaliseTree(path: string, time: number | undefined): void {
  const stats = lstatSync(fsPath(path))
  if (stats.isDirectory()) {
    for (const name of readdirSync(fsPath(path), 'buffer')) normaliseTree(`${path}/${decodePath(name)}`, time)
    chmodSync(fsPath(path), 0o755)
  } else if (stats.isFile()) chmodSync(fsPath(path), (stats.mode & 0o100) !== 0 ? 0o755 : 0o644)
  if (time !== undefined) lutimesSync(fsPath(path), time, time)
}
