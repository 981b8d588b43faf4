/**
 * Walks a snapshot directory and says what its layer holds: entries, deletions and opaque directories, in tar order.
 *
 * Order: a directory before what is in it, names of one directory by their bytes. One name after the other is looked at,
 * so the cost is that of the changed files, whatever the size of the root filesystem below.
 */
import { lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs'
import { BuildError } from '../core/errors.js'
import { comparePaths, decodePath, fsPath, isLossy } from '../core/path-bytes.js'
import type { FileView } from '../core/view.js'
import { deviceParts, getXattr, listXattrs } from '../io/sys.js'
import { isLayerXattr, isOverlayXattr, isWhiteout, isYes, whiteoutPrefix } from './whiteout.js'

/** What an entry of a layer is. `link` is one more name of an earlier entry. */
export type LayerEntryType =
  | 'file'
  | 'directory'
  | 'symlink'
  | 'link'
  | 'character'
  | 'block'
  | 'fifo'
  /** A deletion of the name in the layers below. */
  | 'whiteout'
  /** A directory's note that nothing of the layers below shows in it. */
  | 'opaque'

/** One entry of a layer. */
export interface LayerEntry {
  readonly type: LayerEntryType
  /** Relative to the root of the layer, without a leading slash; empty for the root itself. */
  readonly path: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of a `file`, else 0. */
  readonly size: number
  /** Whole seconds since 1970. */
  readonly mtime: number
  /** Text of a symlink; path of the first name of a hard link; else empty. */
  readonly target: string
  readonly major: number
  readonly minor: number
  /** Ordered by name. */
  readonly xattrs: readonly Xattr[]
  readonly hostPath: string
}

/** An extended attribute. */
export interface Xattr {
  readonly name: string
  readonly value: Buffer
}

/** What the layer is compared with. */
export interface WalkOptions {
  /** The layers below: then a deletion of a name that they lack is left out. */
  readonly lowers?: FileView
}

/** What a walk carries along. */
export interface Walk {
  readonly lowers: FileView | undefined
  /** Inode → path of its first name, of files with several names. */
  readonly firstNames: Map<number, string>
}

const noXattrs: readonly Xattr[] = []

/** The entries of the layer in `upper`, in tar order. Sockets have no form in a tar and are left out, as everywhere. */
export function* walkLayer(upper: string, options: WalkOptions = {}): Generator<LayerEntry, void, void> {
  const stats = lstatSync(fsPath(upper))
  const { xattrs, opaque } = readXattrs(upper)
  const isPlain = (stats.mode & 0o7777) === 0o755 && stats.uid === 0 && stats.gid === 0 && xattrs.length === 0
  if (!isPlain) yield describe('directory', '', upper, stats, xattrs, '')
  if (opaque) yield marker('opaque', '', upper)
  yield* walkDirectory({ lowers: options.lowers, firstNames: new Map() }, upper, '')
}

function* walkDirectory(walk: Walk, hostPath: string, path: string): Generator<LayerEntry, void, void> {
  for (const name of listNames(hostPath)) {
    const childHost = `${hostPath}/${name}`
    const child = path === '' ? name : `${path}/${name}`
    const stats = lstatSync(fsPath(childHost))
    if (isWhiteout(stats)) {
      if (walk.lowers === undefined || existsIn(walk.lowers, child)) yield marker('whiteout', child, childHost)
      continue
    }
    refuseMarkerName(name, child)
    if (!stats.isDirectory()) {
      const entry = describeFile(walk, child, childHost, stats)
      if (entry !== undefined) yield entry
      continue
    }
    const { xattrs, opaque } = readXattrs(childHost)
    yield describe('directory', child, childHost, stats, xattrs, '')
    if (opaque) yield marker('opaque', child, childHost)
    yield* walkDirectory(walk, childHost, child)
  }
}

/** One entry that is no directory; undefined for a socket. `walk.firstNames` tells further names of a file from its first. */
export function describeFile(walk: Walk, path: string, hostPath: string, stats: Stats): LayerEntry | undefined {
  const type = typeOf(stats)
  if (type === undefined) return undefined
  if (stats.nlink > 1) {
    const first = walk.firstNames.get(stats.ino)
    if (first !== undefined) return describe('link', path, hostPath, stats, noXattrs, first)
    walk.firstNames.set(stats.ino, path)
  }
  const target = type === 'symlink' ? decodePath(readlinkSync(fsPath(hostPath), 'buffer')) : ''
  return describe(type, path, hostPath, stats, readXattrs(hostPath).xattrs, target)
}

function typeOf(stats: Stats): LayerEntryType | undefined {
  if (stats.isFile()) return 'file'
  if (stats.isSymbolicLink()) return 'symlink'
  if (stats.isCharacterDevice()) return 'character'
  if (stats.isBlockDevice()) return 'block'
  return stats.isFIFO() ? 'fifo' : undefined
}

function describe(
  type: LayerEntryType,
  path: string,
  hostPath: string,
  stats: Stats,
  xattrs: readonly Xattr[],
  target: string,
): LayerEntry {
  const { major, minor } = type === 'character' || type === 'block' ? deviceParts(stats.rdev) : { major: 0, minor: 0 }
  return {
    type,
    path,
    mode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    size: type === 'file' ? stats.size : 0,
    mtime: wholeSeconds(stats, hostPath),
    target,
    major,
    minor,
    xattrs,
    hostPath,
  }
}

/** Node gives times as a double: within 0.2 µs of the next second it says that second. Then ask again, exactly. */
function wholeSeconds(stats: Stats, hostPath: string): number {
  const seconds = Math.floor(stats.mtimeMs / 1000)
  if (stats.mtimeMs % 1000 !== 0) return seconds
  const exact = lstatSync(fsPath(hostPath), { bigint: true }).mtimeNs
  const billion = 1_000_000_000n
  return Number((exact - (((exact % billion) + billion) % billion)) / billion)
}

/** A deletion, or the note that a directory is opaque. */
export function marker(type: 'whiteout' | 'opaque', path: string, hostPath: string): LayerEntry {
  const nothing = { mode: 0, uid: 0, gid: 0, size: 0, mtime: 0, target: '', major: 0, minor: 0, xattrs: noXattrs }
  return { type, path, hostPath, ...nothing }
}

function readXattrs(hostPath: string): { readonly xattrs: readonly Xattr[]; readonly opaque: boolean } {
  const names = listXattrs(hostPath)
  if (names.length === 0) return { xattrs: noXattrs, opaque: false }
  const xattrs: Xattr[] = []
  let opaque = false
  for (const name of names) {
    if (isOverlayXattr(name)) {
      if (name.endsWith('.overlay.opaque')) opaque ||= isYes(getXattr(hostPath, name))
      else refuseIncomplete(hostPath, name)
      continue
    }
    const value = isLayerXattr(name) ? getXattr(hostPath, name) : undefined
    if (value !== undefined) xattrs.push({ name, value })
  }
  return { xattrs: xattrs.sort((a, b) => comparePaths(a.name, b.name)), opaque }
}

/** A layer that leans on the exact directories below it cannot be shipped. mille mounts so that none is made. */
function refuseIncomplete(hostPath: string, name: string): void {
  const kind = name.slice(name.lastIndexOf('.') + 1)
  if (kind !== 'redirect' && kind !== 'metacopy') return
  throw new BuildError('LAYER_UNSUPPORTED', `"${hostPath}" has the overlay attribute ${name}, which no layer can express`)
}

/** Throws LAYER_UNSUPPORTED for a name that would be read as a deletion. */
export function refuseMarkerName(name: string, path: string): void {
  if (!name.startsWith(whiteoutPrefix)) return
  throw new BuildError('LAYER_UNSUPPORTED', `"${path}" cannot be in an image: names with ".wh." in front mean deletions`, {
    hint: 'remove or rename the file in the step that makes it',
  })
}

/** True when `path` is there and none of its parents is a link or file that would end the look-up. */
function existsIn(view: FileView, path: string): boolean {
  return view.lstat(`/${path}`) !== undefined
}

/** The names in a directory of this machine, ordered by their bytes, whatever these are. */
export function listNames(hostPath: string): string[] {
  const names = readdirSync(fsPath(hostPath))
  if (!names.some(isLossy)) return sortNames(names)
  return sortNames(readdirSync(fsPath(hostPath), 'buffer').map(decodePath))
}

/** Sorts names in place by their bytes. */
export function sortNames(names: string[]): string[] {
  return names.every((name) => isAscii.test(name)) ? names.sort() : names.sort(comparePaths)
}

const isAscii = /^[\x00-\x7f]*$/
