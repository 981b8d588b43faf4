/** The layers of a store with the cached results that ended with them, and blobs that no layer and no image has. */
import { statSync } from 'node:fs'
import { type DiffID, hexOf } from '../core/digest.js'
import type { DiskMeter } from './disk-usage.js'
import { imagesOfTag } from './images.js'
import { idLength, type LayerUse, type StoreItem } from './items.js'
import { listFolder } from './lock.js'
import { blobsOfImage, type FoundRecord } from './roots.js'
import type { Session } from './session.js'
import type { SnapshotSizes } from './snapshot-sizes.js'
import type { LayerRecord, StoredImage, Tag } from './types.js'

/** What can need layers, and the layers. */
export interface Owners {
  readonly images: readonly StoredImage[]
  readonly tags: readonly Tag[]
  readonly records: readonly FoundRecord[]
  readonly layers: ReadonlyMap<string, LayerRecord>
  readonly pins: ReadonlySet<string>
}

/** What was found. */
export interface FoundLayers {
  readonly items: readonly StoreItem[]
  readonly uses: readonly LayerUse[]
  readonly byLayer: ReadonlyMap<string, StoreItem>
  /** Hex of all layers that a stack needs, also those that its layers are made of. */
  readonly stackOf: (diffIds: readonly DiffID[]) => string[]
  /** What of an image's layers other images or cached results need too. */
  readonly bytesOf: (diffIds: readonly DiffID[]) => { readonly shared: number; readonly unique: number }
}

/** What is known of one layer while records and images are gone through. */
interface Account {
  readonly hex: string
  readonly ending: FoundRecord[]
  below: string | undefined
  depth: number
  lastUsedAt: number | undefined
  imageCount: number
  isCached: boolean
  name: string | undefined
  isHeld: boolean
  since: number | undefined
}

/** The items of layers, records and of what nothing needs. */
export async function layerItems(
  session: Session,
  owners: Owners,
  meter: DiskMeter,
  sizes: SnapshotSizes | undefined,
): Promise<FoundLayers> {
  const stackOf = (diffIds: readonly DiffID[]): string[] => withOrigins(diffIds, owners.layers)
  const accounts = makeAccounts(owners, stackOf)
  const byLayer = new Map<string, StoreItem>()
  const imageBlobs = new Set(owners.images.flatMap((image) => [...blobsOfImage(session, image)]))
  for (const account of accounts.values()) {
    const layer = owners.layers.get(account.hex)
    const bytes = layer === undefined ? 0 : await layerBytes(session, layer, meter, sizes, imageBlobs)
    byLayer.set(account.hex, layerItem(account, bytes, owners))
  }
  for (const { path } of owners.records) meter.claim(path, 0)
  const bare = owners.records.filter(({ record }) => record.layers.length === 0).map(bareItem)
  const uses: LayerUse[] = []
  for (const { record } of owners.records) {
    const top = record.layers.at(-1)
    if (top !== undefined) uses.push({ item: byLayer.get(hexOf(top)), layers: stackOf(record.layers) })
  }
  uses.push({ item: undefined, layers: [...byLayer.keys()].filter((hex) => owners.pins.has(`layer:${hex}`)) })
  return {
    items: [...byLayer.values(), ...bare, ...(await unreferenced(session, owners, imageBlobs, meter))],
    uses,
    byLayer,
    stackOf,
    bytesOf: (diffIds) => sharedBytes(new Set(stackOf(diffIds)), accounts, byLayer),
  }
}

/** A rewritten layer may lie over another one: a set that grows is gone through to its end. */
function withOrigins(diffIds: readonly DiffID[], layers: ReadonlyMap<string, LayerRecord>): string[] {
  const stack = new Set(diffIds.map(hexOf))
  for (const hex of stack) {
    const layer = layers.get(hex)
    if (layer?.rewriteOf !== undefined) stack.add(hexOf(layer.rewriteOf.diffId))
    if (layer?.over !== undefined) stack.add(hexOf(layer.over))
  }
  return [...stack]
}

/** Goes through all that needs layers, and says of each layer who that is. */
function makeAccounts(owners: Owners, stackOf: (diffIds: readonly DiffID[]) => string[]): ReadonlyMap<string, Account> {
  const accounts = new Map<string, Account>()
  const accountOf = (hex: string): Account => {
    const known = accounts.get(hex)
    if (known !== undefined) return known
    const fresh: Account = {
      ...{ hex, ending: [], below: undefined, depth: 0, lastUsedAt: undefined, imageCount: 0, isCached: false },
      ...{ name: undefined, isHeld: false, since: undefined },
    }
    accounts.set(hex, fresh)
    return fresh
  }
  for (const hex of owners.layers.keys()) accountOf(hex)
  const place = (diffIds: readonly DiffID[]): void => {
    for (const [i, diffId] of diffIds.entries()) {
      const account = accountOf(hexOf(diffId))
      const below = diffIds[i - 1]
      account.depth = Math.max(account.depth, i)
      if (below !== undefined) account.below ??= hexOf(below)
    }
  }
  for (const found of owners.records) {
    place(found.record.layers)
    for (const hex of new Set(stackOf(found.record.layers))) {
      const account = accountOf(hex)
      account.isCached = true
      account.lastUsedAt = Math.max(account.lastUsedAt ?? 0, found.use.lastUsedAt)
    }
    const top = found.record.layers.at(-1)
    if (top !== undefined) accountOf(hexOf(top)).ending.push(found)
  }
  const named = new Map(owners.tags.flatMap((tag) => imagesOfTag(tag).map((id) => [id, tag.reference] as const)))
  for (const image of owners.images) {
    place(image.diffIds)
    const name = named.get(image.id)
    for (const hex of new Set(stackOf(image.diffIds))) noteImage(accountOf(hex), image, name)
  }
  return accounts
}

function noteImage(account: Account, image: StoredImage, name: string | undefined): void {
  account.imageCount += 1
  account.isHeld ||= name !== undefined
  account.name ??= name
  account.since = Math.min(account.since ?? Infinity, image.storedAt)
  if (!account.isCached) account.lastUsedAt = Math.max(account.lastUsedAt ?? 0, image.storedAt)
}

function layerItem(account: Account, bytes: number, { pins }: Owners): StoreItem {
  const { hex, ending, below, depth, imageCount, isCached, isHeld, since } = account
  const newest = newestStep(ending)
  const recordBytes = ending.reduce((sum, { size }) => sum + size, 0)
  const isNeeded = imageCount > 0 || isCached
  const counts = ending.flatMap(({ use }) => use.count ?? [])
  return {
    id: hex.slice(0, idLength),
    type: 'regular',
    parents: below === undefined ? [] : [below.slice(0, idLength)],
    description: newest?.record.name ?? describeLayer(account),
    createdAt: newest?.record.createdAt ?? since,
    lastUsedAt: account.lastUsedAt,
    // A step has a record for each of its keys, and a build finds it by one of them.
    usageCount: counts.length === 0 ? undefined : counts.reduce((most, count) => Math.max(most, count)),
    mutable: false,
    shared: imageCount + (isCached ? 1 : 0) > 1,
    held: pins.has(`layer:${hex}`) ? 'process' : isHeld ? 'name' : undefined,
    size: bytes + recordBytes,
    content: isNeeded
      ? { kind: 'result', layer: hex, records: ending, recordBytes, depth }
      : { kind: 'unreferenced', path: undefined },
  }
}

/** The newest record; of a step, where there is one: whole images have records too. */
function newestStep(records: readonly FoundRecord[]): FoundRecord | undefined {
  const steps = records.filter(({ record }) => record.name.startsWith('['))
  const newest = (best: FoundRecord, each: FoundRecord): FoundRecord =>
    each.record.createdAt > best.record.createdAt ? each : best
  const [first, ...others] = steps.length > 0 ? steps : records
  return first === undefined ? undefined : others.reduce(newest, first)
}

function describeLayer({ name, isCached, imageCount }: Account): string {
  if (name !== undefined) return `layer of ${name}`
  if (imageCount > 0) return 'layer of an image without a name'
  return isCached ? 'layer of a base image' : 'layer that nothing needs'
}

/** A step that left no files on nothing. */
function bareItem(found: FoundRecord): StoreItem {
  const { record, use, size } = found
  return {
    ...{ id: hexOf(record.key).slice(0, idLength), type: 'regular', parents: [], description: record.name },
    ...{ createdAt: record.createdAt, lastUsedAt: use.lastUsedAt, usageCount: use.count, mutable: false, shared: false },
    ...{ held: undefined, size },
    content: { kind: 'result', layer: undefined, records: [found], recordBytes: size, depth: 0 },
  }
}

/** Files, list of files, record, and compressed forms. */
async function layerBytes(
  session: Session,
  layer: LayerRecord,
  meter: DiskMeter,
  sizes: SnapshotSizes | undefined,
  imageBlobs: ReadonlySet<string>,
): Promise<number> {
  const { layout } = session
  let bytes = await meter.measure(layout.layer(layer.diffId))
  if (layer.snapshot !== undefined) {
    const path = layout.snapshot(layer.snapshot)
    bytes += sizes === undefined ? await meter.measure(path) : await sizes.sizeOf(layer.snapshot, path, meter, layer.size)
    bytes += await meter.measure(layout.entries(layer.snapshot))
  }
  for (const { digest } of [...layer.blobs, ...(layer.claims ?? []).map(({ blob }) => blob)]) {
    // A blob that a manifest of an image names is the layer's all the same: images share their layers.
    if (!imageBlobs.has(hexOf(digest)) || layer.blobs.some((blob) => blob.digest === digest))
      bytes += await meter.measure(layout.blob(digest))
  }
  return bytes
}

function sharedBytes(
  stack: ReadonlySet<string>,
  accounts: ReadonlyMap<string, Account>,
  byLayer: ReadonlyMap<string, StoreItem>,
): { readonly shared: number; readonly unique: number } {
  const sum = { shared: 0, unique: 0 }
  for (const hex of stack) {
    const isShared = (accounts.get(hex)?.imageCount ?? 0) > 1
    sum[isShared ? 'shared' : 'unique'] += byLayer.get(hex)?.size ?? 0
  }
  return sum
}

/** Blobs and snapshots that no image and no layer names. What a living process needs is held. */
async function unreferenced(
  session: Session,
  { layers, pins }: Owners,
  imageBlobs: ReadonlySet<string>,
  meter: DiskMeter,
): Promise<StoreItem[]> {
  const { layout } = session
  const named = new Set([...layers.values()].flatMap(({ snapshot }) => snapshot ?? []))
  const blobs = new Set(imageBlobs)
  for (const layer of layers.values()) {
    for (const { digest } of [...layer.blobs, ...(layer.claims ?? []).map(({ blob }) => blob)]) blobs.add(hexOf(digest))
  }
  const found: StoreItem[] = []
  for (const name of listFolder(layout.folder('snapshots'))) {
    const id = name.replace(/\.entries$/, '')
    if (!named.has(id) && !name.endsWith('.tmp')) {
      const path = `${layout.folder('snapshots')}/${name}`
      found.push(strayItem(name, 'snapshot that nothing needs', path, await meter.measure(path), pins.has(`snapshot:${id}`)))
    }
  }
  for (const hex of listFolder(layout.folder('blobs/sha256'))) {
    if (blobs.has(hex) || hex.endsWith('.tmp')) continue
    const path = `${layout.folder('blobs/sha256')}/${hex}`
    found.push(strayItem(hex, 'blob that nothing needs', path, await meter.measure(path), pins.has(`blob:${hex}`)))
  }
  return found
}

function strayItem(name: string, description: string, path: string, size: number, isHeld: boolean): StoreItem {
  const at = statSync(path, { throwIfNoEntry: false })?.mtimeMs
  return {
    ...{ id: name.slice(0, idLength), type: 'internal', parents: [], description, createdAt: at, lastUsedAt: at },
    ...{ usageCount: undefined, mutable: false, shared: false, held: isHeld ? 'process' : undefined, size },
    content: { kind: 'unreferenced', path },
  }
}
