/** Images that are in the store, as what exporters take: the exact config, and the manifest they came with. */
import type { PendingAttestation } from '../attest/pending.js'
import { isManifestMediaType, type Manifest } from '../core/descriptor.js'
import { type AssembledImage, imageOf } from '../exporter/assemble.js'
import type { DescribedImage } from '../exporter/manifest.js'
import type { StoredImage } from '../store/types.js'
import type { Engine } from './engine.js'
import { readConfig } from './images.js'
import type { EngineLayers } from './layers.js'
import { describeWithBlobs } from './outputs.js'

/** An image of the store with its exact config. */
export async function loadStored(image: StoredImage, engine: Engine): Promise<AssembledImage> {
  const config = await readConfig(image.id, engine)
  const rawConfig = (await engine.store.blobs.read({ digest: image.id }, 8 << 20)).toString('utf8')
  return { ...imageOf(config, rawConfig), id: image.id, platform: image.platform }
}

/**
 * The manifest that an image was pulled or pushed with, where all its layers can still be had. So an image keeps its digest
 * on its way through the store.
 */
export async function originalManifest(
  image: StoredImage,
  progressId: string,
  { store, ctx }: Engine,
  layers: EngineLayers,
): Promise<DescribedImage | undefined> {
  // Another image may share the config and name other blobs: only what was unpacked here is known to be its layers.
  const claimed = image.diffIds.filter((diffId) => store.layers.find(diffId)?.claims !== undefined)
  await layers.unpack(claimed, progressId, ctx)
  for (const descriptor of [...image.manifests].reverse()) {
    if (!isManifestMediaType(descriptor.mediaType) || !store.blobs.has(descriptor.digest)) continue
    const rawManifest = (await store.blobs.read(descriptor)).toString('utf8')
    const manifest = JSON.parse(rawManifest) as Manifest
    const known = manifest.layers.every((layer, i) => {
      const diffId = image.diffIds[i]
      const record = diffId === undefined ? undefined : store.layers.find(diffId)
      const isVerified = record?.blobs.some(({ digest }) => digest === layer.digest) === true
      return isVerified && (store.blobs.has(layer.digest) || record.sources.length > 0)
    })
    if (known && manifest.config.digest === image.id) return { manifest, rawManifest, descriptor }
  }
  return undefined
}

/** What is said about an image of the store; most have nothing. */
export async function attestationsOf(image: StoredImage, engine: Engine): Promise<PendingAttestation[]> {
  if (image.attestations === undefined) return []
  const { storedAttestations } = await import('./attested.js')
  return storedAttestations(image, engine)
}

/** Where the attestations of images that go together are kept. */
export function storageOf(images: readonly StoredImage[]): 'index' | 'referrers' {
  return images.find(({ attestations }) => attestations !== undefined)?.attestations?.storage ?? 'index'
}

/** The image's own manifest with the bytes of all layers here, else a new one. */
export async function describeStored(
  stored: StoredImage,
  image: AssembledImage,
  progressId: string,
  engine: Engine,
  layers: EngineLayers,
): Promise<DescribedImage> {
  const original = await originalManifest(stored, progressId, engine, layers)
  if (original === undefined) {
    const options = { choice: { compression: 'gzip', force: false }, format: 'oci', annotations: {} } as const
    return describeWithBlobs(image, options, progressId, engine, layers)
  }
  for (const [i, blob] of original.manifest.layers.entries()) {
    const diffId = stored.diffIds[i]
    const record = diffId === undefined ? undefined : engine.store.layers.find(diffId)
    if (record !== undefined) await layers.bringBlob(record, blob, progressId, engine.ctx)
  }
  return original
}
