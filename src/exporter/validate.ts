/**
 * Recomputes everything that an image says of itself: sizes and digests of its blobs, DiffIDs of its layers, the number of
 * layers in config and history. Used by tests on every image they make, and by `inspect --verify`.
 */
import { createHash } from 'node:crypto'
import { type Descriptor, layerCompression, type Manifest } from '../core/descriptor.js'
import { type ChainID, chainIdOf, type DiffID, type Digest, diffIdFromHex, digestFromHex } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { ImageConfig } from '../core/image.js'
import { collect, hashing, limited } from '../io/stream.js'
import { decompress } from '../layer/compress.js'

/** Opens a blob's bytes as they are, unverified. */
export type OpenBytes = (digest: Digest) => AsyncIterable<Uint8Array>

/** An image in which all was found true. */
export interface ValidImage {
  readonly manifest: Manifest
  readonly config: ImageConfig
  readonly diffIds: readonly DiffID[]
  /** Undefined for an image without layers. */
  readonly chainId: ChainID | undefined
}

const jsonLimitBytes = 8 << 20

/**
 * Validates the image that `descriptor` points at.
 *
 * @throws BuildError IMAGE_INVALID with the first thing that is not as it is said to be
 */
export async function validateImage(descriptor: Descriptor, open: OpenBytes): Promise<ValidImage> {
  const manifest = (await readJson(descriptor, open, 'manifest')) as Manifest
  if (manifest.schemaVersion !== 2 || !Array.isArray(manifest.layers)) throw invalid(`${descriptor.digest} is no image manifest`)
  const config = (await readJson(manifest.config, open, 'config')) as ImageConfig
  const said = config.rootfs?.diff_ids ?? []
  if (said.length !== manifest.layers.length) {
    throw invalid(`the manifest has ${manifest.layers.length} layers, the config ${said.length} DiffIDs`)
  }
  for (const [i, layer] of manifest.layers.entries()) {
    const found = await validateLayer(layer, open)
    if (found !== said[i]) throw invalid(`layer ${i + 1} unpacks to ${found}, the config says ${said[i]}`)
  }
  checkHistory(config)
  return { manifest, config, diffIds: said, chainId: chainIdOf(said) }
}

function checkHistory({ history, rootfs }: ImageConfig): void {
  if (history === undefined) return
  const layers = history.filter((entry) => entry.empty_layer !== true).length
  if (layers !== rootfs.diff_ids.length) {
    throw invalid(`the history has ${layers} entries with a layer, the config ${rootfs.diff_ids.length} DiffIDs`)
  }
}

async function readJson(blob: Descriptor, open: OpenBytes, what: string): Promise<unknown> {
  const bytes = await collect(limited(verified(blob, open, what), jsonLimitBytes, 'IMAGE_INVALID', `the ${what}`))
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw new BuildError('IMAGE_INVALID', `the ${what} ${blob.digest} is not JSON`, { cause: error })
  }
}

/** Checks the bytes of a layer's blob and finds its DiffID: both are hashed in one pass. @throws BuildError IMAGE_INVALID */
export async function validateLayer(layer: Descriptor, open: OpenBytes): Promise<DiffID> {
  const compression = layerCompression(layer.mediaType)
  if (compression === undefined) throw invalid(`${layer.mediaType} is no media type of a layer`)
  const hash = createHash('sha256')
  const stored = verified(layer, open, 'layer')
  for await (const chunk of decompress(stored, compression)) hash.update(chunk)
  // What lies after the last member is part of the blob all the same.
  for await (const _ of stored);
  return diffIdFromHex(hash.digest('hex'))
}

async function* verified({ digest, size }: Descriptor, open: OpenBytes, what: string): AsyncGenerator<Uint8Array, void, void> {
  let found: { readonly hex: string; readonly size: number } | undefined
  yield* hashing(open(digest), (end) => {
    found = end
  })
  if (found?.size !== size) throw invalid(`the ${what} ${digest} has ${found?.size} bytes, its descriptor says ${size}`)
  if (digestFromHex(found.hex) !== digest) throw invalid(`the ${what} ${digest} has the digest sha256:${found.hex}`)
}

function invalid(message: string): BuildError {
  return new BuildError('IMAGE_INVALID', message, { hint: 'build or pull the image again' })
}
