/** Work on layers as `src/worker.ts` offers it: plain data in, plain data out, file names for everything large. */
import { createReadStream } from 'node:fs'
import type { Compression } from '../core/descriptor.js'
import { type DiffID, type Digest, digestFromHex } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { hashing } from '../io/stream.js'
import { type AppliedLayer, type ApplyOptions, applyLayer } from './apply.js'
import { decompress } from './compress.js'
import { digestLayer, type LayerDigest } from './digest.js'
import { type LayerUpper, squashEntries } from './squash.js'
import { layerStack } from './stack.js'
import { tarOfEntries } from './tar.js'

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
