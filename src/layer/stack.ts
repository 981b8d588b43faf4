/**
 * What a stack of layer directories looks like when it is mounted, without mounting it.
 *
 * Overlay rules (kernel, filesystems/overlayfs): the topmost entry of a name counts; directories of one name are merged
 * down to the first opaque one or to whatever is no directory; a 0:0 device hides the name. Directories are looked up
 * once and remembered, so the layers must not change meanwhile. An xattr is read only where a directory has one below it.
 */
import { lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs'
import { BuildError } from '../core/errors.js'
import { decodePath, fsPath, isLossy } from '../core/path-bytes.js'
import type { FileEntry, FileType, FileView } from '../core/view.js'
import { sortNames } from './walk.js'
import { isOpaque, isWhiteout } from './whiteout.js'

/** One merged directory. */
interface Directory {
  /** Directories of this machine that make it up, topmost first. */
  readonly hosts: readonly string[]
  /** Names to the host directories that have them, topmost first, once it was listed. Deleted names are not in it. */
  names?: ReadonlyMap<string, readonly string[]>
  /** The names in order. */
  order?: readonly string[]
}

/** The merged view of `hostLowers`, bottom first. An empty list is an empty root. */
export function layerStack(hostLowers: readonly string[]): FileView {
  return new LayerStack(hostLowers)
}

class LayerStack implements FileView {
  readonly #directories = new Map<string, Directory | undefined>()
  readonly #root: Directory

  constructor(hostLowers: readonly string[]) {
    const hosts = mergeable([...hostLowers].reverse())
    this.#root = { hosts }
  }

  lstat(path: string): FileEntry | undefined {
    const parts = split(path)
    const name = parts.pop()
    if (name === undefined) return this.#rootEntry()
    const parent = this.#directory(parts)
    const found = parent === undefined ? undefined : find(parent, name)
    return found === undefined ? undefined : toEntry(found.stats, found.hostPath)
  }

  readdir(path: string): readonly string[] {
    const directory = this.#directory(split(path))
    if (directory === undefined) throw notDirectory(path)
    directory.names ??= listNames(directory)
    directory.order ??= sortNames([...directory.names.keys()])
    return directory.order
  }

  readlink(path: string): string {
    const entry = this.lstat(path)
    if (entry?.type !== 'symlink') throw Object.assign(new Error(`EINVAL: readlink '${path}'`), { code: 'EINVAL', path })
    return decodePath(readlinkSync(fsPath(entry.hostPath), 'buffer'))
  }

  #rootEntry(): FileEntry {
    const [top] = this.#root.hosts
    return top === undefined ? emptyRoot : toEntry(lstatSync(fsPath(top)), top)
  }

  /** The merged directory of a path, or undefined when it is none. */
  #directory(parts: readonly string[]): Directory | undefined {
    if (parts.length === 0) return this.#root
    const path = parts.join('/')
    if (this.#directories.has(path)) return this.#directories.get(path)
    const parent = this.#directory(parts.slice(0, -1))
    const found = parent === undefined ? undefined : enter(parent, parts.at(-1) ?? '')
    this.#directories.set(path, found)
    return found
  }
}

const emptyRoot: FileEntry = {
  type: 'directory',
  mode: 0o755,
  uid: 0,
  gid: 0,
  size: 0,
  mtimeNs: 0n,
  ctimeNs: 0n,
  dev: 0,
  ino: 0,
  nlink: 2,
  rdev: 0,
  hostPath: '',
}

function notDirectory(path: string): Error {
  return Object.assign(new Error(`ENOTDIR: readdir '${path}'`), { code: 'ENOTDIR', path })
}

function split(path: string): string[] {
  return path.split('/').filter((part) => part !== '')
}

/** The directories down to the first opaque one. The lowest needs no look: it has nothing to hide. */
function mergeable(hosts: readonly string[]): readonly string[] {
  const opaque = hosts.findIndex((host, i) => i < hosts.length - 1 && isOpaque(host))
  return opaque < 0 ? hosts : hosts.slice(0, opaque + 1)
}

/** The topmost entry of a name, unless it is a deletion. */
function find(parent: Directory, name: string): { readonly stats: Stats; readonly hostPath: string } | undefined {
  for (const host of parent.names === undefined ? parent.hosts : (parent.names.get(name) ?? [])) {
    const hostPath = `${host}/${name}`
    const stats = lstatSync(fsPath(hostPath), { throwIfNoEntry: false })
    if (stats !== undefined) return isWhiteout(stats) ? undefined : { stats, hostPath }
  }
  return undefined
}

function enter(parent: Directory, name: string): Directory | undefined {
  const hosts: string[] = []
  for (const host of parent.names === undefined ? parent.hosts : (parent.names.get(name) ?? [])) {
    const hostPath = `${host}/${name}`
    const stats = lstatSync(fsPath(hostPath), { throwIfNoEntry: false })
    if (stats === undefined) continue
    if (!stats.isDirectory()) break
    hosts.push(hostPath)
  }
  return hosts.length === 0 ? undefined : { hosts: mergeable(hosts) }
}

/** Lists all host directories. A name that is a deletion or no directory hides itself in the directories below. */
function listNames(directory: Directory): Map<string, string[]> {
  const names = new Map<string, string[]>()
  const hidden = new Set<string>()
  for (const host of directory.hosts) {
    for (const { name, kind } of listHost(host)) {
      if (hidden.has(name)) continue
      if (kind === 'device' && isWhiteout(lstatSync(fsPath(`${host}/${name}`)))) {
        hidden.add(name)
        continue
      }
      if (kind !== 'directory') hidden.add(name)
      const hosts = names.get(name)
      // A file under a directory is hidden by it, and hides what is below.
      if (hosts === undefined) names.set(name, [host])
      else if (kind === 'directory') hosts.push(host)
    }
  }
  return names
}

interface Listed {
  readonly name: string
  readonly kind: 'directory' | 'device' | 'other'
}

function listHost(host: string): Listed[] {
  const entries = readdirSync(fsPath(host), { withFileTypes: true })
  if (entries.some((entry) => isLossy(entry.name))) {
    return readdirSync(fsPath(host), 'buffer').map((bytes) => {
      const name = decodePath(bytes)
      return { name, kind: kindOf(lstatSync(fsPath(`${host}/${name}`))) }
    })
  }
  return entries.map((entry) => ({ name: entry.name, kind: kindOf(entry) }))
}

function kindOf(entry: { isDirectory(): boolean; isCharacterDevice(): boolean }): Listed['kind'] {
  if (entry.isDirectory()) return 'directory'
  return entry.isCharacterDevice() ? 'device' : 'other'
}

function toEntry(stats: Stats, hostPath: string): FileEntry {
  const exact = lstatSync(fsPath(hostPath), { bigint: true })
  return {
    type: typeOf(stats),
    mode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    size: stats.size,
    mtimeNs: exact.mtimeNs,
    ctimeNs: exact.ctimeNs,
    dev: stats.dev,
    ino: stats.ino,
    nlink: stats.nlink,
    rdev: stats.rdev,
    hostPath,
  }
}

function typeOf(stats: Stats): FileType {
  if (stats.isFile()) return 'file'
  if (stats.isDirectory()) return 'directory'
  if (stats.isSymbolicLink()) return 'symlink'
  if (stats.isCharacterDevice()) return 'character'
  if (stats.isBlockDevice()) return 'block'
  return stats.isFIFO() ? 'fifo' : 'socket'
}

/** Where a path leads in a view. */
export interface ResolvedPath {
  /** Without links, `.` and `..`; the part that does not exist is appended as it was written. */
  readonly path: string
  /** What is there; undefined when it does not exist. */
  readonly entry: FileEntry | undefined
  /** The deepest part of `path` that exists. When it is no directory, nothing can be made below it. */
  readonly existing: string
}

const linkLimit = 40

/**
 * Follows the links in a path, with the root of the view as the root of all links: nothing leads out of it.
 *
 * @param options.followLast follow a link that is the last part too
 * @throws BuildError LAYER_LINK_LOOP after 40 links
 */
export function resolvePath(view: FileView, path: string, options: { readonly followLast: boolean }): ResolvedPath {
  const todo = split(path)
  const done: string[] = []
  /** How many parts of `done` exist, and what the last of these is. */
  let existing = 0
  let entry = view.lstat('/')
  let links = 0
  for (let part = todo.shift(); part !== undefined; part = todo.shift()) {
    if (part === '.') continue
    if (part === '..') {
      done.pop()
    } else {
      const canEnter = existing === done.length && entry?.type === 'directory'
      done.push(part)
      const child = canEnter ? view.lstat(toPath(done)) : undefined
      if (child === undefined) continue
      existing = done.length
      entry = child
      if (child.type !== 'symlink' || (todo.length === 0 && !options.followLast)) continue
      if (++links > linkLimit) throw new BuildError('LAYER_LINK_LOOP', `"${path}" leads through more than ${linkLimit} links`)
      const target = view.readlink(toPath(done))
      done.pop()
      if (target.startsWith('/')) done.length = 0
      todo.unshift(...split(target))
    }
    if (existing <= done.length) continue
    existing = done.length
    entry = view.lstat(toPath(done))
  }
  return { path: toPath(done), entry: existing === done.length ? entry : undefined, existing: toPath(done.slice(0, existing)) }
}

function toPath(parts: readonly string[]): string {
  return `/${parts.join('/')}`
}
