/** What of a store is needed: by images, by cache records, by processes that live. */
import { statSync } from 'node:fs'
import { type DiffID, hexOf } from '../core/digest.js'
import { imagesOfTag, listImages, listTags } from './images.js'
import { isSavedLayer } from './layers.js'
import { listFolder, liveLeases } from './lock.js'
import { partsOfManifest } from './oci-index.js'
import { readRecord } from './record-file.js'
import { isStoredRecord } from './records.js'
import type { Session } from './session.js'
import type { LayerRecord, StoredImage, StoredRecord } from './types.js'

/** A cache record in its file. */
export interface FoundRecord {
  readonly path: string
  readonly record: StoredRecord
  /** ms since 1970: the later of making and finding it. */
  readonly lastUsedAt: number
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
export function listRecords(session: Session): FoundRecord[] {
  const folder = session.layout.folder('records')
  return listFolder(folder).flatMap((part) =>
    listRecordFiles(`${folder}/${part}`).flatMap((file) => {
      const path = `${folder}/${part}/${file}`
      const record = readRecord(path, isStoredRecord)
      const stats = statSync(path, { throwIfNoEntry: false })
      return record === undefined || stats === undefined ? [] : [{ path, record, lastUsedAt: stats.mtimeMs }]
    }),
  )
}

/** Without those that are on their way to their names. */
function listRecordFiles(folder: string): string[] {
  return listFolder(folder).filter((file) => file.endsWith('.json'))
}

/** All layer records by the hex of their DiffID. */
export function listLayers({ layout }: Session, folder: string = layout.folder('layers')): Map<string, LayerRecord> {
  const layers = new Map<string, LayerRecord>()
  for (const file of listRecordFiles(folder)) {
    const record = readRecord(`${folder}/${file}`, isSavedLayer)
    if (record !== undefined) layers.set(hexOf(record.diffId), record)
  }
  return layers
}

/** Images that no name points to. */
export function danglingImages(session: Session): StoredImage[] {
  const named = new Set(listTags(session).flatMap(imagesOfTag))
  return listImages(session).filter((image) => !named.has(image.id))
}

/**
 * What is needed now.
 *
 * @param doomed images that are about to go: they count only if a name or a living process needs them
 */
export function findNeeded(session: Session, doomed: ReadonlySet<string>, records: readonly StoredRecord[]): Needed {
  const pins = new Set(liveLeases(session.layout, session.leaseName()).flatMap((lease) => [...lease.pins]))
  for (const pin of session.pins()) pins.add(pin)
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
    addBlobsOf(session, image, blobs)
  }
  for (const record of records) addLayers(record.layers)
  // What a collection put aside a moment ago may turn out to be needed, and then so is what it is made of.
  const known = new Map([...listLayers(session, `${session.layout.folder('condemned')}/layers`), ...listLayers(session)])
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

function addBlobsOf(session: Session, image: StoredImage, blobs: Set<string>): void {
  blobs.add(hexOf(image.id))
  for (const { predicate } of image.attestations?.items ?? []) blobs.add(hexOf(predicate.digest))
  for (const manifest of image.manifests) {
    blobs.add(hexOf(manifest.digest))
    for (const part of partsOfManifest(session, manifest) ?? []) blobs.add(hexOf(part.digest))
  }
}
