/** Takes stock of a store: every file in it belongs to one item, and each item knows what needs it. */
import { hexOf } from '../core/digest.js'
import { DiskMeter } from './disk-usage.js'
import { imagesOfTag, listImages, listTags } from './images.js'
import { folderItems, restItems } from './inventory-folders.js'
import { type FoundLayers, layerItems, type Owners } from './inventory-layers.js'
import { type Inventory, idLength, type LayerUse, type StoreItem } from './items.js'
import { liveLeases } from './lock.js'
import { ReadCache } from './read-cache.js'
import { blobsOfImage, findPins, listLayers, listRecords } from './roots.js'
import type { Session } from './session.js'
import type { SnapshotSizes } from './snapshot-sizes.js'
import type { StoredImage } from './types.js'

/** How stock is taken. */
export interface InventoryOptions {
  readonly signal: AbortSignal
  /** True: all that is in the directory is measured, for `mille du`. False: what a collection may remove. */
  readonly whole: boolean
  /** Sizes of snapshots that are known; without it all are measured. */
  readonly sizes?: SnapshotSizes
  readonly cache?: ReadCache
}

/** Takes stock. Changes nothing. */
export async function takeInventory(session: Session, options: InventoryOptions): Promise<Inventory> {
  const meter = new DiskMeter(options.signal)
  const cache = options.cache ?? new ReadCache()
  const owners: Owners = {
    images: listImages(session),
    tags: listTags(session),
    records: listRecords(session, cache),
    layers: listLayers(session, cache),
    pins: findPins(session),
  }
  const found = await layerItems(session, owners, meter, options.sizes)
  const images: StoreItem[] = []
  const uses: LayerUse[] = [...found.uses]
  for (const image of owners.images) {
    const item = await imageItem(session, image, owners, found.bytesOf, meter)
    images.push(item)
    uses.push({ item, layers: found.stackOf(image.diffIds) })
  }
  const isBusy = liveLeases(session.layout, session.leaseName()).length > 0
  const folders = await folderItems(session, meter, isBusy)
  const rest = options.whole ? await restItems(session, meter) : []
  return { items: [...found.items, ...images, ...folders, ...rest], uses, layers: found.byLayer }
}

async function imageItem(
  session: Session,
  image: StoredImage,
  { tags, pins }: Owners,
  bytesOf: FoundLayers['bytesOf'],
  meter: DiskMeter,
): Promise<StoreItem> {
  const { layout } = session
  const named = tags.filter((tag) => imagesOfTag(tag).includes(image.id))
  const names = named.map(({ reference }) => reference).sort()
  let size = await meter.measure(layout.image(image.id))
  for (const tag of named) size += await meter.measure(layout.tag(tag.reference))
  for (const hex of blobsOfImage(session, image)) size += await meter.measure(`${layout.folder('blobs/sha256')}/${hex}`)
  return {
    id: hexOf(image.id).slice(0, idLength),
    type: 'image',
    parents: image.diffIds.slice(-1).map((diffId) => hexOf(diffId).slice(0, idLength)),
    description: names.length === 0 ? 'image without a name' : `image ${names.join(', ')}`,
    createdAt: image.storedAt,
    lastUsedAt: image.storedAt,
    usageCount: undefined,
    mutable: false,
    shared: false,
    held: isUsedByProcess(image, pins) ? 'process' : names.length > 0 ? 'name' : undefined,
    size,
    layerBytes: bytesOf(image.diffIds),
    content: { kind: 'image', image: image.id, names },
  }
}

/** A process that needs an image has pinned its config or all of its layers. */
function isUsedByProcess(image: StoredImage, pins: ReadonlySet<string>): boolean {
  const layers = image.diffIds.map((diffId) => `layer:${hexOf(diffId)}`)
  return pins.has(`blob:${hexOf(image.id)}`) || (layers.length > 0 && layers.every((pin) => pins.has(pin)))
}
