/**
 * Reads a tar as it comes, in chunks of any size, and tells a visitor what is in it.
 *
 * Synchronous and without copies of file content: made for a worker that writes files as the bytes arrive. Knows USTAR,
 * pax (local and global headers), GNU long names, base-256 numbers and sparse files. What the entries say is not judged
 * here: names may be absolute, have `..` or lead through links.
 */
import { BuildError } from '../core/errors.js'
import { decodePath } from '../core/path-bytes.js'
import { number, type PaxRecords, parseHeader, parsePax, paxNumber, type RawHeader } from './tar-fields.js'
import { blockSize, paddingOf } from './tar-header.js'
import { type Extent, isSparse, oldSparse, SparseMapReader } from './tar-sparse.js'
import type { Xattr } from './walk.js'

/** One entry as the archive has it. */
export interface TarEntry {
  readonly type: 'file' | 'link' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo'
  readonly path: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of the file once it is unpacked. */
  readonly size: number
  /** Whole seconds since 1970. */
  readonly mtime: number
  /** Text of a symlink, or the name that a hard link is another name of. */
  readonly target: string
  readonly major: number
  readonly minor: number
  readonly xattrs: readonly Xattr[]
}

/** Is told of the entries in order: `entry`, then `data` of files, then `end`. */
export interface TarVisitor {
  entry(entry: TarEntry): void
  /** `bytes` of the file at `offset`; what no call covers is a hole. They are only valid during the call. */
  data(bytes: Buffer, offset: number): void
  end(): void
}

const types: Readonly<Record<string, TarEntry['type']>> = {
  '0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
}

/** More than any real pax header or long name: 64 KiB for each of some xattrs. */
const largestMeta = 4 << 20
const xattrPrefix = 'SCHILY.xattr.'

/** The reader. Call `push` for each chunk and `finish` after the last. All calls throw LAYER_… errors. */
export class TarReader {
  readonly #visitor: TarVisitor
  #state: 'header' | 'meta' | 'sparse-header' | 'sparse-map' | 'data' | 'ended' = 'header'
  /** Bytes of the present header or meta body that have come so far. */
  #parts: Buffer[] = []
  #have = 0
  #want = blockSize
  #meta: RawHeader | undefined
  #raw: { header: RawHeader; pax: PaxRecords } | undefined
  #globals: ReadonlyMap<string, Buffer> = new Map()
  #locals = new Map<string, Buffer>()
  /** Content bytes still to come in the archive, then padding. */
  #left = 0
  #padding = 0
  #extents: Extent[] = []
  #mapReader: SparseMapReader | undefined
  #realSize = 0

  constructor(visitor: TarVisitor) {
    this.#visitor = visitor
  }

  /** Takes the next bytes of the archive. */
  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && this.#state !== 'ended'; ) {
      if (this.#state === 'data') at = this.#takeData(chunk, at)
      else at = this.#takeBlock(chunk, at)
    }
  }

  /** Says that the archive is over. An archive without its end blocks is accepted, as everywhere. */
  finish(): void {
    if (this.#state === 'ended' || (this.#state === 'header' && this.#have === 0 && this.#locals.size === 0)) return
    throw new BuildError('LAYER_TRUNCATED', 'the tar archive ends in the middle of an entry', {
      hint: 'it was cut short: fetch or make it again',
    })
  }

  /** Gathers `#want` bytes, without a copy where one chunk has them all, and hands them on. */
  #takeBlock(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#want - this.#have)
    const part = chunk.subarray(at, end)
    this.#have += part.length
    if (this.#have < this.#want) {
      this.#parts.push(Buffer.from(part))
      return end
    }
    const block = this.#parts.length === 0 ? part : Buffer.concat([...this.#parts, part])
    this.#parts = []
    this.#have = 0
    this.#want = blockSize
    this.#onBlock(block)
    return end
  }

  #onBlock(block: Buffer): void {
    switch (this.#state) {
      case 'header':
        this.#onHeader(block)
        break
      case 'meta':
        this.#onMeta(block)
        break
      case 'sparse-header': {
        const { extents, more } = oldSparse(block, 0, 21, 504)
        this.#extents.push(...extents)
        if (!more) this.#startSparse()
        break
      }
      default:
        this.#onMapBlock(block)
    }
  }

  #onMapBlock(block: Buffer): void {
    this.#left -= blockSize
    if (this.#left < 0) throw new BuildError('LAYER_BAD_TAR', 'the tar archive has a sparse file with a damaged map')
    if (!this.#mapReader?.push(block)) return
    this.#extents = this.#mapReader.extents()
    this.#mapReader = undefined
    this.#startSparse()
  }

  #onHeader(block: Buffer): void {
    const header = parseHeader(block)
    if (header === undefined) {
      this.#state = 'ended'
      return
    }
    if (header.size < 0) throw new BuildError('LAYER_BAD_TAR', 'the tar archive has an entry of negative size')
    if ('xgLK'.includes(header.flag)) this.#startMeta(header)
    else this.#startEntry(header, block)
  }

  #startMeta(header: RawHeader): void {
    if (header.size > largestMeta) {
      throw new BuildError('LAYER_BAD_TAR', `the tar archive has a header of ${header.size.toLocaleString('en')} bytes`)
    }
    if (header.size === 0) return
    this.#meta = header
    this.#state = 'meta'
    this.#want = header.size + paddingOf(header.size)
  }

  #onMeta(block: Buffer): void {
    const body = block.subarray(0, this.#meta?.size)
    const flag = this.#meta?.flag
    if (flag === 'x') this.#locals = new Map([...this.#locals, ...parsePax(body)])
    else if (flag === 'g') this.#globals = new Map([...this.#globals, ...parsePax(body)])
    else this.#locals.set(flag === 'L' ? 'path' : 'linkpath', untilNul(body))
    this.#meta = undefined
    this.#state = 'header'
  }

  #startEntry(header: RawHeader, block: Buffer): void {
    const pax = this.#globals.size === 0 ? this.#locals : new Map([...this.#globals, ...this.#locals])
    this.#locals = new Map()
    this.#raw = { header, pax }
    const hasContent = types[header.flag] === 'file'
    const size = hasContent ? paxNumber(pax, 'size', header.size) : 0
    if (size < 0) throw new BuildError('LAYER_BAD_TAR', 'the tar archive has an entry of negative size')
    this.#left = size
    this.#padding = paddingOf(size)
    this.#extents = [{ offset: 0, size }]
    this.#realSize = size
    if (header.flag === 'S') {
      this.#realSize = number(block, 483, 12)
      const { extents, more } = oldSparse(block, 386, 4, 482)
      this.#extents = extents
      if (more) this.#state = 'sparse-header'
      else this.#startSparse()
    } else if (hasContent && isSparse(pax)) {
      this.#realSize = paxNumber(pax, 'GNU.sparse.realsize', paxNumber(pax, 'GNU.sparse.size', -1))
      this.#mapReader = new SparseMapReader(pax)
      this.#state = 'sparse-map'
      if (!this.#mapReader.isComplete()) return
      this.#extents = this.#mapReader.extents()
      this.#startSparse()
    } else {
      this.#announce()
    }
  }

  /** The map must fit the bytes that follow and the size of the file. */
  #startSparse(): void {
    let total = 0
    let end = 0
    for (const { offset, size } of this.#extents) {
      if (offset < end || size < 0) total = Number.NaN
      total += size
      end = offset + size
    }
    if (total !== this.#left || end > this.#realSize) {
      throw new BuildError('LAYER_BAD_TAR', 'the tar archive has a sparse file with a damaged map')
    }
    this.#announce()
  }

  #announce(): void {
    const raw = this.#raw
    if (raw === undefined) return
    this.#visitor.entry(toEntry(raw.header, raw.pax, this.#realSize))
    this.#state = 'data'
    if (this.#left === 0) this.#endEntry()
  }

  #takeData(chunk: Buffer, at: number): number {
    if (this.#left === 0) {
      const skipped = Math.min(this.#padding, chunk.length - at)
      this.#padding -= skipped
      if (this.#padding === 0) this.#state = 'header'
      return at + skipped
    }
    const [extent] = this.#extents
    if (extent === undefined) throw new BuildError('LAYER_BAD_TAR', 'the tar archive has a sparse file with a damaged map')
    const count = Math.min(extent.size, chunk.length - at)
    if (count > 0) this.#visitor.data(chunk.subarray(at, at + count), extent.offset)
    this.#left -= count
    if (count === extent.size) this.#extents.shift()
    else this.#extents[0] = { offset: extent.offset + count, size: extent.size - count }
    if (this.#left === 0) this.#endEntry()
    return at + count
  }

  #endEntry(): void {
    this.#visitor.end()
    if (this.#padding === 0) this.#state = 'header'
  }
}

function untilNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0)
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end))
}

function toEntry(header: RawHeader, pax: PaxRecords, size: number): TarEntry {
  const path = decodePath(pax.get('GNU.sparse.name') ?? pax.get('path') ?? header.name)
  const type = types[header.flag]
  if (type === undefined) {
    throw new BuildError('LAYER_UNSUPPORTED', `"${path}" in the tar archive has the unknown type "${header.flag}"`)
  }
  const target = decodePath(pax.get('linkpath') ?? header.target)
  if (path.includes('\0') || target.includes('\0'))
    throw new BuildError('LAYER_BAD_TAR', 'the tar archive has a name with a NUL in it')
  const xattrs: Xattr[] = []
  for (const [key, value] of pax) {
    if (key.startsWith(xattrPrefix)) xattrs.push({ name: key.slice(xattrPrefix.length), value })
  }
  return {
    // Before POSIX directories were files whose name ends in a slash.
    type: type === 'file' && path.endsWith('/') ? 'directory' : type,
    path,
    mode: header.mode,
    uid: idOf(paxNumber(pax, 'uid', header.uid), path),
    gid: idOf(paxNumber(pax, 'gid', header.gid), path),
    size,
    mtime: paxNumber(pax, 'mtime', header.mtime),
    target,
    major: header.major,
    minor: header.minor,
    xattrs,
  }
}

function idOf(id: number, path: string): number {
  if (id >= 0 && id < 2 ** 32 - 1) return id
  throw new BuildError('LAYER_BAD_TAR', `"${path}" in the tar archive belongs to the user or group ${id}, which cannot be`)
}
