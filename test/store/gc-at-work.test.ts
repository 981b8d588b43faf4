/** Collections beside living processes, killed ones, and builds that go on meanwhile. */
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DiffID, digestOf } from '../../src/core/digest.js'
import { collectGarbage } from '../../src/store/gc.js'
import { isCollectionDue } from '../../src/store/gc-state.js'
import { takeInventory } from '../../src/store/inventory.js'
import type { GcSettings } from '../../src/store/policy.js'
import { openStore } from '../../src/store/store.js'
import { verifyStore } from '../../src/store/verify.js'
import { collect, everything } from '../helpers/collect.js'
import { tempDirectory, tempStore } from '../helpers/temp-store.js'
import { within } from '../helpers/within.js'
import { countOf, filledStore, makeImage, makeLayer, makeRecord } from './contents.js'

const unlimited: GcSettings = { maxUsed: { bytes: 0 }, reserved: { bytes: 0 }, minFree: { bytes: 0 } }

async function rejectsWith(name: string, work: Promise<unknown>): Promise<void> {
  let found = ''
  await work.catch((error: Error) => {
    found = error.name
  })
  assert.is(found, name)
}

test('what a living process relies on stays', async () => {
  await using store = await tempStore()
  const script = `
    import { openStore } from ${JSON.stringify(new URL('../../src/store/store.js', import.meta.url).href)}
    import { digestLayer } from ${JSON.stringify(new URL('../../src/layer/digest.js', import.meta.url).href)}
    import { tryLock } from ${JSON.stringify(new URL('../../src/io/sys.js', import.meta.url).href)}
    import { mkdirSync, openSync, writeFileSync } from 'node:fs'
    const store = await openStore(process.argv[1])
    const one = await store.snapshots.prepare()
    writeFileSync(one.upper + '/f', 'saved')
    const { diffId, size, entries } = digestLayer(one.upper)
    store.layers.save({ diffId, size, snapshot: await one.commit(entries), blobs: [], sources: [] })
    const two = await store.snapshots.prepare()
    await two.commit()
    const three = await store.snapshots.prepare()
    store.blobs.writeBytes('used')
    store.records.save({ key: 'sha256:' + '1'.repeat(64), by: 'definition', layers: [diffId], layerTimes: [1], createdAt: 1, size: 0, components: {}, name: 'RUN used' })
    mkdirSync(process.argv[1] + '/cache-mounts/x', { recursive: true })
    if (!tryLock(openSync(process.argv[1] + '/cache-mounts/x.lock', 'a'), 'shared')) throw new Error('not locked')
    console.log(diffId)
    setTimeout(() => {}, 60000)
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, store.root], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await within(10_000, new Promise((resolve) => child.stdout.once('data', resolve)))
    const report = await collect(store, everything)
    assert.equal(report.removed, [])
    const { items } = await takeInventory(store.session, { signal: new AbortController().signal, whole: false })
    assert.ok(items.length > 0 && items.every(({ held }) => held !== undefined))
    assert.is(report.liveProcesses, 1)
    assert.is(countOf(store).snapshots, 2)
    assert.is(readdirSync(`${store.root}/active`).length, 1)
  } finally {
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('close', resolve))
  }
  await collect(store, everything)
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
  await collect(store)
  assert.ok(store.images.isWhole(id))
})

/** Collects in a process that kills itself at its n-th change of the disk. */
const killedCollection = `
  import fs from 'node:fs'
  import { syncBuiltinESMExports } from 'node:module'
  let left = Number(process.argv[2])
  for (const name of ['renameSync', 'rmSync', 'unlinkSync', 'rmdirSync', 'mkdirSync', 'openSync', 'utimesSync']) {
    const original = fs[name]
    fs[name] = (...args) => {
      if (name !== 'openSync' || args[1] !== 'r') left -= 1
      if (left < 0) process.kill(process.pid, 'SIGKILL')
      return original(...args)
    }
  }
  syncBuiltinESMExports()
  const { openStore } = await import(${JSON.stringify(new URL('../../src/store/store.js', import.meta.url).href)})
  const { collect, everything } = await import(${JSON.stringify(new URL('../helpers/collect.js', import.meta.url).href)})
  const store = await openStore(process.argv[1])
  await collect(store, everything)
  await store[Symbol.asyncDispose]()
`

test('a collection that is killed at any moment leaves a sound store, and the next one ends it', async () => {
  let id = digestOf('')
  await using template = await filledStore(async (writer) => {
    const layers = [await makeLayer(writer, 'a'), await makeLayer(writer, 'b'), await makeLayer(writer, 'c')]
    const [a, b, c] = layers.map(({ diffId }) => diffId) as [DiffID, DiffID, DiffID]
    id = makeImage(writer, 'kept', [a], true)
    makeImage(writer, 'dangling', [a, b], false)
    makeRecord(writer, 'RUN b', [a, b])
    makeRecord(writer, 'RUN c', [a, c])
    mkdirSync(`${writer.root}/cache-mounts/x`, { recursive: true })
    writeFileSync(`${writer.root}/cache-mounts/x/file`, 'cached')
    writeFileSync(`${writer.directory('memo')}/m`, 'memo')
  })
  await using place = tempDirectory()
  let kills = 0
  for (let calls = 0; ; calls += 4) {
    const root = `${place.path}/${calls}`
    cpSync(template.root, root, { recursive: true, preserveTimestamps: true })
    const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', killedCollection, root, `${calls}`], {
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    {
      await using reader = await openStore(root)
      assert.ok(reader.images.isWhole(id), `after ${calls} calls`)
      assert.equal(await verifyStore(reader, {}, new AbortController().signal), [], `after ${calls} calls`)
    }
    await using store = await openStore(root)
    await collect(store, everything)
    assert.ok(store.images.isWhole(id))
    assert.equal(countOf(store), { images: 1, layers: 1, snapshots: 1, lists: 1, blobs: 1 }, `after ${calls} calls`)
    for (const folder of ['tmp', 'cache-mounts', 'memo']) assert.equal(readdirSync(`${root}/${folder}`), [])
    if (signal === null) break
    kills += 1
  }
  assert.ok(kills > 10, `${kills} kills`)
})

test('when time is up, or Ctrl-C comes, the next collection goes on', async () => {
  await using store = await filledStore(async (writer) => {
    makeRecord(writer, 'RUN', [(await makeLayer(writer, 'a')).diffId])
  })
  const controller = new AbortController()
  const rule = { matches: () => true, shared: true, internal: true, namedImages: false, reason: 'test' }
  const options = { rules: [rule], unreferenced: true, dryRun: false, signal: controller.signal }
  assert.not(isCollectionDue(store.root, true, unlimited, Date.now()))
  const report = await collectGarbage(store, { ...options, budgetMs: 0 })
  assert.not(report.isFinished)
  assert.is(report.removed.length, 1)
  assert.ok(readdirSync(`${store.root}/tmp`).length > 0)
  assert.ok(isCollectionDue(store.root, true, unlimited, Date.now()))
  controller.abort()
  await rejectsWith('AbortError', collectGarbage(store, options))
  assert.ok((await collect(store)).isFinished)
  assert.equal(readdirSync(`${store.root}/tmp`), [])
  assert.not(isCollectionDue(store.root, true, unlimited, Date.now()))
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
      const rule = { matches: ({ type }) => type === 'regular' || (i % 3 > 0 && type === 'image'), shared: true, internal: true, namedImages: false, reason: 'test' }
      await collectGarbage(store, { rules: [rule], unreferenced: true, dryRun: false, signal: new AbortController().signal })
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

test.run()
