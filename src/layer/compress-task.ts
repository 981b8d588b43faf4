/** Packs a layer's files and compresses them: in a thread into a file, or a small one at once in memory. */
import { createHash, type Hash } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import type { Compression } from '../core/descriptor.js'
import { type DiffID, type Digest, diffIdFromHex, digestFromHex } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { compress } from './compress.js'
import type { LayerUpper } from './squash.js'
import { layerStack } from './stack.js'
import { tarBlocks } from './tar.js'

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
  const file = openSync(task.output, 'wx', 0o644)
  try {
    return await compressInto(task, (chunk) => {
      for (let at = 0; at < chunk.length; ) at += writeSync(file, chunk, at)
    })
  } catch (error) {
    throw asStoreError(error, task.output)
  } finally {
    closeSync(file)
  }
}

/** The same for a small layer, in memory. */
export async function compressSmallLayer(
  task: Omit<CompressLayerTask, 'output'>,
): Promise<CompressedLayer & { readonly bytes: Buffer }> {
  const chunks: Uint8Array[] = []
  const made = await compressInto(task, (chunk) => chunks.push(chunk))
  return { ...made, bytes: Buffer.concat(chunks) }
}

async function compressInto(
  task: Omit<CompressLayerTask, 'output'>,
  write: (chunk: Uint8Array) => void,
): Promise<CompressedLayer> {
  const lowers = task.hostLowers === undefined ? {} : { lowers: layerStack(task.hostLowers) }
  const epoch = task.epoch === undefined ? {} : { epoch: task.epoch }
  const hash = createHash('sha256')
  const tarHash = createHash('sha256')
  let size = 0
  const tar = hashed(tarBlocks(task.upper, { ...lowers, ...epoch }), tarHash)
  const level = task.level === undefined ? {} : { level: task.level }
  for await (const chunk of compress(tar, { compression: task.compression, ...level })) {
    hash.update(chunk)
    size += chunk.length
    write(chunk)
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
