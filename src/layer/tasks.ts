/** Work on layers as `src/worker.ts` offers it: plain data in, plain data out, file names for everything large. */
import { createHash, type Hash } from 'node:crypto'
import { closeSync, createReadStream, openSync, writeSync } from 'node:fs'
import type { Compression } from '../core/descriptor.js'
import { type DiffID, type Digest, diffIdFromHex, digestFromHex } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { hashing } from '../io/stream.js'
import { type AppliedLayer, type ApplyOptions, applyLayer } from './apply.js'
import { compress, decompress } from './compress.js'
import { digestLayer, type LayerDigest } from './digest.js'
import { type LayerUpper, squashEntries } from './squash.js'
import { layerStack } from './stack.js'
import { tarBlocks, tarOfEntries } from './tar.js'

/** For `digestLayerTask`. */
export interface DigestLayerTask {
  readonly upper: LayerUpper
  readonly epoch?: number
  /** The layers below, bottom first. */
  readonly hostLowers?: readonly string[]
  readonly knownContent?: ReadonlyMap<string, string>
}

/** `digestLayer` in a worker. */
export function digestLayerTask({ upper, hostLowers, ...options }: DigestLayerTask): LayerDigest {
  return digestLayer(upper, hostLowers === undefined ? options : { ...options, lowers: layerStack(hostLowers) })
}

/** For `squashLayerTask`. */
export interface SquashLayerTask {
  /** The layers to squash, bottom first. */
  readonly uppers: readonly string[]
  /** What lies below them, bottom first. */
  readonly hostLowers: readonly string[]
  /** The empty directory to fill. */
  readonly target: string
}

/** Writes several layers as one. */
export async function squashLayerTask({ uppers, hostLowers, target }: SquashLayerTask): Promise<LayerDigest> {
  const entries = squashEntries(uppers, hostLowers.length === 0 ? undefined : layerStack(hostLowers))
  await applyLayer(asyncBlocks(tarOfEntries(entries)), target, {}, new AbortController().signal)
  return digestLayer(target)
}

async function* asyncBlocks(blocks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  yield* blocks
}

/** For `applyLayerTask`. */
export interface ApplyLayerTask extends ApplyOptions {
  /** A blob or archive on this machine. */
  readonly path: string
  /** `archive`: whatever `openPeeked` knows. */
  readonly compression: Compression | 'detect' | 'archive'
  /** The empty directory to fill. */
  readonly target: string
  /** When given, the bytes of `path` must hash to it. */
  readonly digest?: Digest
  /** When given, the tar must hash to it. */
  readonly diffId?: DiffID
}

/** Unpacks a layer blob, verified. */
export async function applyLayerTask(task: ApplyLayerTask): Promise<AppliedLayer> {
  const file: AsyncIterable<Uint8Array> = createReadStream(task.path, { highWaterMark: 512 << 10 })
  let found: string | undefined
  const bytes =
    task.digest === undefined
      ? file
      : hashing(file, ({ hex }) => {
          found = digestFromHex(hex)
        })
  // Decompression may stop before the last bytes of the file: what is after the last member belongs to no layer.
  const applied = await applyLayer(await opened(bytes, task), task.target, task, new AbortController().signal)
  if (task.digest !== undefined && found !== task.digest) {
    throw new BuildError('STORE_DIGEST_MISMATCH', `blob ${task.digest} is damaged: its bytes have the digest ${found}`)
  }
  if (task.diffId !== undefined && applied.diffId !== task.diffId) {
    throw new BuildError(
      'STORE_DIGEST_MISMATCH',
      `the layer unpacks to ${applied.diffId}, the image config says ${task.diffId}`,
      {
        hint: 'the image is inconsistent: its layer and its config do not belong together',
      },
    )
  }
  return applied
}

/** A layer of an image is compressed as images may be; a file that a person names as tar(1) takes it. */
async function opened(bytes: AsyncIterable<Uint8Array>, task: ApplyLayerTask): Promise<AsyncIterable<Uint8Array>> {
  if (task.compression !== 'archive') return decompress(bytes, task.compression)
  const { openPeeked, peekArchive } = await import('./open-archive.js')
  return openPeeked(await peekArchive(bytes))
}

/** For `compressLayerTask`. */
export interface CompressLayerTask {
  /** The snapshot directory, or all directories of the layer. */
  readonly upper: LayerUpper
  readonly compression: Compression
  readonly level?: number
  readonly epoch?: number
  readonly hostLowers?: readonly string[]
  /** The file to write, from `Blobs.temporaryPath`. */
  readonly output: string
  /** What the tar must hash to: that the snapshot is still what it was. */
  readonly diffId?: DiffID
}

/** A compressed layer in its file. */
export interface CompressedLayer {
  readonly digest: Digest
  readonly size: number
  readonly diffId: DiffID
}

function* hashed(blocks: Iterable<Buffer>, hash: Hash): Generator<Buffer, void, void> {
  for (const block of blocks) {
    hash.update(block)
    yield block
  }
}

/** Packs and compresses a snapshot into a file, for `Blobs.adopt`. */
export async function compressLayerTask(task: CompressLayerTask): Promise<CompressedLayer> {
  const lowers = task.hostLowers === undefined ? {} : { lowers: layerStack(task.hostLowers) }
  const epoch = task.epoch === undefined ? {} : { epoch: task.epoch }
  const hash = createHash('sha256')
  const tarHash = createHash('sha256')
  let size = 0
  const tar = hashed(tarBlocks(task.upper, { ...lowers, ...epoch }), tarHash)
  const level = task.level === undefined ? {} : { level: task.level }
  const file = openSync(task.output, 'wx', 0o644)
  try {
    for await (const chunk of compress(tar, { compression: task.compression, ...level })) {
      hash.update(chunk)
      size += chunk.length
      for (let at = 0; at < chunk.length; ) at += writeSync(file, chunk, at)
    }
  } catch (error) {
    throw asStoreError(error, task.output)
  } finally {
    closeSync(file)
  }
  const diffId = diffIdFromHex(tarHash.digest('hex'))
  if (task.diffId !== undefined && diffId !== task.diffId) {
    throw new BuildError(
      'STORE_DIGEST_MISMATCH',
      `the snapshot ${task.upper} packs to ${diffId}, not to ${task.diffId} as it did before`,
      {
        hint: 'its files were changed from outside: run the build again with --no-cache',
      },
    )
  }
  return { digest: digestFromHex(hash.digest('hex')), size, diffId }
}
