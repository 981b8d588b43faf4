/** Collections: what goes and what stays, by need, use, age and limits. */
import { existsSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DiffID, digestOf, hexOf } from '../../src/core/digest.js'
import type { CollectReport } from '../../src/store/gc.js'
import { isCollectionDue } from '../../src/store/gc-state.js'
import { layerFiles } from '../../src/store/layer-files.js'
import type { GcSettings } from '../../src/store/policy.js'
import { type OpenedStore, openStore } from '../../src/store/store.js'
import type { LayerRecord } from '../../src/store/types.js'
import { noteUse, startUse, useOf } from '../../src/store/use.js'
import { collect, type Wanted } from '../helpers/collect.js'
import { tempDirectory, tempStore } from '../helpers/temp-store.js'
import { countOf, filledStore, makeImage, makeLayer, makeRecord } from './contents.js'

const unlimited: GcSettings = { maxUsed: { bytes: 0 }, reserved: { bytes: 0 }, minFree: { bytes: 0 } }

/** What a second collection finds. */
async function goneAgain(store: OpenedStore): Promise<number> {
  return (await collect(store)).removed.length
}

test('what images and records need stays, the rest goes', async () => {
  let kept: DiffID[] = []
  await using store = await filledStore(async (writer) => {
    const [a, b, c] = [await makeLayer(writer, 'a'), await makeLayer(writer, 'b'), await makeLayer(writer, 'c')]
    makeImage(writer, 'image', [a.diffId], true)
    makeRecord(writer, 'RUN b', [a.diffId, b.diffId])
    writer.blobs.writeBytes('nobody needs this')
    kept = [a.diffId, b.diffId]
    assert.ok(c.snapshot)
  })
  const report = await collect(store)
  assert.ok(store.layers.arePresent(kept))
  assert.equal(countOf(store), { images: 1, layers: 2, snapshots: 2, lists: 2, blobs: 1 })
  assert.equal(report.removed.map(({ item }) => item.description).sort(), ['blob that nothing needs', 'layer that nothing needs'])
  assert.equal(await goneAgain(store), 0)
})

test('the layer that another one lies over stays with it, and without it that one has no files', async () => {
  let [lower, upper] = [{} as LayerRecord, {} as LayerRecord]
  await using store = await filledStore(async (writer) => {
    lower = await makeLayer(writer, 'a')
    const other = await makeLayer(writer, 'b')
    upper = writer.layers.save({ ...other, diffId: digestOf('a and b') as string as DiffID, over: lower.diffId })
    makeRecord(writer, 'COPY', [upper.diffId])
  })
  await collect(store)
  assert.ok(store.layers.arePresent([upper.diffId, lower.diffId]))
  assert.is(countOf(store).snapshots, 2, 'the part has no record of its own any more')
  const directories = layerFiles(store, store.layers.find(upper.diffId))
  assert.equal(
    directories,
    [lower, upper].map(({ snapshot = '' }) => store.snapshots.pathOf(snapshot)),
  )
  await using later = await openStore(store.root)
  renameSync(later.snapshots.pathOf(lower.snapshot ?? ''), join(store.root, 'away'))
  assert.not.ok(later.layers.arePresent([upper.diffId]))
  assert.is(later.layers.find(upper.diffId), undefined)
})

test('records and images go as they are asked for', async () => {
  await using store = await filledStore(async (writer) => {
    const [a, b] = [await makeLayer(writer, 'a'), await makeLayer(writer, 'b')]
    makeImage(writer, 'tagged', [a.diffId], true)
    makeImage(writer, 'dangling', [b.diffId], false)
    makeRecord(writer, 'RUN', [a.diffId, b.diffId])
  })
  const both: Wanted = { types: ['regular', 'image'] }
  const dry = await collect(store, { ...both, dryRun: true })
  assert.equal(countOf(store), { images: 2, layers: 2, snapshots: 2, lists: 2, blobs: 2 })
  const done = await collect(store, both)
  const textOf = ({ removed }: CollectReport): string[] => removed.map(({ item, size }) => `${item.id} ${size}`).sort()
  assert.equal(textOf(done), textOf(dry))
  assert.equal(countOf(store), { images: 1, layers: 1, snapshots: 1, lists: 1, blobs: 1 })
  assert.is(store.records.find(digestOf('RUN')), undefined)
  await collect(store, { types: ['image'], namedImages: true })
  assert.equal(countOf(store), { images: 0, layers: 0, snapshots: 0, lists: 0, blobs: 0 })
  assert.equal(store.images.tags(), [])
})

test('below a limit the records that were used last stay', async () => {
  await using store = await filledStore(async (writer) => {
    for (let i = 0; i < 5; i++) {
      const layer = await makeLayer(writer, `${i}`.repeat(100_000))
      makeRecord(writer, `RUN ${i}`, [layer.diffId])
      const key = hexOf(digestOf(`RUN ${i}`))
      utimesSync(`${writer.root}/records/${key.slice(0, 2)}/${key}.json`, 1000 + ((i + 2) % 5), 1000 + ((i + 2) % 5))
    }
  })
  await collect(store, { types: ['regular'], limits: { maxUsed: 280_000, reserved: 0, minFree: 0 } })
  const left = [0, 1, 2, 3, 4].filter((i) => store.records.find(digestOf(`RUN ${i}`)) !== undefined)
  assert.equal(left, [1, 2])
  assert.is(countOf(store).snapshots, 2)
})

test('only what was not used since a time goes', async () => {
  await using store = await filledStore(async (writer) => makeRecord(writer, 'RUN', []))
  await collect(store, { types: ['regular'], unusedSince: Date.now() - 60_000 })
  assert.ok(store.records.find(digestOf('RUN')))
  await collect(store, { types: ['regular'], unusedSince: Date.now() + 60_000 })
  assert.is(store.records.find(digestOf('RUN')), undefined)
})

test('a collection is due by size, by free space, by age, and never for a build of nothing within a day', async () => {
  await using store = await tempStore()
  const at = (hours: number): number => Date.now() + hours * 3_600_000
  const due = (ran: boolean, settings: GcSettings, hours = 0): boolean =>
    isCollectionDue(store.root, ran, { ...unlimited, ...settings }, at(hours))
  assert.not(due(false, {}, 1000), 'nothing was ever built here')
  assert.not(due(true, {}))
  assert.equal([due(true, {}, 5), due(true, {}, 7), due(false, {}, 23), due(false, {}, 25)], [false, true, false, true])
  {
    await using writer = await openStore(store.root)
    await makeLayer(writer, 'x'.repeat(1000))
  }
  assert.not(due(true, { maxUsed: { bytes: 1001 } }))
  assert.ok(due(true, { maxUsed: { bytes: 999 } }))
  assert.ok(due(true, { minFree: { percent: 100 } }))
  assert.not(due(true, { minFree: { percent: 100 }, reserved: { percent: 100 } }))
})

test('a step goes after what lies on it, though a build of nothing only asks for the last', async () => {
  await using store = await filledStore(async (writer) => {
    const [a, b, c, d] = [
      await makeLayer(writer, 'a'.repeat(50_000)),
      await makeLayer(writer, 'b'.repeat(50_000)),
      await makeLayer(writer, 'c'.repeat(50_000)),
      await makeLayer(writer, 'd'.repeat(50_000)),
    ]
    makeRecord(writer, 'A', [a.diffId])
    makeRecord(writer, 'B', [a.diffId, b.diffId])
    makeRecord(writer, 'C', [a.diffId, b.diffId, c.diffId])
    makeRecord(writer, 'D', [d.diffId])
  })
  for (const [name, at] of Object.entries({ A: 1000, B: 1001, C: 3000, D: 2000 })) {
    utimesSync(store.session.layout.record(digestOf(name)), at, at)
  }
  const left = async (maxUsed: number): Promise<string[]> => {
    await collect(store, { types: ['regular'], limits: { maxUsed, reserved: 0, minFree: 0 } })
    return ['A', 'B', 'C', 'D'].filter((name) => existsSync(store.session.layout.record(digestOf(name))))
  }
  assert.equal(await left(230_000), ['A', 'B', 'C'])
  assert.equal(await left(160_000), ['A', 'B'])
  assert.equal(await left(85_000), ['A'])
  assert.equal(await left(1), [])
})

test('the use of a file is in its time', async () => {
  await using place = tempDirectory()
  const path = `${place.path}/file`
  writeFileSync(path, '')
  startUse(path, 1_700_000_000_987)
  assert.equal(useOf(statSync(path)), { lastUsedAt: 1_700_000_000_000, count: 1 })
  for (let i = 0; i < 1200; i++) {
    noteUse(path, 1_700_000_001_000 + i * 1000)
    assert.is(useOf(statSync(path)).count, Math.min(999, i + 2))
  }
  assert.is(useOf(statSync(path)).lastUsedAt, 1_700_001_200_000)
  assert.is(useOf({ mtimeMs: 1_700_000_000_123.45 }).count, undefined)
  noteUse(`${place.path}/none`, 1)
})

test.run()
