/**
 * Content-defined chunking: cuts bytes where their content says so, so that a change moves the cuts near it and no others
 * (FastCDC, Xia et al. 2016: a gear hash with a stricter mask before the wished size and a laxer one after it).
 *
 * Where it cuts is part of the cache format: another table or other sizes make every chunk a new one.
 */
import { createHash } from 'node:crypto'

/** Sizes in bytes. */
export interface ChunkSizes {
  readonly least: number
  readonly wished: number
  readonly most: number
}

/** About a thousand chunks for a gigabyte: a registry takes that many blobs, and one changed file moves one or two. */
export const mountChunkSizes: ChunkSizes = { least: 256 << 10, wished: 1 << 20, most: 4 << 20 }
/** For places that count requests, or let only so many through in a minute. */
export const fewChunkSizes: ChunkSizes = { least: 2 << 20, wished: 8 << 20, most: 32 << 20 }
/** No place has larger chunks. */
export const largestChunkBytes = fewChunkSizes.most

/** Cuts a stream of bytes into chunks; each is a buffer of its own. The chunks of the sum do not depend on how the bytes come. */
export function* cutChunks(blocks: Iterable<Uint8Array>, sizes: ChunkSizes): Generator<Buffer, void, void> {
  const gear = gearTable()
  const bits = Math.round(Math.log2(sizes.wished))
  // The top bits of the hash are moved by the most bytes.
  const strict = maskOf(bits + 2)
  const lax = maskOf(bits - 2)
  let chunk = Buffer.allocUnsafe(sizes.most)
  let used = 0
  let hash = 0
  for (const block of blocks) {
    let from = 0
    for (let at = 0; at < block.length; at++) {
      const length = used + at - from + 1
      if (length <= sizes.least) continue
      hash = ((hash << 1) + (gear[block[at] ?? 0] ?? 0)) | 0
      const isCut = (hash & (length < sizes.wished ? strict : lax)) === 0
      if (!isCut && length < sizes.most) continue
      chunk.set(block.subarray(from, at + 1), used)
      yield chunk.subarray(0, length)
      chunk = Buffer.allocUnsafe(sizes.most)
      used = 0
      hash = 0
      from = at + 1
    }
    chunk.set(block.subarray(from), used)
    used += block.length - from
  }
  if (used > 0) yield chunk.subarray(0, used)
}

function maskOf(bits: number): number {
  return ((1 << bits) - 1) << (32 - bits)
}

/** 256 numbers that look random and are the same everywhere: the first four bytes of the sha256 of each byte. */
function gearTable(): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => createHash('sha256').update(Buffer.of(byte)).digest().readInt32LE(0))
}
