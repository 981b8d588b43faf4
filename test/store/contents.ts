/** What tests put into a store. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { type DiffID, type Digest, digestOf } from '../../src/core/digest.js'
import { digestLayer } from '../../src/layer/digest.js'
import { type OpenedStore, openStore } from '../../src/store/store.js'
import type { LayerRecord, StoredRecord } from '../../src/store/types.js'
import { tempStore } from '../helpers/temp-store.js'

/** Saves a layer with one file and one directory. */
export async function makeLayer(store: OpenedStore, content: string): Promise<LayerRecord> {
  await using snapshot = await store.snapshots.prepare()
  writeFileSync(`${snapshot.upper}/file`, content)
  mkdirSync(`${snapshot.upper}/directory`)
  const { diffId, contentId, size, entries } = digestLayer(snapshot.upper)
  return store.layers.save({ diffId, contentId, size, snapshot: await snapshot.commit(entries), blobs: [], sources: [] })
}

/** A record of a step named so. */
export function recordOf(name: string, layers: readonly DiffID[]): StoredRecord {
  return {
    key: digestOf(name),
    by: 'definition',
    layers,
    layerTimes: layers.map(() => 1),
    createdAt: 1,
    size: 0,
    components: { instruction: name },
    name,
  }
}

/** A store that another process filled and left, as a prune finds it. */
export async function filledStore(fill: (store: OpenedStore) => Promise<void>): Promise<OpenedStore> {
  const store = await tempStore()
  {
    await using writer = await openStore(store.root)
    await fill(writer)
  }
  return store
}

/** Saves an image of these layers, with the name `name:latest` if `tag`. */
export function makeImage(store: OpenedStore, name: string, diffIds: readonly DiffID[], tag: boolean): Digest {
  const id = store.blobs.writeBytes(`{"config":"${name}"}`)
  store.images.save({ id, platform: { os: 'linux', architecture: 'amd64' }, diffIds, storedAt: 1, manifests: [] })
  if (tag) store.images.setTag({ reference: `docker.io/library/${name}:latest`, image: id })
  return id
}

/** Saves the record of a step named so. */
export function makeRecord(store: OpenedStore, name: string, layers: readonly DiffID[]): void {
  store.records.save(recordOf(name, layers))
}

/** How many files of each kind there are. */
export function countOf(store: OpenedStore): Record<string, number> {
  const count = (folder: string): number =>
    existsSync(`${store.root}/${folder}`) ? readdirSync(`${store.root}/${folder}`).length : 0
  return {
    images: count('images'),
    layers: count('layers'),
    snapshots: readdirSync(`${store.root}/snapshots`).filter((name) => !name.includes('.')).length,
    lists: readdirSync(`${store.root}/snapshots`).filter((name) => name.endsWith('.entries')).length,
    blobs: count('blobs/sha256'),
  }
}
