import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DiffID, type Digest, digestOf, hexOf } from '../../src/core/digest.js'
import { digestLayer } from '../../src/layer/digest.js'
import { type CollectOptions, collectGarbage } from '../../src/store/gc.js'
import { layerFiles } from '../../src/store/layer-files.js'
import { type OpenedStore, openStore } from '../../src/store/store.js'
import type { LayerRecord } from '../../src/store/types.js'
import { tempStore } from '../helpers/temp-store.js'
import { within } from '../helpers/within.js'

const nothing: CollectOptions = {
  images: 'none',
  records: 'none',
  cacheMounts: false,
  gitRepositories: false,
  logs: false,
  dryRun: false,
}

/** A store that another process filled and left, as a prune finds it. */
async function filledStore(fill: (store: OpenedStore) => Promise<void>): Promise<OpenedStore> {
  const store = await tempStore()
  {
    await using writer = await openStore(store.root)
    await fill(writer)
  }
  return store
}

async function makeLayer(store: OpenedStore, content: string): Promise<LayerRecord> {
  await using snapshot = await store.snapshots.prepare()
  writeFileSync(`${snapshot.upper}/file`, content)
  const { diffId, size, entries } = digestLayer(snapshot.upper)
  return store.layers.save({ diffId, size, snapshot: await snapshot.commit(entries), blobs: [], sources: [] })
}

function makeImage(store: OpenedStore, name: string, diffIds: readonly DiffID[], tag: boolean): Digest {
  const id = store.blobs.writeBytes(`{"config":"${name}"}`)
  store.images.save({ id, platform: { os: 'linux', architecture: 'amd64' }, diffIds, storedAt: 1, manifests: [] })
  if (tag) store.images.setTag({ reference: `docker.io/library/${name}:latest`, image: id })
  return id
}

function makeRecord(store: OpenedStore, name: string, layers: readonly DiffID[]): void {
  store.records.save({
    key: digestOf(name),
    by: 'definition',
    layers,
    layerTimes: layers.map(() => 1),
    createdAt: 1,
    size: 0,
    components: {},
    name,
  })
}

function countOf(store: OpenedStore): Record<string, number> {
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
  const report = await collectGarbage(store, nothing)
  assert.ok(store.layers.arePresent(kept))
  assert.equal(countOf(store), { images: 1, layers: 2, snapshots: 2, lists: 2, blobs: 1 })
  assert.equal(report.collected.map(({ kind }) => kind).sort(), ['blob', 'layer', 'layer', 'layer'])
  assert.is(report.bytes, 18)
  assert.equal((await collectGarbage(store, nothing)).collected, [])
})

test('the layer that another one lies over stays with it, and without it that one has no files', async () => {
  let [lower, upper] = [{} as LayerRecord, {} as LayerRecord]
  await using store = await filledStore(async (writer) => {
    lower = await makeLayer(writer, 'a')
    const other = await makeLayer(writer, 'b')
    upper = writer.layers.save({ ...other, diffId: digestOf('a and b') as string as DiffID, over: lower.diffId })
    makeRecord(writer, 'COPY', [upper.diffId])
  })
  await collectGarbage(store, nothing)
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
  const dry = await collectGarbage(store, { ...nothing, images: 'dangling', records: 'all', dryRun: true })
  assert.equal(countOf(store), { images: 2, layers: 2, snapshots: 2, lists: 2, blobs: 2 })
  const done = await collectGarbage(store, { ...nothing, images: 'dangling', records: 'all' })
  const textOf = (report: typeof done): string[] => report.collected.map(({ kind, name }) => `${kind} ${name}`).sort()
  assert.equal(textOf(done), textOf(dry))
  assert.equal(countOf(store), { images: 1, layers: 1, snapshots: 1, lists: 1, blobs: 1 })
  assert.is(store.records.find(digestOf('RUN')), undefined)
  await collectGarbage(store, { ...nothing, images: 'all' })
  assert.equal(countOf(store), { images: 0, layers: 0, snapshots: 0, lists: 0, blobs: 0 })
  assert.equal(store.images.tags(), [])
})

test('below a limit the records that were used last stay', async () => {
  await using store = await filledStore(async (writer) => {
    for (let i = 0; i < 5; i++) {
      const layer = await makeLayer(writer, `${i}`.repeat(1000))
      makeRecord(writer, `RUN ${i}`, [layer.diffId])
      const key = hexOf(digestOf(`RUN ${i}`))
      utimesSync(`${writer.root}/records/${key.slice(0, 2)}/${key}.json`, 1000 + ((i + 2) % 5), 1000 + ((i + 2) % 5))
    }
  })
  await collectGarbage(store, { ...nothing, records: { keepBytes: 2500 } })
  const left = [0, 1, 2, 3, 4].filter((i) => store.records.find(digestOf(`RUN ${i}`)) !== undefined)
  assert.equal(left, [1, 2])
  assert.is(countOf(store).snapshots, 2)
})

test('only what was not used since a time goes', async () => {
  await using store = await filledStore(async (writer) => makeRecord(writer, 'RUN', []))
  await collectGarbage(store, { ...nothing, records: 'all', unusedSince: Date.now() - 60_000 })
  assert.ok(store.records.find(digestOf('RUN')))
  await collectGarbage(store, { ...nothing, records: 'all', unusedSince: Date.now() + 60_000 })
  assert.is(store.records.find(digestOf('RUN')), undefined)
})

test('what a living process relies on stays', async () => {
  await using store = await tempStore()
  const script = `
    import { openStore } from ${JSON.stringify(new URL('../../src/store/store.js', import.meta.url).href)}
    import { digestLayer } from ${JSON.stringify(new URL('../../src/layer/digest.js', import.meta.url).href)}
    import { writeFileSync } from 'node:fs'
    const store = await openStore(process.argv[1])
    const one = await store.snapshots.prepare()
    writeFileSync(one.upper + '/f', 'saved')
    const { diffId, size, entries } = digestLayer(one.upper)
    store.layers.save({ diffId, size, snapshot: await one.commit(entries), blobs: [], sources: [] })
    const two = await store.snapshots.prepare()
    await two.commit()
    const three = await store.snapshots.prepare()
    store.blobs.writeBytes('used')
    console.log(diffId)
    setTimeout(() => {}, 60000)
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, store.root], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await within(10_000, new Promise((resolve) => child.stdout.once('data', resolve)))
    mkdirSync(`${store.root}/cache-mounts/x`, { recursive: true })
    const report = await collectGarbage(store, {
      images: 'all',
      records: 'all',
      cacheMounts: true,
      gitRepositories: true,
      logs: true,
      dryRun: false,
    })
    assert.equal(report.collected, [])
    assert.is(report.liveProcesses, 1)
    assert.is(countOf(store).snapshots, 2)
    assert.is(readdirSync(`${store.root}/active`).length, 1)
  } finally {
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('close', resolve))
  }
  await collectGarbage(store, {
    images: 'all',
    records: 'all',
    cacheMounts: true,
    gitRepositories: true,
    logs: true,
    dryRun: false,
  })
  assert.equal(countOf(store), { images: 0, layers: 0, snapshots: 0, lists: 0, blobs: 0 })
  assert.equal(readdirSync(`${store.root}/active`), [])
  assert.equal(readdirSync(`${store.root}/cache-mounts`), [])
})

test('what a killed collection moved out of sight comes back', async () => {
  let id = digestOf('')
  await using store = await filledStore(async (writer) => {
    id = makeImage(writer, 'image', [(await makeLayer(writer, 'a')).diffId], true)
  })
  mkdirSync(`${store.root}/condemned`)
  for (const folder of ['images', 'layers', 'snapshots'])
    renameSync(`${store.root}/${folder}`, `${store.root}/condemned/${folder}`)
  mkdirSync(`${store.root}/snapshots`)
  assert.not(store.images.isWhole(id))
  await collectGarbage(store, nothing)
  assert.ok(store.images.isWhole(id))
})

test('a build that finds everything cached while all is pruned again and again is never left with a broken image', async () => {
  await using store = await tempStore()
  const script = `
    import { openStore } from ${JSON.stringify(new URL('../../src/store/store.js', import.meta.url).href)}
    import { collectGarbage } from ${JSON.stringify(new URL('../../src/store/gc.js', import.meta.url).href)}
    process.stdout.write('ready')
    const end = Date.now() + 2500
    for (let i = 0; Date.now() < end; i++) {
      const store = await openStore(process.argv[1])
      await collectGarbage(store, { images: i % 3 ? 'dangling' : 'none', records: 'all', cacheMounts: false, gitRepositories: false, logs: false, dryRun: false })
      await store[Symbol.asyncDispose]()
      await new Promise((resolve) => setTimeout(resolve, i % 7))
    }
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, store.root], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let isRunning = true
  const closed = new Promise<number | null>((resolve) => child.on('close', resolve)).finally(() => {
    isRunning = false
  })
  await within(10_000, new Promise((resolve) => child.stdout.once('data', resolve)))
  let hits = 0
  let builds = 0
  for (let i = 0; isRunning; i++) {
    const name = `app${i % 2}`
    const warm = await openStore(store.root)
    const record = warm.records.find(digestOf(name))
    if (record?.layers.every((layer) => warm.layers.find(layer) !== undefined)) {
      // The warm path: no lease; the image is written, then it is looked whether all is still there.
      const id = makeImage(warm, name, record.layers, true)
      if (warm.images.isWhole(id)) {
        hits++
        await new Promise((resolve) => setTimeout(resolve, 2))
        assert.ok((await openStore(store.root)).images.isWhole(id), `the image of round ${i} broke after it was verified`)
        continue
      }
    }
    builds++
    await using builder = await openStore(store.root)
    const layer = await makeLayer(builder, name)
    makeRecord(builder, name, [layer.diffId])
    const id = makeImage(builder, name, [layer.diffId], true)
    assert.ok(builder.images.isWhole(id), `the image that was built in round ${i} is not whole`)
  }
  assert.is(await within(60_000, closed), 0)
  assert.ok(hits > 0 && builds > 0, `${hits} hits, ${builds} builds`)
})

test.run()
