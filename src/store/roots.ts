/** What of a store is needed: by images, by cache records, by processes that live. */
import { type DiffID, hexOf } from '../core/digest.js'
import { listImages } from './images.js'
import { isSavedLayer } from './layers.js'
import { listFolder, liveLeases } from './lock.js'
import { partsOfManifest } from './oci-index.js'
import { ReadCache } from './read-cache.js'
import { isStoredRecord } from './records.js'
import type { Session } from './session.js'
import type { LayerRecord, StoredImage, StoredRecord } from './types.js'
import { type Use, useOf } from './use.js'

/** A cache record in its file. */
export interface FoundRecord {
  readonly path: string
  readonly record: StoredRecord
  readonly use: Use
  /** Of the file, on the disk. */
  readonly size: number
}

/** Names of files in the folders of the store: what must stay. */
export interface Needed {
  /** Hex of config digests. */
  readonly images: ReadonlySet<string>
  /** Hex of DiffIDs. */
  readonly layers: ReadonlySet<string>
  readonly snapshots: ReadonlySet<string>
  readonly blobs: ReadonlySet<string>
}

/** All cache records; what cannot be read is not among them. */
export function listRecords(session: Session, cache: ReadCache): FoundRecord[] {
  const folder = session.layout.folder('records')
  return listFolder(folder).flatMap((part) =>
    listRecordFiles(`${folder}/${part}`).flatMap((file) => {
      const path = `${folder}/${part}/${file}`
      const found = cache.read(path, isStoredRecord)
      if (found === undefined) return []
      return [{ path, record: found.value, use: useOf(found.stats), size: found.stats.blocks * 512 }]
    }),
  )
}

/** Without those that are on their way to their names. */
function listRecordFiles(folder: string): string[] {
  return listFolder(folder).filter((file) => file.endsWith('.json'))
}

/** All layer records by the hex of their DiffID. */
export function listLayers(
  { layout }: Session,
  cache: ReadCache = new ReadCache(),
  folder: string = layout.folder('layers'),
): Map<string, LayerRecord> {
  const layers = new Map<string, LayerRecord>()
  for (const file of listRecordFiles(folder)) {
    const record = cache.read(`${folder}/${file}`, isSavedLayer)?.value
    if (record !== undefined) layers.set(hexOf(record.diffId), record)
  }
  return layers
}

/**
 * What is needed now.
 *
 * @param doomed images that are about to go: they count only if a name or a living process needs them
 */
export function findNeeded(
  session: Session,
  doomed: ReadonlySet<string>,
  records: readonly StoredRecord[],
  cache: ReadCache = new ReadCache(),
): Needed {
  const pins = findPins(session)
  const pinned = (kind: string): string[] =>
    [...pins].filter((pin) => pin.startsWith(`${kind}:`)).map((pin) => pin.slice(kind.length + 1))
  const images = listImages(session).filter((image) => !doomed.has(hexOf(image.id)))
  const layers = new Set(pinned('layer'))
  const snapshots = new Set(pinned('snapshot'))
  const blobs = new Set(pinned('blob'))
  const addLayers = (diffIds: readonly DiffID[]): void => {
    for (const diffId of diffIds) layers.add(hexOf(diffId))
  }
  for (const image of images) {
    addLayers(image.diffIds)
    for (const blob of blobsOfImage(session, image)) blobs.add(blob)
  }
  for (const record of records) addLayers(record.layers)
  // What a collection put aside a moment ago may turn out to be needed, and then so is what it is made of.
  const aside = listLayers(session, cache, `${session.layout.folder('condemned')}/layers`)
  const known = new Map([...aside, ...listLayers(session, cache)])
  // A set that grows is gone through to its end: a rewritten layer may lie over another one.
  for (const hex of layers) {
    const layer = known.get(hex)
    if (layer?.rewriteOf !== undefined) layers.add(hexOf(layer.rewriteOf.diffId))
    if (layer?.over !== undefined) layers.add(hexOf(layer.over))
  }
  for (const [hex, layer] of known) {
    if (!layers.has(hex)) continue
    if (layer.snapshot !== undefined) snapshots.add(layer.snapshot)
    for (const blob of layer.blobs) blobs.add(hexOf(blob.digest))
    for (const { blob } of layer.claims ?? []) blobs.add(hexOf(blob.digest))
  }
  return { images: new Set(images.map((image) => hexOf(image.id))), layers, snapshots, blobs }
}

/** What living processes rely on, this one too. */
export function findPins(session: Session): ReadonlySet<string> {
  const pins = new Set(liveLeases(session.layout, session.leaseName()).flatMap((lease) => [...lease.pins]))
  for (const pin of session.pins()) pins.add(pin)
  return pins
}

/** All blobs that an image needs: config, manifests and what they name, attestations. As hex. */
export function blobsOfImage(session: Session, image: StoredImage): Set<string> {
  const blobs = new Set([hexOf(image.id)])
  for (const { predicate } of image.attestations?.items ?? []) blobs.add(hexOf(predicate.digest))
  for (const manifest of image.manifests) {
    blobs.add(hexOf(manifest.digest))
    for (const part of partsOfManifest(session, manifest) ?? []) blobs.add(hexOf(part.digest))
  }
  return blobs
}
