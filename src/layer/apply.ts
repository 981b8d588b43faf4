/**
 * Unpacks a layer tar into a snapshot directory in overlay form.
 *
 * For a worker: file calls are synchronous, with as few per file as can be, while decompression runs in the thread pool.
 * The tar may be hostile: names are resolved in `layer-root.ts`, files are made anew (`entry-file.ts`), sizes are bounded. Spec: OCI image-spec, layer.md, "Applying Changesets".
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  rmSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  utimesSync,
} from 'node:fs'
import { type DiffID, diffIdFromHex } from '../core/digest.js'
import { BuildError, systemCode } from '../core/errors.js'
import { fsPath } from '../core/path-bytes.js'
import { asStoreError } from '../io/disk-error.js'
import { deviceNumber, makeNode, setXattr } from '../io/sys.js'
import { EntryFile } from './entry-file.js'
import { LayerRoot, nameParts } from './layer-root.js'
import { SnapshotList } from './snapshot-list.js'
import { type TarEntry, TarReader, type TarVisitor } from './tar-reader.js'
import { isLayerXattr, isWhiteout, opaqueName, setOpaque, whiteoutMetaPrefix, whiteoutPrefix } from './whiteout.js'

/** How a layer is unpacked. */
export interface ApplyOptions {
  /** The most bytes the tar may have: a bound for archives that unpack without end. Default 1 TiB. */
  readonly limitBytes?: number
  /** Where overlay looks for opaque directories: `user` for mounts with `userxattr`. Default `trusted`. */
  readonly overlayXattr?: 'trusted' | 'user'
  /**
   * `image`: `.wh.` names are deletions. `plain`: they are files like any other (rootfs archives). `context`: the same,
   * but everything belongs to whoever unpacks it, and devices are refused. Default `image`.
   */
  readonly form?: 'image' | 'plain' | 'context'
  /** The most entries that the tar may have. Default: as many as there are. */
  readonly limitEntries?: number
}

/** What came out of a tar. */
export interface AppliedLayer {
  /** sha256 of all bytes of the tar. */
  readonly diffId: DiffID
  /** Bytes of the files. */
  readonly size: number
  /** Bytes of the tar. */
  readonly tarSize: number
  /** For `ActiveSnapshot.commit`. */
  readonly entries: string
  /** The time of the newest file, seconds since 1970; undefined when there is no file. */
  readonly newestFile: number | undefined
}

const defaultLimit = 2 ** 40

/**
 * Unpacks an uncompressed layer tar into `target`, an existing directory that nobody else writes to.
 *
 * @throws BuildError LAYER_TRUNCATED, LAYER_BAD_TAR, LAYER_ESCAPES_ROOT, LAYER_UNSUPPORTED; and system errors as they are
 */
export async function applyLayer(
  tar: AsyncIterable<Uint8Array>,
  target: string,
  options: ApplyOptions,
  signal: AbortSignal,
): Promise<AppliedLayer> {
  const unpacker = new Unpacker(target, options)
  try {
    for await (const chunk of tar) {
      signal.throwIfAborted()
      unpacker.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    }
    return unpacker.finish()
  } catch (error) {
    throw asStoreError(error, target)
  } finally {
    unpacker.close()
  }
}

/** Takes a tar in chunks and writes its files. `close` must be called at the end, whatever happened. */
class Unpacker implements TarVisitor {
  readonly #root: LayerRoot
  readonly #target: string
  readonly #options: ApplyOptions
  readonly #reader = new TarReader(this)
  readonly #hash = createHash('sha256')
  readonly #list = new SnapshotList()
  /** Directory → mtime in seconds, set at the very end: making files in it changes it. */
  readonly #times = new Map<string, number>()
  /** Bits that new files do not get by themselves. */
  readonly #mask = process.umask()
  #file: EntryFile | undefined
  #tarSize = 0
  #entries = 0
  #fileSizes = 0
  #newestFile: number | undefined

  constructor(target: string, options: ApplyOptions) {
    this.#target = target
    this.#options = options
    this.#root = new LayerRoot(target, (hostPath, path) => {
      if (this.#mask !== 0) chmodSync(fsPath(hostPath), 0o755)
      this.#times.set(hostPath, 0)
      this.#list.add('directory', path, 0)
    })
  }

  push(chunk: Buffer): void {
    this.#tarSize += chunk.length
    const limit = this.#options.limitBytes ?? defaultLimit
    if (this.#tarSize > limit) throw tooLarge(limit)
    this.#hash.update(chunk)
    this.#reader.push(chunk)
  }

  finish(): AppliedLayer {
    this.#reader.finish()
    for (const [hostPath, mtime] of this.#times) utimesSync(fsPath(hostPath), timeOf(mtime), timeOf(mtime))
    const { size, entries } = this.#list.finish()
    return {
      diffId: diffIdFromHex(this.#hash.digest('hex')),
      size,
      tarSize: this.#tarSize,
      entries,
      newestFile: this.#newestFile,
    }
  }

  close(): void {
    this.#file?.close()
    this.#file = undefined
  }

  entry(given: TarEntry): void {
    const entry = this.#options.form === 'context' ? asContextEntry(given) : given
    this.#count(entry)
    const parts = nameParts(entry.path)
    const name = parts.pop()
    const isImage = (this.#options.form ?? 'image') === 'image'
    try {
      if (name === undefined) this.#applyRoot(entry)
      else if (isImage && name.startsWith(whiteoutPrefix)) this.#applyDeletion(entry, parts, name)
      else this.#apply(entry, this.#root.directory(parts, entry.path), name)
    } catch (error) {
      throw explain(error, entry)
    }
  }

  /** Holes count: what is small on the disk may take for ever to read. */
  #count(entry: TarEntry): void {
    const { limitBytes = defaultLimit, limitEntries = Number.POSITIVE_INFINITY } = this.#options
    if (++this.#entries > limitEntries) {
      throw new BuildError('LAYER_BAD_TAR', `the archive has more than ${limitEntries.toLocaleString('en')} entries`)
    }
    if (entry.type === 'file') {
      this.#fileSizes += entry.size
      this.#newestFile = Math.max(entry.mtime, this.#newestFile ?? entry.mtime)
    }
    if (this.#fileSizes > limitBytes) throw tooLarge(limitBytes)
  }

  #apply(entry: TarEntry, parent: string, name: string): void {
    const hostPath = `${parent}/${name}`
    const path = hostPath.slice(this.#target.length + 1)
    this.#make(entry, hostPath, path)
    this.#list.add(entry.type, path, entry.size)
  }

  data(bytes: Buffer, offset: number): void {
    this.#file?.write(bytes, offset)
  }

  end(): void {
    const file = this.#file
    if (file === undefined) return
    const { hostPath, entry } = file
    file.finish(this.#mask)
    try {
      this.#setXattrs(entry, hostPath)
    } catch (error) {
      throw explain(error, entry)
    }
    file.setTime(timeOf(entry.mtime))
    this.close()
  }

  #make(entry: TarEntry, hostPath: string, path: string): void {
    switch (entry.type) {
      case 'file':
        this.#file = this.#create(hostPath, () => new EntryFile(entry, hostPath))
        break
      case 'directory':
        this.#makeDirectory(entry, hostPath, path)
        break
      case 'link':
        this.#makeLink(entry, hostPath)
        break
      default:
        this.#makeNode(entry, entry.type, hostPath)
        this.#finishNode(entry, hostPath)
    }
  }

  #makeNode(entry: TarEntry, type: 'symlink' | 'fifo' | 'character' | 'block', hostPath: string): void {
    if (type === 'symlink') this.#create(hostPath, () => symlinkSync(fsPath(entry.target), fsPath(hostPath)))
    else if (type === 'fifo') this.#create(hostPath, () => makeNode(hostPath, 'fifo', entry.mode, 0))
    else this.#makeDevice(entry, type, hostPath)
  }

  /** Makes something new at a place; what an earlier entry of the same name made is removed: the last one wins. */
  #create<T>(hostPath: string, make: () => T): T {
    try {
      return make()
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
    }
    this.#remove(hostPath)
    return make()
  }

  #remove(hostPath: string): void {
    if (lstatSync(fsPath(hostPath)).isDirectory()) {
      rmSync(fsPath(hostPath), { recursive: true })
      this.#root.forget()
      const below = `${hostPath}/`
      for (const path of this.#times.keys()) if (path === hostPath || path.startsWith(below)) this.#times.delete(path)
    } else {
      unlinkSync(fsPath(hostPath))
    }
    this.#list.remove(hostPath.slice(this.#target.length + 1))
  }

  #makeDirectory(entry: TarEntry, hostPath: string, path: string): void {
    try {
      mkdirSync(fsPath(hostPath), entry.mode & 0o777)
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
      this.#reuseDirectory(entry, hostPath)
    }
    this.#root.add(path, hostPath)
    this.#finishDirectory(entry, hostPath)
  }

  /** A directory is kept with what is in it; a deletion before it means that nothing of the layers below shows in it. */
  #reuseDirectory(entry: TarEntry, hostPath: string): void {
    const stats = lstatSync(fsPath(hostPath))
    if (!stats.isDirectory()) {
      this.#remove(hostPath)
      mkdirSync(fsPath(hostPath), entry.mode & 0o777)
      if (isWhiteout(stats)) this.#setOpaque(hostPath)
    } else if ((stats.mode & 0o7777) !== entry.mode) {
      chmodSync(fsPath(hostPath), entry.mode)
    }
  }

  #applyRoot(entry: TarEntry): void {
    if (entry.type !== 'directory') throw new BuildError('LAYER_BAD_TAR', `the entry "${entry.path}" has no name`)
    chmodSync(fsPath(this.#target), entry.mode)
    this.#finishDirectory(entry, this.#target)
  }

  #finishDirectory(entry: TarEntry, hostPath: string): void {
    lchownSync(fsPath(hostPath), entry.uid, entry.gid)
    if ((entry.mode & (this.#mask | 0o7000)) !== 0) chmodSync(fsPath(hostPath), entry.mode)
    this.#setXattrs(entry, hostPath)
    this.#times.set(hostPath, entry.mtime)
  }

  #makeLink(entry: TarEntry, hostPath: string): void {
    const parts = nameParts(entry.target)
    const name = parts.pop()
    const source = name === undefined ? this.#target : `${this.#root.directory(parts, entry.target)}/${name}`
    const stats: Stats | undefined = lstatSync(fsPath(source), { throwIfNoEntry: false })
    const isInside = source.startsWith(`${hostPath}/`)
    if (stats === undefined || stats.isDirectory() || isWhiteout(stats) || isInside) {
      const what = stats?.isDirectory() ? 'a directory' : 'not in the layer'
      throw new BuildError('LAYER_BAD_TAR', `the hard link "${entry.path}" is to "${entry.target}", which is ${what}`)
    }
    if (source !== hostPath) this.#create(hostPath, () => linkSync(fsPath(source), fsPath(hostPath)))
  }

  #makeDevice(entry: TarEntry, type: 'character' | 'block', hostPath: string): void {
    if (type === 'character' && entry.major === 0 && entry.minor === 0) {
      throw new BuildError('LAYER_UNSUPPORTED', `"${entry.path}" is a 0:0 device, which would hide files of other layers`)
    }
    this.#create(hostPath, () => makeNode(hostPath, type, entry.mode, deviceNumber(entry.major, entry.minor)))
  }

  #finishNode(entry: TarEntry, hostPath: string): void {
    if (entry.uid !== 0 || entry.gid !== 0) lchownSync(fsPath(hostPath), entry.uid, entry.gid)
    if (entry.type !== 'symlink' && (entry.mode & (this.#mask | 0o7000)) !== 0) chmodSync(fsPath(hostPath), entry.mode)
    this.#setXattrs(entry, hostPath)
    lutimesSync(fsPath(hostPath), timeOf(entry.mtime), timeOf(entry.mtime))
  }

  #setXattrs(entry: TarEntry, hostPath: string): void {
    for (const { name, value } of entry.xattrs) if (isLayerXattr(name)) setXattr(hostPath, name, value)
  }

  #setOpaque(hostPath: string): void {
    setOpaque(hostPath, this.#options.overlayXattr ?? 'trusted')
    this.#list.add('opaque', hostPath.slice(this.#target.length + 1), 0)
  }

  #applyDeletion(entry: TarEntry, parts: readonly string[], name: string): void {
    const hidden = name.slice(whiteoutPrefix.length)
    if (name === opaqueName) {
      this.#setOpaque(this.#root.directory(parts, entry.path))
      return
    }
    if (name.startsWith(whiteoutMetaPrefix)) return
    if (hidden === '' || hidden === '.' || hidden === '..') {
      throw new BuildError('LAYER_BAD_TAR', `the entry "${entry.path}" is a deletion of nothing`)
    }
    const hostPath = `${this.#root.directory(parts, entry.path)}/${hidden}`
    const stats = lstatSync(fsPath(hostPath), { throwIfNoEntry: false })
    // A deletion is about the layers below: what this layer has under the name stays.
    if (stats?.isDirectory()) this.#setOpaque(hostPath)
    if (stats !== undefined) return
    makeNode(hostPath, 'character', 0, 0)
    this.#list.add('whiteout', hostPath.slice(this.#target.length + 1), 0)
  }
}

function tooLarge(limit: number): BuildError {
  return new BuildError('LAYER_BAD_TAR', `the archive unpacks to more than ${limit.toLocaleString('en')} bytes`)
}

/** Files of a context have no owner of their own, and nothing in it may be a way to a device of this machine. */
function asContextEntry(entry: TarEntry): TarEntry {
  if (entry.type === 'character' || entry.type === 'block') {
    throw new BuildError('LAYER_UNSUPPORTED', `the entry "${entry.path}" is a ${entry.type} device`, {
      hint: 'devices belong to a machine, not to a build: leave it out of the archive',
    })
  }
  const [uid = 0, gid = 0] = [process.getuid?.(), process.getgid?.()]
  return { ...entry, uid, gid }
}

/** Node takes a number below 0 for "now", but not a Date. */
function timeOf(seconds: number): number | Date {
  return seconds < 0 ? new Date(seconds * 1000) : seconds
}

/** What this machine cannot do for an entry, said with its name; other errors as they are. */
function explain(error: unknown, entry: TarEntry): unknown {
  const code = systemCode(error)
  if (code === 'ENAMETOOLONG')
    return new BuildError('LAYER_BAD_TAR', `the name "${entry.path.slice(0, 80)}…" is too long`, { cause: error })
  if (code === 'ENOTSUP' || code === 'EOPNOTSUPP') {
    return new BuildError('LAYER_UNSUPPORTED', `the filesystem of the store cannot hold the attributes of "${entry.path}"`, {
      cause: error,
      hint: 'set MILLE_ROOT to a directory on ext4, xfs or btrfs',
    })
  }
  return error
}
