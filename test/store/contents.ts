/** What tests put into a store. */
import { mkdirSync, writeFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { type DiffID, type Digest, digestOf } from '../../src/core/digest.js'
import type { BuildError, ErrorCode } from '../../src/core/errors.js'
import { digestLayer } from '../../src/layer/digest.js'
import { type OpenedStore, openStore } from '../../src/store/store.js'
import type { LayerRecord, StoredRecord } from '../../src/store/types.js'
import { tempStore } from '../helpers/temp-store.js'

/** The error of work that must fail with this code. */
export async function rejects(code: ErrorCode, work: Promise<unknown>): Promise<BuildError> {
  try {
    await work
  } catch (error) {
    assert.is((error as BuildError).code, code, String(error))
    return error as BuildError
  }
  assert.unreachable(`expected ${code}`)
  throw new Error('unreachable')
}

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
