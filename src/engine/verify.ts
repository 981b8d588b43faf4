/**
 * Whether an image in the store is what it says: `mille inspect --verify`.
 *
 * Its config must have the digest that names it, each layer's files must pack to their DiffID, and each manifest whose layers are
 * here as blobs is validated as a whole. What is not here (layers that were never fetched or packed) cannot be wrong.
 */
import { createReadStream } from 'node:fs'
import { layerCompression, type Manifest } from '../core/descriptor.js'
import { type DiffID, digestOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { ImageConfig } from '../core/image.js'
import { type OpenBytes, validateImage, validateLayer } from '../exporter/validate.js'
import { digestLayer } from '../layer/digest.js'
import { layerFiles } from '../store/layer-files.js'
import type { Store, StoredImage } from '../store/types.js'

const configLimitBytes = 8 << 20

/** Verifies all of an image that is here. @throws BuildError IMAGE_INVALID with the first thing that is not as it is said to be */
export async function verifyStored(store: Store, image: StoredImage): Promise<void> {
  const open: OpenBytes = (digest) => createReadStream(store.blobs.pathOf(digest))
  await verifyConfig(store, image)
  for (const descriptor of image.manifests) {
    if (!store.blobs.has(descriptor.digest)) continue
    const bytes = await store.blobs.read(descriptor, configLimitBytes)
    const { layers } = JSON.parse(bytes.toString('utf8')) as Partial<Manifest>
    // The manifest of a pulled image names blobs that may never have been needed.
    if (layers?.every(({ digest }) => store.blobs.has(digest))) await validateImage(descriptor, open)
  }
  for (const diffId of new Set(image.diffIds)) await verifyLayer(store, diffId, open)
}

async function verifyConfig(store: Store, image: StoredImage): Promise<void> {
  const bytes = await store.blobs.read({ digest: image.id }, configLimitBytes)
  if (digestOf(bytes) !== image.id) throw invalid(`the config ${image.id} has the digest ${digestOf(bytes)}`)
  const { rootfs, history } = JSON.parse(bytes.toString('utf8')) as ImageConfig
  if (rootfs.diff_ids.join() !== image.diffIds.join()) throw invalid(`the config ${image.id} names other layers than the store`)
  const layers = history?.filter((entry) => entry.empty_layer !== true).length ?? rootfs.diff_ids.length
  if (layers !== rootfs.diff_ids.length) {
    throw invalid(`the history has ${layers} entries with a layer, the config ${rootfs.diff_ids.length} DiffIDs`)
  }
}

async function verifyLayer(store: Store, diffId: DiffID, open: OpenBytes): Promise<void> {
  const record = store.layers.find(diffId)
  if (record === undefined) throw invalid(`layer ${diffId} is not in the store`)
  for (const blob of record.blobs) {
    if (!store.blobs.has(blob.digest) || layerCompression(blob.mediaType) === undefined) continue
    const found = await validateLayer(blob, open)
    if (found !== diffId) throw invalid(`the blob ${blob.digest} unpacks to ${found}, not to the layer ${diffId}`)
  }
  // A layer that was pulled was packed by somebody else: its files say nothing of its DiffID.
  const upper = layerFiles(store, record)
  if (upper === undefined || record.contentId === undefined) return
  const { diffId: packed } = digestLayer(upper)
  if (packed !== diffId) throw invalid(`the files of layer ${diffId} pack to ${packed}: they were changed in the store`)
}

function invalid(message: string): BuildError {
  return new BuildError('IMAGE_INVALID', message, { hint: 'build or pull the image again' })
}
