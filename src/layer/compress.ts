/**
 * Compresses and decompresses layer blobs.
 *
 * Gzip is made of independent members of 1 MiB of input each (RFC 1952, 2.2), compressed in Node's thread pool at once and
 * put out in order: the bytes depend on the input and the level, never on how many cores there are. They do depend on the
 * zlib in Node, so a blob that was made is remembered rather than made again.
 */

import { availableParallelism } from 'node:os'
import { pipeline, Readable } from 'node:stream'
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { awaitedLater } from '../core/awaited.js'
import type { Compression } from '../core/descriptor.js'
import { BuildError, systemCode } from '../core/errors.js'
import { defaultLevel } from './compression.js'

/** How a blob is compressed. */
export interface CompressOptions {
  readonly compression: Compression
  /** Gzip 0–9, zstd 1–22. */
  readonly level?: number
}

const memberSize = 1 << 20
const smallMember = 64 << 10
const outputSize = 256 << 10
const gzipAsync = promisify(zlib.gzip) as (bytes: Uint8Array, options: zlib.ZlibOptions) => Promise<Buffer>

/** What zlib has since Node 22.15 and the types of Node 20 do not know. */
interface ZstdZlib {
  readonly zstdCompress: (bytes: Uint8Array, options: unknown, done: (error: Error | null, result: Buffer) => void) => void
  readonly createZstdDecompress: (options?: { chunkSize?: number }) => NodeJS.ReadWriteStream & Readable
  readonly constants: { readonly ZSTD_c_compressionLevel: number }
}

function zstd(): ZstdZlib {
  const candidate: unknown = zlib
  if ('zstdCompress' in zlib && 'createZstdDecompress' in zlib) return candidate as ZstdZlib
  throw new BuildError('LAYER_UNSUPPORTED', 'this Node has no zstd', { hint: 'use Node 22.15 or newer, or gzip' })
}

type Bytes = AsyncIterable<Uint8Array> | Iterable<Uint8Array>

/** Compresses bytes. The same input and level give the same output whatever the machine's cores and the input's chunks. */
export function compress(bytes: Bytes, options: CompressOptions): AsyncGenerator<Uint8Array, void, void> {
  if (options.compression === 'none') return passThrough(bytes)
  return inOrder(inMembers(bytes), memberCompressor(options), availableParallelism() + 1)
}

function memberCompressor({ compression, level }: CompressOptions): (member: Buffer) => Promise<Buffer> {
  if (compression === 'gzip') {
    return async (member) => {
      const all = { ...gzipOptions(member, level ?? defaultLevel(compression)), chunkSize: outputOf(member) }
      // A way to another thread and back takes longer than a small one.
      return member.length <= smallMember ? zlib.gzipSync(member, all) : gzipAsync(member, all)
    }
  }
  const { zstdCompress, constants } = zstd()
  const params = { params: { [constants.ZSTD_c_compressionLevel]: level ?? defaultLevel(compression) } }
  return (member) =>
    new Promise((resolve, reject) => {
      zstdCompress(member, params, (error, result) => (error === null ? resolve(result) : reject(error)))
    })
}

/**
 * How deflate gets the most of its time on this member, by three samples of it.
 *
 * Looking for repetitions is most of the work, and in vain in archives, pictures, numbers and anything encrypted: there it
 * is left out, and what nothing makes smaller is stored (1 ms for each MiB; zlib's usual way takes 25).
 */
function gzipOptions(member: Buffer, level: number): zlib.ZlibOptions {
  const usual = { level, memLevel: 9 }
  if (member.length < memberSize) return usual
  const places = [0.05, 0.5, 0.9].map((place) => Math.floor(place * memberSize))
  const sample = Buffer.concat(places.map((place) => member.subarray(place, place + sampleSize)))
  const sizeOf = (options: zlib.ZlibOptions): number => zlib.deflateRawSync(sample, options).length
  const coded = sizeOf(withoutMatches)
  if (sizeOf({ level: 1 }) < 0.98 * coded) return usual
  return coded > 0.99 * sample.length ? { level: 0 } : withoutMatches
}

/** Room for all that can come of a member: with less, zlib is called again for each piece (Node's own is 16 KiB). */
function outputOf(member: Buffer): number {
  return member.length + (member.length >> 8) + 4096
}

const sampleSize = 8 << 10
const withoutMatches = { level: 1, memLevel: 9, strategy: zlib.constants.Z_HUFFMAN_ONLY } as const

async function* passThrough(bytes: Bytes): AsyncGenerator<Uint8Array, void, void> {
  yield* bytes
}

/** Cuts bytes into buffers of exactly `memberSize`; the last is shorter. No input at all is one empty buffer. */
async function* inMembers(bytes: Bytes): AsyncGenerator<Buffer, void, void> {
  // Most layers are small: room for a whole member is made when it is needed.
  let member = Buffer.allocUnsafe(smallMember)
  let used = 0
  let count = 0
  for await (const chunk of bytes) {
    if (used === 0 && chunk.length === memberSize) {
      yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
      count++
      continue
    }
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + memberSize - used)
      if (used + part.length > member.length) member = Buffer.concat([member.subarray(0, used)], memberSize)
      member.set(part, used)
      used += part.length
      at += part.length
      if (used < memberSize) continue
      yield member
      count++
      member = Buffer.allocUnsafe(memberSize)
      used = 0
    }
  }
  if (used > 0 || count === 0) yield member.subarray(0, used)
}

/** Runs at most `limit` at once and yields the results in the order of the input. */
async function* inOrder(
  members: AsyncIterable<Buffer>,
  work: (member: Buffer) => Promise<Buffer>,
  limit: number,
): AsyncGenerator<Buffer, void, void> {
  const running: Promise<Buffer>[] = []
  try {
    for await (const member of members) {
      // Also when the consumer stops early: `finally` waits.
      running.push(awaitedLater(work(member)))
      const first = running.length >= limit ? running.shift() : undefined
      if (first !== undefined) yield await first
    }
    for (let first = running.shift(); first !== undefined; first = running.shift()) yield await first
  } finally {
    await Promise.allSettled(running)
  }
}

/** The compression that the first bytes of a blob show; `none` for anything that is neither gzip nor zstd. */
export function detectCompression(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip'
  return head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd ? 'zstd' : 'none'
}

/**
 * Decompresses a stream.
 *
 * @param compression `detect` looks at the first bytes
 * @throws BuildError LAYER_TRUNCATED, LAYER_BAD_TAR for damaged input, LAYER_UNSUPPORTED for zstd in an older Node
 */
export async function* decompress(
  bytes: AsyncIterable<Uint8Array>,
  compression: Compression | 'detect',
): AsyncGenerator<Uint8Array, void, void> {
  const { head, all } = await peek(bytes)
  const actual = compression === 'detect' ? detectCompression(head) : compression
  if (actual === 'none') {
    yield* all
    return
  }
  const options = { chunkSize: outputSize }
  const unzip = actual === 'gzip' ? zlib.createGunzip(options) : zstd().createZstdDecompress(options)
  // An error of the input reaches the consumer through `unzip`, which the pipeline destroys with it.
  pipeline(Readable.from(all, { objectMode: false, highWaterMark: outputSize }), unzip, () => undefined)
  try {
    yield* unzip as AsyncIterable<Buffer>
  } catch (error) {
    throw explainZlib(error, actual)
  }
}

/** The first chunk that has bytes, and all bytes including it. */
async function peek(
  bytes: AsyncIterable<Uint8Array>,
): Promise<{ readonly head: Uint8Array; readonly all: AsyncGenerator<Uint8Array, void, void> }> {
  const iterator = bytes[Symbol.asyncIterator]()
  let head = new Uint8Array(0)
  while (head.length < 4) {
    const next = await iterator.next()
    if (next.done) break
    head = head.length === 0 ? new Uint8Array(next.value) : new Uint8Array(Buffer.concat([head, next.value]))
  }
  return { head, all: rest(head, iterator) }
}

async function* rest(head: Uint8Array, iterator: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield head
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value
  } finally {
    await iterator.return?.()
  }
}

function explainZlib(error: unknown, compression: Compression): unknown {
  const code = systemCode(error)
  if (code === 'Z_BUF_ERROR' || code === 'ZSTD_error_srcSize_wrong') {
    return new BuildError('LAYER_TRUNCATED', `the ${compression} data ends too early`, {
      cause: error,
      hint: 'it was cut short: fetch or make it again',
    })
  }
  if (code?.startsWith('Z_') || code?.startsWith('ZSTD_')) {
    return new BuildError('LAYER_BAD_TAR', `the ${compression} data is damaged`, { cause: error })
  }
  return error
}
