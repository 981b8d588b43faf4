/**
 * What a cache holds beside blobs: records of steps, the layers they name, cache mounts. `docs/cache-format.md` has the
 * format on the wire. Pure: texts to values and back, and the union of what several builds know.
 *
 * Everything that is read came from outside. What does not fit is left out and counted; nothing here throws for it.
 */

import { canonicalJson } from '../core/canonical.js'
import type { Descriptor } from '../core/descriptor.js'
import { type DiffID, type Digest, isDigest, parseDiffId } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { isDescriptor } from '../store/layers.js'
import { isObject, isTextList } from '../store/record-file.js'
import { isStoredRecord } from '../store/records.js'
import type { StoredRecord } from '../store/types.js'

/** The artifactType of a cache's manifest. */
export const cacheArtifactType = 'application/vnd.mille.cache.v1'
/** The media type of its config: the records. */
export const cacheConfigType = 'application/vnd.mille.cache.config.v1+json'
/** The version that this code writes and reads. */
const documentVersion = 1

/** Records that no build used for this long are left out when a cache is written again. */
const keptForMs = 30 * 86_400_000
/** Parts of keys only explain a miss; a record with more of them than this goes without. */
const longestComponents = 16_384
/** Far above what years of builds come to, and small enough for every registry's limit of a manifest. */
const mostLayers = 5_000

/** A layer that records name. */
export interface CacheLayer {
  readonly diffId: DiffID
  /** The blob that has it; absent for layers of base images, which come with their image. */
  readonly blob?: Descriptor
  readonly contentId?: Digest
  /** Bytes of its files. */
  readonly size: number
}

/** A record and when a build last used it, ms since 1970. */
export interface CacheEntry {
  readonly record: StoredRecord
  readonly usedAt: number
}

/** A piece of a cache mount's tar. */
export interface MountChunk {
  /** Of its bytes: what is known is neither compressed nor sent again. */
  readonly raw: Digest
  /** The same, gzip. */
  readonly blob: Descriptor
}

/** The files of a cache mount: a tar in pieces. */
export interface CachedMount {
  /** Names the mount: see `cacheIdentity` in ops/cache-mounts.ts. */
  readonly key: string
  /** As the Dockerfile calls it. */
  readonly id: string
  /** The pieces of the tar in their order. */
  readonly chunks: readonly MountChunk[]
  /** When it was saved, ms since 1970: of two the later one counts. */
  readonly savedAt: number
}

/** A cache. */
export interface CacheDocument {
  readonly layers: ReadonlyMap<DiffID, CacheLayer>
  readonly entries: ReadonlyMap<Digest, CacheEntry>
  readonly mounts: ReadonlyMap<string, CachedMount>
}

/** A cache with nothing in it. */
export const emptyDocument: CacheDocument = { layers: new Map(), entries: new Map(), mounts: new Map() }

/** The text of a cache: the same for the same content, whoever writes it. */
export function printDocument(document: CacheDocument): string {
  const layers = [...document.layers.values()].sort((a, b) => (a.diffId < b.diffId ? -1 : 1))
  const numbers = new Map(layers.map(({ diffId }, i) => [diffId, i]))
  const records = [...document.entries.values()]
    .sort((a, b) => (a.record.key < b.record.key ? -1 : 1))
    .map(({ record, usedAt }) => ({
      ...record,
      components: withoutLong(record.components),
      layers: record.layers.map((diffId) => numbers.get(diffId) ?? -1),
      usedAt,
    }))
  const mounts = [...document.mounts.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
  return canonicalJson(JSON.parse(JSON.stringify({ version: documentVersion, layers, records, mounts })))
}

function withoutLong(components: StoredRecord['components']): StoredRecord['components'] {
  return JSON.stringify(components).length > longestComponents ? {} : components
}

/** How many steps a cache has: people do not count the ways in which one is found. */
export function countSteps({ entries }: CacheDocument): number {
  return [...entries.values()].filter(({ record }) => record.by === 'definition' && record.contentKey !== undefined).length
}

/** All blobs that a cache names, each once: the `layers` of its manifest. */
export function blobsOf(document: CacheDocument): readonly Descriptor[] {
  const blobs = [
    ...[...document.layers.values()].flatMap(({ blob }) => blob ?? []),
    ...[...document.mounts.values()].flatMap(({ chunks }) => chunks.map(({ blob }) => blob)),
  ]
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()].sort((a, b) => (a.digest < b.digest ? -1 : 1))
}

/** A cache that was read, and how many of its records were left out because something in them is not as it must be. */
export interface ParsedDocument {
  readonly document: CacheDocument
  readonly refused: number
}

/**
 * Reads the text of a cache.
 *
 * @param isOwn whether the manifest that the text came with names this blob: a record that names another is refused
 * @throws BuildError CACHE_BAD for text that is no cache, and for a version that this code does not know
 */
export function parseDocument(text: string, isOwn: (blob: Descriptor) => boolean): ParsedDocument {
  const value = parse(text)
  if (!isObject(value)) throw new BuildError('CACHE_BAD', 'its records are not JSON')
  if (value.version !== documentVersion) {
    throw new BuildError(
      'CACHE_BAD',
      `it has version ${JSON.stringify(value.version)?.slice(0, 40)}, this mille reads ${documentVersion}`,
    )
  }
  const { layers, records, mounts } = value
  if (!Array.isArray(layers) || !Array.isArray(records)) throw new BuildError('CACHE_BAD', 'it has no list of layers or records')
  const known = layers.map((layer: unknown) => readLayer(layer, isOwn))
  const entries = records.map((record: unknown) => readEntry(record, known))
  const readMounts = (Array.isArray(mounts) ? mounts : []).map((mount: unknown) => readMount(mount, isOwn))
  const good = entries.filter((entry) => entry !== undefined)
  const goodMounts = readMounts.filter((mount) => mount !== undefined)
  return {
    document: {
      layers: new Map(known.flatMap((layer) => (layer === undefined ? [] : [[layer.diffId, layer]]))),
      entries: new Map(good.map((entry) => [entry.record.key, entry])),
      mounts: new Map(goodMounts.map((mount) => [mount.key, mount])),
    },
    refused: entries.length - good.length + readMounts.length - goodMounts.length,
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function readLayer(value: unknown, isOwn: (blob: Descriptor) => boolean): CacheLayer | undefined {
  if (!isObject(value)) return undefined
  const { diffId, blob, contentId, size } = value
  const id = typeof diffId === 'string' ? parseDiffId(diffId) : undefined
  if (id === undefined || !isSize(size)) return undefined
  if (contentId !== undefined && !(typeof contentId === 'string' && isDigest(contentId))) return undefined
  const known = { diffId: id, size, ...(contentId === undefined ? {} : { contentId }) }
  if (blob === undefined) return known
  if (!isDescriptor(blob) || !isSize(blob.size) || !isOwn(blob) || size > mostBytes(blob)) return undefined
  return { ...known, blob: plain(blob) }
}

/** gzip makes no more of a byte than this; a record that says so is a bomb. */
export function mostBytes({ size }: Descriptor): number {
  return size * 1100 + (1 << 20)
}

/** Without `urls`, `data` and whatever else would send us to places the cache's own place does not have. */
function plain({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size }
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function readEntry(value: unknown, layers: readonly (CacheLayer | undefined)[]): CacheEntry | undefined {
  if (!isObject(value)) return undefined
  const { layers: numbers, usedAt, ...rest } = value
  if (!Array.isArray(numbers) || typeof usedAt !== 'number') return undefined
  const diffIds = numbers.map((number: unknown) => (typeof number === 'number' ? layers[number]?.diffId : undefined))
  const record = { ...rest, layers: diffIds }
  if (!isStoredRecord(record) || !isTextList(Object.values(record.components))) return undefined
  return { record, usedAt }
}

function readMount(value: unknown, isOwn: (blob: Descriptor) => boolean): CachedMount | undefined {
  if (!isObject(value)) return undefined
  const { key, id, chunks, savedAt } = value
  if (typeof key !== 'string' || !/^[0-9a-f]{64}$/.test(key) || typeof id !== 'string' || typeof savedAt !== 'number')
    return undefined
  const read = Array.isArray(chunks) ? chunks.map((chunk: unknown) => readChunk(chunk, isOwn)) : [undefined]
  const good = read.filter((chunk) => chunk !== undefined)
  return good.length === read.length ? { key, id, chunks: good, savedAt } : undefined
}

function readChunk(value: unknown, isOwn: (blob: Descriptor) => boolean): MountChunk | undefined {
  if (!isObject(value)) return undefined
  const { raw, blob } = value
  if (typeof raw !== 'string' || !isDigest(raw) || !isDescriptor(blob) || !isSize(blob.size) || !isOwn(blob)) return undefined
  return { raw, blob: plain(blob) }
}

/**
 * What two writers know together. The same two give the same, in either order, so that writers who meet agree.
 *
 * Of two records of one key the later one counts; what nobody used for 30 days is left out, and layers that no record
 * names any more with it.
 */
export function mergeDocuments(a: CacheDocument, b: CacheDocument, nowMs: number): CacheDocument {
  const entries = new Map<Digest, CacheEntry>()
  for (const entry of [...a.entries.values(), ...b.entries.values()]) {
    if (nowMs - entry.usedAt > keptForMs) continue
    const other = entries.get(entry.record.key)
    entries.set(entry.record.key, other === undefined ? entry : newer(entry, other))
  }
  const layers = new Map<DiffID, CacheLayer>()
  for (const layer of [...a.layers.values(), ...b.layers.values()]) {
    const other = layers.get(layer.diffId)
    layers.set(layer.diffId, other === undefined ? layer : mergeLayers(layer, other))
  }
  const mounts = new Map<string, CachedMount>()
  for (const mount of [...a.mounts.values(), ...b.mounts.values()]) {
    if (nowMs - mount.savedAt > keptForMs) continue
    const other = mounts.get(mount.key)
    if (other === undefined || isLater(mount, other)) mounts.set(mount.key, mount)
  }
  return tidy({ entries, layers, mounts })
}

function newer(a: CacheEntry, b: CacheEntry): CacheEntry {
  const [first, second] = a.record.createdAt === b.record.createdAt && printed(a) < printed(b) ? [b, a] : [a, b]
  const { record } = first.record.createdAt >= second.record.createdAt ? first : second
  return { record, usedAt: Math.max(a.usedAt, b.usedAt) }
}

function printed({ record }: CacheEntry): string {
  return JSON.stringify(record)
}

function isLater(a: CachedMount, b: CachedMount): boolean {
  return a.savedAt === b.savedAt ? JSON.stringify(a) > JSON.stringify(b) : a.savedAt > b.savedAt
}

/** Of two blobs of one layer the one whose digest comes first: both are there. */
function mergeLayers(a: CacheLayer, b: CacheLayer): CacheLayer {
  const [first, second] = (a.blob?.digest ?? '~') <= (b.blob?.digest ?? '~') ? [a, b] : [b, a]
  const blob = first.blob ?? second.blob
  const contentId = [a.contentId, b.contentId].filter((id) => id !== undefined).sort()[0]
  return {
    diffId: a.diffId,
    size: Math.max(a.size, b.size),
    ...(blob === undefined ? {} : { blob }),
    ...(contentId === undefined ? {} : { contentId }),
  }
}

/** Only the layers that records name; the oldest records go when there are too many. */
function tidy(document: CacheDocument): CacheDocument {
  const entries = [...document.entries.values()].sort((a, b) => b.usedAt - a.usedAt || (a.record.key < b.record.key ? -1 : 1))
  const layers = new Map<DiffID, CacheLayer>()
  const kept = new Map<Digest, CacheEntry>()
  for (const entry of entries) {
    const named = entry.record.layers.map((diffId) => document.layers.get(diffId))
    if (named.includes(undefined) || layers.size + named.length > mostLayers) continue
    kept.set(entry.record.key, entry)
    for (const layer of named) if (layer !== undefined) layers.set(layer.diffId, layer)
  }
  return { layers, entries: kept, mounts: document.mounts }
}

/** The cache without the layers for which `isThere` is false, and without the records that name them. */
export function withoutBlobs(document: CacheDocument, isThere: (blob: Descriptor) => boolean): CacheDocument {
  const layers = new Map([...document.layers].filter(([, { blob }]) => blob === undefined || isThere(blob)))
  const mounts = new Map([...document.mounts].filter(([, { chunks }]) => chunks.every(({ blob }) => isThere(blob))))
  return tidy({ ...document, layers, mounts })
}
