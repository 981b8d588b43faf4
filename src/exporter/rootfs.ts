/**
 * The root filesystem of an image as plain files: one tar (`type=tar`) or a directory (`type=local`), without layers.
 *
 * The tar has owners, modes, links, devices and extended attributes as in the image, in a fixed order. In a directory files
 * belong to whoever runs mille and devices are left out, as docker has it.
 */
import {
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
} from 'node:fs'
import { Readable } from 'node:stream'
import { BuildError, systemCode } from '../core/errors.js'
import { fsPath } from '../core/path-bytes.js'
import type { FileEntry, FileView } from '../core/view.js'
import { makeDirectories } from '../io/fs.js'
import { deviceParts, getXattr, listXattrs } from '../io/sys.js'
import { layerStack } from '../layer/stack.js'
import { type TarBlockOptions, tarOfEntries } from '../layer/tar.js'
import type { LayerEntry, LayerEntryType } from '../layer/walk.js'
import { isLayerXattr } from '../layer/whiteout.js'

/** One file of a view in tar order. */
export interface Found {
  readonly path: string
  readonly entry: FileEntry
  /** The first name of the same file. */
  readonly first: string | undefined
}

/** A view and the directory of the output that it goes to: relative, one level; empty for the output itself. */
export interface PlacedView {
  readonly view: FileView
  readonly folder: string
}

/** Whole views as one tar. */
export function rootfsTar(views: readonly PlacedView[], options: Pick<TarBlockOptions, 'epoch'> = {}): Readable {
  return Readable.from(tarOfEntries(tarEntries(views), options), { objectMode: false })
}

function* tarEntries(views: readonly PlacedView[]): Generator<LayerEntry, void, void> {
  const taken = new TakenPaths()
  for (const { view, folder } of views) {
    if (folder !== '' && !taken.isTakenDirectory(folder, true)) yield { ...folderEntry, path: folder }
    const prefix = folder === '' ? '' : `${folder}/`
    for (const found of walkView(view)) {
      const entry = tarEntry(found, view)
      if (entry === undefined) continue
      const path = `${prefix}${entry.path}`
      if (taken.isTakenDirectory(path, entry.type === 'directory')) continue
      yield { ...entry, path, target: entry.type === 'link' ? `${prefix}${entry.target}` : entry.target }
    }
  }
}

const folderEntry: Omit<LayerEntry, 'path'> = {
  ...{ type: 'directory', mode: 0o755, uid: 0, gid: 0, size: 0, mtime: 0, target: '', major: 0, minor: 0 },
  ...{ xattrs: [], hostPath: '' },
}

/** What several views have put into one output: directories may meet, nothing else. */
class TakenPaths {
  readonly #directories = new Map<string, boolean>()

  /** True for a directory that is there already. @throws BuildError EXPORT_FAILED for anything else that is. */
  isTakenDirectory(path: string, isDirectory: boolean): boolean {
    const before = this.#directories.get(path)
    this.#directories.set(path, isDirectory)
    if (before === undefined) return false
    if (before && isDirectory) return true
    throw new BuildError('EXPORT_FAILED', `the images of two platforms both have "${path}"`, {
      hint: 'give each platform a directory: leave out platform-split=false',
    })
  }
}

/** Parents first, names in the order of their bytes; the root itself is not part of it. */
export function* walkView(view: FileView): Generator<Found, void, void> {
  const firsts = new Map<string, string>()
  function* below(directory: string): Generator<Found, void, void> {
    for (const name of view.readdir(directory)) {
      const path = directory === '/' ? `/${name}` : `${directory}/${name}`
      const entry = view.lstat(path)
      if (entry === undefined) continue
      const inode = `${entry.dev}:${entry.ino}`
      const linked = entry.type !== 'directory' && entry.nlink > 1
      yield { path: path.slice(1), entry, first: linked ? firsts.get(inode) : undefined }
      if (linked && !firsts.has(inode)) firsts.set(inode, path.slice(1))
      if (entry.type === 'directory') yield* below(path)
    }
  }
  yield* below('/')
}

function tarEntry({ path, entry, first }: Found, view: FileView): LayerEntry | undefined {
  if (entry.type === 'socket') return undefined
  const type: LayerEntryType = first === undefined ? entry.type : 'link'
  const isDevice = entry.type === 'character' || entry.type === 'block'
  return {
    type,
    path,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    size: type === 'file' ? entry.size : 0,
    mtime: Number(entry.mtimeNs / 1_000_000_000n),
    target: first ?? (type === 'symlink' ? view.readlink(`/${path}`) : ''),
    ...(isDevice ? deviceParts(entry.rdev) : { major: 0, minor: 0 }),
    xattrs: type === 'link' ? [] : xattrsOf(entry.hostPath),
    hostPath: entry.hostPath,
  }
}

function xattrsOf(hostPath: string): LayerEntry['xattrs'] {
  return listXattrs(hostPath)
    .filter(isLayerXattr)
    .sort()
    .flatMap((name) => {
      const value = getXattr(hostPath, name)
      return value === undefined ? [] : [{ name, value }]
    })
}

/** For `exportDirectoryTask`. */
export interface ExportDirectoryTask {
  /** Directories of the layers of each image, bottom first, and where below the destination it goes. */
  readonly parts: readonly { readonly hostLowers: readonly string[]; readonly folder: string }[]
  /** An absolute path; made when missing. */
  readonly destination: string
  /** Seconds since 1970 that no time is later than. */
  readonly epoch?: number
}

/** `writeRootfs` in a worker. */
export function exportDirectoryTask({ parts, destination, epoch }: ExportDirectoryTask): void {
  writeRootfs(
    parts.map(({ hostLowers, folder }) => ({ view: layerStack(hostLowers), folder })),
    destination,
    epoch,
  )
}

/**
 * Writes the views below `destination`; what is there and has another name stays. Synchronous: for a worker.
 *
 * @throws BuildError EXPORT_FAILED when something at the destination is in the way, or two views have the same file
 */
export function writeRootfs(views: readonly PlacedView[], destination: string, epoch: number | undefined): void {
  const taken = new TakenPaths()
  for (const { view, folder } of views)
    writeView(clamped(view, epoch), folder === '' ? destination : `${destination}/${folder}`, taken)
}

/** The view with no time later than `epoch`. */
function clamped(view: FileView, epoch: number | undefined): FileView {
  if (epoch === undefined) return view
  const latest = BigInt(epoch) * 1_000_000_000n
  return {
    lstat(path) {
      const entry = view.lstat(path)
      return entry !== undefined && entry.mtimeNs > latest ? { ...entry, mtimeNs: latest } : entry
    },
    readdir: (path) => view.readdir(path),
    readlink: (path) => view.readlink(path),
  }
}

function writeView(view: FileView, destination: string, taken: TakenPaths): void {
  inPlace(destination, () => makeDirectories(destination))
  const directories: { readonly target: string; readonly entry: FileEntry }[] = []
  for (const found of walkView(view)) {
    const target = `${destination}/${found.path}`
    taken.isTakenDirectory(target, found.entry.type === 'directory')
    inPlace(target, () => writeEntry(found, target, destination, view))
    if (found.entry.type === 'directory') directories.push({ target, entry: found.entry })
  }
  // Modes and times last: a directory without the right to write would take no files, and each file changes its time.
  for (const { target, entry } of directories.reverse()) {
    chmodSync(fsPath(target), entry.mode)
    utimesSync(fsPath(target), seconds(entry), seconds(entry))
  }
}

function writeEntry({ path, entry, first }: Found, target: string, destination: string, view: FileView): void {
  const existing = lstatSync(fsPath(target), { throwIfNoEntry: false })
  if (entry.type === 'directory') {
    if (existing?.isDirectory()) return
    if (existing !== undefined) rmSync(fsPath(target))
    mkdirSync(fsPath(target), { mode: 0o700 })
    return
  }
  if (existing?.isDirectory()) throw new BuildError('EXPORT_FAILED', `${target} is a directory, the image has a file there`)
  if (existing !== undefined) rmSync(fsPath(target))
  if (first !== undefined) linkSync(fsPath(`${destination}/${first}`), fsPath(target))
  else if (entry.type === 'symlink') writeLink(view.readlink(`/${path}`), entry, target)
  else if (entry.type === 'file') writeFile(entry, target)
}

function writeLink(text: string, entry: FileEntry, target: string): void {
  symlinkSync(fsPath(text), fsPath(target))
  lutimesSync(fsPath(target), seconds(entry), seconds(entry))
}

function writeFile(entry: FileEntry, target: string): void {
  copyFileSync(fsPath(entry.hostPath), fsPath(target), constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
  chmodSync(fsPath(target), entry.mode)
  utimesSync(fsPath(target), seconds(entry), seconds(entry))
}

function seconds(entry: FileEntry): number {
  return Number(entry.mtimeNs) / 1e9
}

function inPlace(path: string, work: () => void): void {
  try {
    work()
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOTDIR' || code === 'EEXIST') {
      throw new BuildError('EXPORT_FAILED', `a file stands where ${path} needs a directory`, { cause: error })
    }
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
      throw new BuildError('EXPORT_FAILED', `not allowed to write ${path}`, { cause: error })
    }
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENAMETOOLONG') {
      throw new BuildError('EXPORT_FAILED', `${path} cannot be written (${code})`, { cause: error })
    }
    throw error
  }
}
