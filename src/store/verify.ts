/**
 * Looks at all of a store and says what is wrong with it: blobs whose bytes changed, snapshots that lack files, images
 * that lack parts. Changes nothing but what reading a damaged blob does: it is moved aside.
 */
import { existsSync } from 'node:fs'
import { type Digest, digestFromHex, hexOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { decodePath } from '../core/path-bytes.js'
import { readBytesIfExists } from '../io/fs.js'
import { layerFiles } from './layer-files.js'
import { listFolder } from './lock.js'
import { matchesList } from './matches-list.js'
import { partsOfManifest } from './oci-index.js'
import { listLayers } from './roots.js'
import type { OpenedStore } from './store.js'
import type { LayerRecord, StoredImage } from './types.js'

/** One thing that is wrong. */
export interface StoreProblem {
  readonly kind: 'blob' | 'layer' | 'image'
  /** A digest. */
  readonly name: string
  /** A sentence. */
  readonly message: string
}

/** What `verifyStore` cannot do itself. */
export interface VerifyOptions {
  /** Digests the directories of a layer anew (`digestLayerTask` in a worker). Without it only names and sizes are compared. */
  readonly digestLayer?: (directories: readonly string[]) => Promise<{ readonly contentId: Digest }>
}

/** All problems of a store; an empty list means that it is sound. */
export async function verifyStore(store: OpenedStore, options: VerifyOptions, signal: AbortSignal): Promise<StoreProblem[]> {
  const problems: StoreProblem[] = []
  for (const hex of listFolder(store.session.layout.folder('blobs/sha256'))) {
    signal.throwIfAborted()
    if (/^[0-9a-f]{64}$/.test(hex)) problems.push(...(await verifyBlob(store, digestFromHex(hex))))
  }
  for (const layer of listLayers(store.session).values()) {
    signal.throwIfAborted()
    problems.push(...(await verifyLayer(store, layer, options)))
  }
  for (const image of store.images.list()) problems.push(...verifyImage(store, image))
  return problems
}

async function verifyBlob(store: OpenedStore, digest: Digest): Promise<StoreProblem[]> {
  try {
    for await (const _ of store.blobs.open({ digest }));
    return []
  } catch (error) {
    if (!(error instanceof BuildError)) throw error
    return [{ kind: 'blob', name: digest, message: error.message }]
  }
}

async function verifyLayer(store: OpenedStore, layer: LayerRecord, { digestLayer }: VerifyOptions): Promise<StoreProblem[]> {
  const { diffId, snapshot, contentId } = layer
  if (snapshot === undefined) return []
  const problem = (message: string): StoreProblem[] => [{ kind: 'layer', name: diffId, message }]
  const path = store.snapshots.pathOf(snapshot)
  if (!existsSync(path)) return problem(`its directory ${path} is missing`)
  const entries = readBytesIfExists(store.session.layout.entries(snapshot))
  if (entries !== undefined && !matchesList(path, decodePath(entries))) {
    return problem(`files in ${path} are missing or have another size`)
  }
  if (digestLayer === undefined || contentId === undefined) return []
  const files = layerFiles(store, layer)
  if (files === undefined) return problem('files of the layer that it lies over are missing')
  const found = await digestLayer(files)
  return found.contentId === contentId ? [] : problem(`files in ${path} were changed`)
}

/** What an image lacks: its config, layers, or parts of the manifests that say how to ship it. */
export function verifyImage(store: OpenedStore, image: StoredImage): StoreProblem[] {
  const problem = (message: string): StoreProblem => ({ kind: 'image', name: image.id, message })
  const problems: StoreProblem[] = []
  if (!store.blobs.has(image.id)) problems.push(problem('its config is missing'))
  for (const diffId of image.diffIds)
    if (!store.layers.arePresent([diffId])) problems.push(problem(`its layer ${diffId} is missing`))
  for (const manifest of image.manifests) {
    const parts = store.blobs.has(manifest.digest) ? partsOfManifest(store.session, manifest) : []
    if (parts === undefined) problems.push(problem(`its manifest ${manifest.digest} cannot be read`))
    else if (parts[0] !== undefined && hexOf(parts[0].digest) !== hexOf(image.id)) {
      problems.push(problem(`its manifest ${manifest.digest} is of another image`))
    }
  }
  return problems
}
