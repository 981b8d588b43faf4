/** The files of a cache mount as compressed chunks, made in a worker thread; what is known by its digest is left out. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type Digest, digestFromHex, digestOf, hexOf } from '../core/digest.js'
import { tarBlocks } from '../layer/tar.js'
import { type ChunkSizes, cutChunks } from './chunker.js'

/** For `chunkMountTask`. */
export interface ChunkMountTask {
  /** The directory of the mount. */
  readonly path: string
  readonly sizes: ChunkSizes
  /** An empty directory for the files of new chunks; each is named by its blob's digest. */
  readonly output: string
  /** Chunks that need no file. */
  readonly known: ReadonlySet<Digest>
}

/** A chunk. `blob` is there where a file was made. */
export interface CutChunk {
  readonly raw: Digest
  readonly blob?: { readonly digest: Digest; readonly size: number }
}

/** Times of cache files are mostly not looked at twice: the fastest level halves the wait for 5 % more bytes. */
const level = 1

/** Packs a directory as a tar and cuts it. */
export function chunkMountTask({ path, sizes, output, known }: ChunkMountTask): CutChunk[] {
  const made = new Map<Digest, CutChunk>()
  const chunks: CutChunk[] = []
  for (const chunk of cutChunks(tarBlocks(path, { reuseBuffer: true }), sizes)) {
    const raw = digestFromHex(createHash('sha256').update(chunk).digest('hex'))
    const cut = made.get(raw) ?? (known.has(raw) ? { raw } : writeChunk(raw, chunk, output))
    made.set(raw, cut)
    chunks.push(cut)
  }
  return chunks
}

function writeChunk(raw: Digest, chunk: Buffer, output: string): CutChunk {
  const bytes = gzipSync(chunk, { level })
  const digest = digestOf(bytes)
  writeFileSync(join(output, hexOf(digest)), bytes)
  return { raw, blob: { digest, size: bytes.length } }
}
