/**
 * What is known of layers, one file for each DiffID.
 *
 * A record is believed when what it names is there. One from an earlier boot of the machine is compared with the files of
 * its snapshot first: a snapshot is not fsynced, and a power cut may have left it without its last files.
 */
import { existsSync, rmSync } from 'node:fs'
import type { Descriptor } from '../core/descriptor.js'
import { type DiffID, hexOf, isContentDigest, isDigest, parseDiffId } from '../core/digest.js'
import { decodePath } from '../core/path-bytes.js'
import { asStoreError } from '../io/disk-error.js'
import { readBytesIfExists } from '../io/fs.js'
import { hasWholeSnapshot } from './layer-files.js'
import { listFolder, withLock } from './lock.js'
import { matchesList } from './matches-list.js'
import { isObject, isTextList, readRecord, removeRecord, writeRecord } from './record-file.js'
import type { Session } from './session.js'
import type { LayerClaim, LayerRecord, LayerRewrite, Layers } from './types.js'

/** A layer record as it is on disk. */
export interface SavedLayer extends LayerRecord {
  /** The boot in which its snapshot was last known to be whole. */
  readonly bootId: string
}

/** Layers with what only the store itself asks of them. */
export interface OpenedLayers extends Layers {
  /** Everything is looked for anew. */
  forgetFound(): void
}

/** The layers of a store. What was found once is not looked for again, except by `arePresent`. */
export function openLayers(session: Session): OpenedLayers {
  const known = new Map<DiffID, LayerRecord>()
  let sizes: ReadonlyMap<number, readonly DiffID[]> | undefined
  return {
    find(diffId) {
      const earlier = known.get(diffId)
      if (earlier !== undefined) return earlier
      session.pin(`layer:${hexOf(diffId)}`)
      const found = loadPinned(session, diffId)
      if (found === undefined) session.unpin(`layer:${hexOf(diffId)}`)
      else known.set(diffId, found)
      return found
    },
    refresh(diffId) {
      session.pin(`layer:${hexOf(diffId)}`)
      known.delete(diffId)
      return this.find(diffId)
    },
    save(record) {
      session.pin(`layer:${hexOf(record.diffId)}`)
      const inForce = withLock(session.layout, 'layers', () => merge(session, record))
      known.set(record.diffId, inForce)
      return inForce
    },
    ofSize(size) {
      sizes ??= sizesOf(session)
      return sizes.get(size) ?? []
    },
    forgetFound() {
      known.clear()
      sizes = undefined
    },
    arePresent(diffIds) {
      session.pin(...diffIds.map((diffId) => `layer:${hexOf(diffId)}` as const))
      const missing = diffIds.filter((diffId) => load(session, diffId) === undefined)
      for (const diffId of missing) {
        known.delete(diffId)
        session.unpin(`layer:${hexOf(diffId)}`)
      }
      return missing.length === 0
    },
    forget(diffId) {
      withLock(session.layout, 'layers', () => {
        if (load(session, diffId)?.snapshot === undefined) removeRecord(session.layout.layer(diffId))
      })
      known.delete(diffId)
      session.unpin(`layer:${hexOf(diffId)}`)
    },
  }
}

/** The record; where its files lie over those of another layer, that one is claimed too and looked at after that. */
function loadPinned(session: Session, diffId: DiffID): LayerRecord | undefined {
  const found = load(session, diffId)
  if (found?.over === undefined) return found
  session.pin(`layer:${hexOf(found.over)}`)
  return load(session, diffId)
}

/** The layers that have files, by their bytes. */
function sizesOf({ layout }: Session): ReadonlyMap<number, readonly DiffID[]> {
  const sizes = new Map<number, DiffID[]>()
  for (const name of listFolder(layout.folder('layers'))) {
    const saved = readRecord(`${layout.folder('layers')}/${name}`, isSavedLayer)
    if (saved?.snapshot === undefined) continue
    const same = sizes.get(saved.size)
    if (same === undefined) sizes.set(saved.size, [saved.diffId])
    else same.push(saved.diffId)
  }
  return sizes
}

/** The record on disk with what of it is really there, or undefined when nothing is. */
function load(session: Session, diffId: DiffID): LayerRecord | undefined {
  const path = session.layout.layer(diffId)
  const saved = readRecord(path, isSavedLayer)
  if (saved === undefined || saved.diffId !== diffId) return undefined
  const { bootId, snapshot, over, ...rest } = saved
  const isComplete = over === undefined || hasWholeSnapshot(load(session, over))
  if (snapshot !== undefined && isComplete && isWhole(session, snapshot, bootId)) {
    if (bootId !== session.bootId) writeRecord(path, { ...saved, bootId: session.bootId })
    return { ...rest, snapshot, ...(over === undefined ? {} : { over }) }
  }
  if (rest.rewriteOf !== undefined && load(session, rest.rewriteOf.diffId)?.snapshot !== undefined) return rest
  const isReachable = rest.sources.length > 0 || rest.blobs.some(({ digest }) => existsSync(session.layout.blob(digest)))
  return (isReachable && rest.blobs.length > 0) || (rest.claims ?? []).length > 0 ? rest : undefined
}

/** True when a snapshot has all its files. In the boot that made it, being there is enough: it came by rename. */
function isWhole(session: Session, snapshot: string, bootId: string): boolean {
  const directory = session.layout.snapshot(snapshot)
  if (!existsSync(directory)) return false
  if (bootId === session.bootId) return true
  const entries = readBytesIfExists(session.layout.entries(snapshot))
  return entries !== undefined && matchesList(directory, decodePath(entries))
}

function merge(session: Session, record: LayerRecord): LayerRecord {
  const existing = load(session, record.diffId)
  const { snapshot, over } = existing?.snapshot === undefined ? record : existing
  const contentId = record.contentId ?? existing?.contentId
  const sameFilesAs = existing?.sameFilesAs ?? record.sameFilesAs
  const rewriteOf = record.rewriteOf ?? existing?.rewriteOf
  // Files that are here need nobody's word any more.
  const claims =
    snapshot !== undefined ? [] : unite([...(existing?.claims ?? []), ...(record.claims ?? [])], (claim) => JSON.stringify(claim))
  const merged: LayerRecord = {
    diffId: record.diffId,
    size: existing?.snapshot === undefined ? record.size : existing.size,
    blobs: unite([...(existing?.blobs ?? []), ...record.blobs], (blob) => blob.digest),
    sources: unite([...(existing?.sources ?? []), ...record.sources], (source) => source),
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(snapshot === undefined || over === undefined ? {} : { over }),
    ...(contentId === undefined ? {} : { contentId }),
    ...(sameFilesAs === undefined ? {} : { sameFilesAs }),
    ...(claims.length === 0 ? {} : { claims }),
    ...(rewriteOf === undefined ? {} : { rewriteOf }),
  }
  const saved: SavedLayer = { ...merged, bootId: session.bootId }
  if (JSON.stringify(existing) !== JSON.stringify(merged)) writeRecord(session.layout.layer(record.diffId), saved)
  if (record.snapshot !== undefined && snapshot !== record.snapshot) dropSnapshot(session, record.snapshot)
  else if (record.snapshot !== undefined && existing?.snapshot === undefined) session.added(record.size)
  return merged
}

/** Removes a snapshot that another process's, made at the same time, stands in for. */
function dropSnapshot(session: Session, id: string): void {
  try {
    rmSync(session.layout.entries(id), { force: true })
  } catch (error) {
    throw asStoreError(error, session.layout.entries(id))
  }
  session.discard(session.layout.snapshot(id))
}

function unite<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [keyOf(item), item])).values()]
}

/** True for a value of the form of a layer record. */
export function isSavedLayer(value: unknown): value is SavedLayer {
  if (!isObject(value)) return false
  const { diffId, snapshot, over, contentId, sameFilesAs, size, blobs, sources, claims, rewriteOf, bootId } = value
  return (
    typeof diffId === 'string' &&
    parseDiffId(diffId) !== undefined &&
    (snapshot === undefined || typeof snapshot === 'string') &&
    (over === undefined || (typeof over === 'string' && parseDiffId(over) !== undefined)) &&
    (contentId === undefined || (typeof contentId === 'string' && isDigest(contentId))) &&
    (sameFilesAs === undefined || (typeof sameFilesAs === 'string' && isDigest(sameFilesAs))) &&
    typeof size === 'number' &&
    Array.isArray(blobs) &&
    blobs.every(isDescriptor) &&
    isTextList(sources) &&
    (claims === undefined || (Array.isArray(claims) && claims.every(isClaim))) &&
    (rewriteOf === undefined || isRewrite(rewriteOf)) &&
    typeof bootId === 'string'
  )
}

function isRewrite(value: unknown): value is LayerRewrite {
  if (!isObject(value) || typeof value.diffId !== 'string') return false
  return parseDiffId(value.diffId) !== undefined && typeof value.epoch === 'number'
}

function isClaim(value: unknown): value is LayerClaim {
  return isObject(value) && typeof value.source === 'string' && describes(value.blob, isContentDigest)
}

/** True for a value with the members that every descriptor has, of something that can be in the store: named by its sha256. */
export function isDescriptor(value: unknown): value is Descriptor {
  return describes(value, isDigest)
}

function describes(value: unknown, isName: (text: string) => boolean): value is Descriptor {
  if (!isObject(value)) return false
  const { mediaType, digest, size } = value
  return typeof mediaType === 'string' && typeof digest === 'string' && isName(digest) && typeof size === 'number'
}
