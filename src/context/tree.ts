/**
 * A directory of this machine as a `FileView`, less what the ignore patterns exclude.
 *
 * Entries are read when they are first asked for, then kept: a build sees one state of its context, and what no COPY
 * selects is never looked at. An ignored file is never opened. Everything belongs to 0:0, as in docker. Times come from
 * `lstat` as doubles, which hold 0.25 µs: enough to tell changes apart, because what changed within the last moments is
 * never believed (fingerprint.ts).
 */
import { lstatSync, readdirSync, readlinkSync, type Stats, statSync } from 'node:fs'
import { BuildError, systemCode } from '../core/errors.js'
import { comparePaths, decodePath, fsPath, isLossy } from '../core/path-bytes.js'
import type { FileEntry, FileType, FileView } from '../core/view.js'
import type { PathFilter } from './filter.js'

/** One entry of a context, with what tells whether it changed. */
export class ContextEntry implements FileEntry {
  readonly name: string
  /** Relative to the context, without leading `/`; empty for the root. */
  readonly path: string
  readonly hostPath: string
  readonly type: FileType
  readonly mode: number
  readonly uid = 0
  readonly gid = 0
  readonly size: number
  readonly mtimeMs: number
  readonly ctimeMs: number
  readonly dev: number
  readonly ino: number
  readonly nlink: number
  readonly rdev: number
  /** What the filter said; see `PathFilter`. */
  readonly state: number

  constructor(name: string, path: string, hostPath: string, stats: Stats, state: number) {
    this.name = name
    this.path = path
    this.hostPath = hostPath
    this.type = typeOf(stats.mode)
    this.mode = stats.mode & 0o7777
    this.size = this.type === 'directory' ? 0 : stats.size
    this.mtimeMs = stats.mtimeMs
    this.ctimeMs = stats.ctimeMs
    this.dev = stats.dev
    this.ino = stats.ino
    this.nlink = stats.nlink
    this.rdev = stats.rdev
    this.state = state
  }

  get mtimeNs(): bigint {
    return BigInt(Math.floor(this.mtimeMs * 1000)) * 1000n
  }

  get ctimeNs(): bigint {
    return BigInt(Math.floor(this.ctimeMs * 1000)) * 1000n
  }
}

/** By the type bits of `st_mode`, shifted down (inode(7)). */
const fileTypes: readonly (FileType | undefined)[] = [
  undefined,
  'fifo',
  'character',
  undefined,
  'directory',
  undefined,
  'block',
  undefined,
  'file',
  undefined,
  'symlink',
  undefined,
  'socket',
]

function typeOf(mode: number): FileType {
  return fileTypes[mode >> 12] ?? 'file'
}

/** What is known of directories from earlier builds. */
export interface KnownListings {
  /** The names in a directory in the order of their bytes; undefined when they must be read. */
  recall(directory: ContextEntry): readonly string[] | undefined
  add(directory: ContextEntry, names: readonly string[]): void
}

/** The files of a context. */
export class ContextTree implements FileView {
  readonly root: string
  /** How messages name it. */
  readonly shown: string
  protected listings: KnownListings | undefined
  readonly #filter: PathFilter
  protected readonly top: ContextEntry
  readonly #listings = new Map<ContextEntry, readonly ContextEntry[]>()
  readonly #known = new Map<string, ContextEntry | undefined>()

  /** @throws BuildError CONTEXT_NOT_FOUND, CONTEXT_UNREADABLE, CONTEXT_UNSUPPORTED when `root` is no directory */
  constructor(root: string, filter: PathFilter, shown = root) {
    this.root = root
    this.shown = shown
    this.#filter = filter
    const stats = statRoot(root)
    if (!stats.isDirectory()) {
      throw new BuildError('CONTEXT_UNSUPPORTED', `build context "${root}" is not a directory`, {
        hint: 'give the directory that holds the files to copy',
      })
    }
    this.top = new ContextEntry('', '', root, stats, -1)
  }

  lstat(path: string): ContextEntry | undefined {
    let entry: ContextEntry | undefined = this.top
    for (const name of path.split('/')) {
      if (name === '') continue
      if (entry?.type !== 'directory') return undefined
      entry = this.#child(entry, name)
    }
    return entry
  }

  readdir(path: string): readonly string[] {
    return this.entries(path).map((entry) => entry.name)
  }

  readlink(path: string): string {
    const entry = this.lstat(path)
    if (entry?.type !== 'symlink') throw Object.assign(new Error(`not a symlink: ${path}`), { code: 'EINVAL' })
    return decodePath(reading(entry.hostPath, () => readlinkSync(fsPath(entry.hostPath), 'buffer')))
  }

  /** The entries of a directory in the order of `readdir`, without looking each up again. */
  entries(path: string): readonly ContextEntry[] {
    const directory = this.lstat(path)
    return directory?.type === 'directory' ? this.children(directory) : []
  }

  /** The entries of a directory that was found before. */
  children(directory: ContextEntry): readonly ContextEntry[] {
    let listing = this.#listings.get(directory)
    if (listing === undefined) {
      listing = this.#list(directory)
      this.#listings.set(directory, listing)
    }
    return listing
  }

  /** Takes out an entry that turned out to be gone. */
  forget(path: string): void {
    const entry = this.lstat(path)
    const parent = this.lstat(path.slice(0, Math.max(0, path.lastIndexOf('/'))))
    if (entry === undefined || parent === undefined) return
    this.#known.set(entry.path, undefined)
    const listing = this.#listings.get(parent)
    if (listing !== undefined) {
      this.#listings.set(
        parent,
        listing.filter((other) => other !== entry),
      )
    }
  }

  /** True when the file is on the disk but the ignore patterns exclude it. */
  isIgnored(path: string): boolean {
    let state = -1
    let at = ''
    for (const name of path.split('/')) {
      if (name === '') continue
      at = at === '' ? name : `${at}/${name}`
      state = this.#filter.enter(at, state)
    }
    if (!this.#filter.isExcluded(state)) return false
    return lstatIfThere(`${this.root}/${at}`) !== undefined
  }

  /** One child, without reading the directory. */
  #child(directory: ContextEntry, name: string): ContextEntry | undefined {
    const path = directory.path === '' ? name : `${directory.path}/${name}`
    if (this.#known.has(path)) return this.#known.get(path)
    const listing = this.#listings.get(directory)
    const found = listing === undefined ? this.#read(directory, name, path) : listing.find((entry) => entry.name === name)
    this.#known.set(path, found)
    return found
  }

  #list(directory: ContextEntry): readonly ContextEntry[] {
    const entries: ContextEntry[] = []
    const prefix = directory.path === '' ? '' : `${directory.path}/`
    const known = this.#known
    for (const name of this.#names(directory)) {
      const path = prefix + name
      const entry = known.size > 0 && known.has(path) ? known.get(path) : this.#read(directory, name, path)
      if (entry !== undefined) entries.push(entry)
    }
    return entries
  }

  #names(directory: ContextEntry): readonly string[] {
    const listings = this.listings
    const recalled = listings?.recall(directory)
    if (recalled !== undefined) return recalled
    const names = readNames(directory.hostPath)
    listings?.add(directory, names)
    return names
  }

  #read(directory: ContextEntry, name: string, path: string): ContextEntry | undefined {
    const filter = this.#filter
    const state = filter.isEmpty ? -1 : filter.enter(path, directory.state)
    const excluded = filter.isExcluded(state)
    if (excluded && filter.canPruneAt(path, state)) return undefined
    const hostPath = `${directory.hostPath}/${name}`
    const stats = lstatIfThere(hostPath)
    if (stats === undefined) return undefined
    if (excluded && !stats.isDirectory()) return undefined
    const entry = new ContextEntry(name, path, hostPath, stats, state)
    // An excluded directory is there only for what `!` includes below it.
    return excluded && this.children(entry).length === 0 ? undefined : entry
  }
}

/** Made once: an object for each of many calls is work for the garbage collector. */
const undefinedIfGone = { throwIfNoEntry: false } as const
const asText = { encoding: 'utf8' } as const
const beyondAscii = /[^\x00-\x7f]/

function statRoot(root: string): Stats {
  const stats = reading(root, () => statSync(fsPath(root), { throwIfNoEntry: false }))
  if (stats !== undefined) return stats
  throw new BuildError('CONTEXT_NOT_FOUND', `build context "${root}" does not exist`)
}

/** What is at a host path; undefined when nothing is, also when it vanished this moment. */
function lstatIfThere(hostPath: string): Stats | undefined {
  try {
    return lstatSync(fsPath(hostPath), undefinedIfGone)
  } catch (error) {
    if (systemCode(error) === 'ENOTDIR' || systemCode(error) === 'ENOENT') return undefined
    throw unreadable(hostPath, error)
  }
}

/** Names in a directory ordered by their bytes; none when the directory vanished. */
function readNames(hostPath: string): string[] {
  try {
    const names = readdirSync(fsPath(hostPath), asText)
    if (!beyondAscii.test(names.length === 1 ? (names[0] ?? '') : names.join('/'))) return names.length < 2 ? names : names.sort()
    if (names.some(isLossy)) return readdirSync(fsPath(hostPath), 'buffer').map(decodePath).sort(comparePaths)
    return names.sort(comparePaths)
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw unreadable(hostPath, error)
  }
}

function reading<T>(hostPath: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw unreadable(hostPath, error)
  }
}

/** The error for a file of a context that cannot be read. */
export function unreadable(hostPath: string, cause: unknown): BuildError {
  const code = systemCode(cause) ?? 'unknown error'
  return new BuildError('CONTEXT_UNREADABLE', `"${hostPath}" of the build context cannot be read (${code})`, {
    hint: 'make it readable, or list it in .dockerignore',
    cause,
  })
}
