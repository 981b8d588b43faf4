/**
 * The canonical tar of a snapshot directory, as a sequence of large blocks.
 *
 * The digest of a layer and the bytes that are shipped come from the same generator, so they cannot differ. Everything is
 * synchronous and made for a worker thread: per file that is 2.4 times faster than promises.
 */
import { createHash, type Hash } from 'node:crypto'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { Readable } from 'node:stream'
import { BuildError } from '../core/errors.js'
import { fsPath } from '../core/path-bytes.js'
import type { FileView } from '../core/view.js'
import { type LayerUpper, layerEntries } from './squash.js'
import { blockSize, encodeHeader, paddingOf } from './tar-header.js'
import type { LayerEntry } from './walk.js'

/** What shapes the tar of a layer. */
export interface PackOptions {
  /** Seconds since 1970: no entry is later than this. */
  readonly epoch?: number
  /** The layers below: then a deletion of a name that they lack is left out. */
  readonly lowers?: FileView
}

/** What `tarBlocks` can do besides. */
export interface TarBlockOptions extends PackOptions {
  /** Called for each entry after its bytes; `content` is the sha256 (hex) of a file, else empty. */
  readonly onEntry?: (entry: LayerEntry, content: string) => void
  /** sha256 (hex) of files by path, as far as they are known: these are not hashed again for `onEntry`. */
  readonly knownContent?: ReadonlyMap<string, string>
  /** Called with each file after its content was read. */
  readonly onRead?: (entry: LayerEntry, fd: number) => void
  /** Yield the same buffer again and again: for a consumer that is done with it when it asks for the next. */
  readonly reuseBuffer?: boolean
}

const bufferSize = 1 << 20

/** Collects bytes into buffers of `bufferSize`. */
interface Sink {
  buffer: Buffer
  used: number
}

/**
 * Packs the changes of one step as a layer tar.
 *
 * Entries come parents first, then bytewise by name; a deletion is an empty `.wh.<name>` file, an opaque directory
 * `.wh..wh..opq` (image-spec, layer.md). mtime is whole seconds, never later than `epoch`.
 *
 * @param upper absolute path of the overlay upper directory, or of all directories of the layer
 * @returns uncompressed tar bytes; their sha256 is the DiffID that `digestLayer` finds with the same options
 */
export function packLayer(upper: LayerUpper, options: PackOptions = {}): Readable {
  return Readable.from(tarBlocks(upper, options), { objectMode: false, highWaterMark: bufferSize })
}

/** The bytes of `packLayer` in buffers of at most 1 MiB. */
export function tarBlocks(upper: LayerUpper, options: TarBlockOptions = {}): Generator<Buffer, void, void> {
  return tarOfEntries(layerEntries(upper, options), options)
}

/** A tar of entries that come from anywhere, in their order. */
export function* tarOfEntries(entries: Iterable<LayerEntry>, options: TarBlockOptions = {}): Generator<Buffer, void, void> {
  const sink: Sink = { buffer: Buffer.allocUnsafe(bufferSize), used: 0 }
  const reuse = options.reuseBuffer ?? false
  for (const found of entries) {
    const entry = clamp(found, options.epoch)
    yield* put(sink, encodeHeader(entry), reuse)
    const content = entry.type === 'file' ? yield* putContent(sink, entry, options, reuse) : ''
    options.onEntry?.(entry, content)
  }
  yield* put(sink, Buffer.alloc(2 * blockSize), reuse)
  if (sink.used > 0) yield sink.buffer.subarray(0, sink.used)
}

function clamp(entry: LayerEntry, epoch: number | undefined): LayerEntry {
  return epoch === undefined || entry.mtime <= epoch ? entry : { ...entry, mtime: epoch }
}

function* put(sink: Sink, bytes: Buffer, reuse: boolean): Generator<Buffer, void, void> {
  for (let at = 0; at < bytes.length; ) {
    const count = bytes.copy(sink.buffer, sink.used, at)
    at += count
    sink.used += count
    if (sink.used === bufferSize) yield* flush(sink, reuse)
  }
}

function* flush(sink: Sink, reuse: boolean): Generator<Buffer, void, void> {
  yield sink.buffer
  if (!reuse) sink.buffer = Buffer.allocUnsafe(bufferSize)
  sink.used = 0
}

const emptyContent = createHash('sha256').digest('hex')

/** Reads a file straight into the buffer and pads it to whole blocks. Returns its sha256 where that is asked for. */
function* putContent(sink: Sink, entry: LayerEntry, options: TarBlockOptions, reuse: boolean): Generator<Buffer, string, void> {
  if (entry.size === 0) return emptyContent
  const known = options.knownContent?.get(entry.path)
  const hash = options.onEntry === undefined || known !== undefined ? undefined : createHash('sha256')
  const fd = openSync(fsPath(entry.hostPath), constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    for (let left = entry.size; left > 0; ) {
      left -= readSome(sink, fd, left, entry, hash)
      if (sink.used === bufferSize) yield* flush(sink, reuse)
    }
    options.onRead?.(entry, fd)
  } finally {
    closeSync(fd)
  }
  const padding = paddingOf(entry.size)
  if (padding > 0) yield* put(sink, zeros.subarray(0, padding), reuse)
  return known ?? hash?.digest('hex') ?? ''
}

const zeros = Buffer.alloc(blockSize)

function readSome(sink: Sink, fd: number, left: number, entry: LayerEntry, hash: Hash | undefined): number {
  const count = readSync(fd, sink.buffer, sink.used, Math.min(left, bufferSize - sink.used), null)
  if (count === 0) {
    throw new BuildError('LAYER_CHANGED', `"${entry.path}" became shorter while it was packed: ${entry.size} bytes expected`)
  }
  hash?.update(sink.buffer.subarray(sink.used, sink.used + count))
  sink.used += count
  return count
}
