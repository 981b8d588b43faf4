/** Processes on one store: killed ones, ones that write the same, and ones that only read. */
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Digest, diffIdFromHex, digestOf } from '../../src/core/digest.js'
import { openStore } from '../../src/store/store.js'
import { tempDirectory, tempStore } from '../helpers/temp-store.js'
import { within } from '../helpers/within.js'
import { recordOf } from './contents.js'

test('what a killed process was writing is gone after the next one', async () => {
  await using directory = tempDirectory()
  const child = startWriter(directory.path)
  await within(10_000, child.ready)
  const [lease = ''] = readdirSync(`${directory.path}/active`)
  assert.is(readdirSync(`${directory.path}/tmp`).length, 1)
  {
    await using other = await openStore(directory.path)
    await other.snapshots.prepare()
  }
  assert.ok(existsSync(`${directory.path}/active/${lease}`), 'a living writer is left alone')
  await child.kill()
  {
    await using other = await openStore(directory.path)
    await using _ = await other.snapshots.prepare()
  }
  assert.equal(readdirSync(`${directory.path}/active`), [])
  assert.equal(readdirSync(`${directory.path}/tmp`), [])
  assert.equal(readdirSync(`${directory.path}/leases`), [])
})

test('processes that write the same things at once agree', async () => {
  await using directory = tempDirectory()
  const script = `
    import { openStore } from ${JSON.stringify(new URL('../../src/store/store.js', import.meta.url).href)}
    import { digestLayer } from ${JSON.stringify(new URL('../../src/layer/digest.js', import.meta.url).href)}
    import { writeFileSync, utimesSync } from 'node:fs'
    const store = await openStore(process.argv[1])
    for (let i = 0; i < 20; i++) {
      async function* bytes() { for (let j = 0; j < 10; j++) { yield Buffer.alloc(1000, i); await new Promise(setImmediate) } }
      await store.blobs.write(bytes(), undefined, new AbortController().signal)
      const snapshot = await store.snapshots.prepare()
      writeFileSync(snapshot.upper + '/file', 'content ' + i)
      utimesSync(snapshot.upper + '/file', 1, 1)
      const { diffId, size, entries } = digestLayer(snapshot.upper)
      const saved = store.layers.save({ diffId, size, snapshot: await snapshot.commit(entries), blobs: [], sources: [process.argv[2]] })
      store.records.save({ key: diffId, by: 'content', layers: [diffId], layerTimes: [1], createdAt: 1, size, components: {}, name: saved.snapshot })
      await snapshot[Symbol.asyncDispose]()
    }
    await store[Symbol.asyncDispose]()
  `
  const runs = ['one', 'two', 'three'].map((name) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, directory.path, name], { stdio: 'inherit' })
    return new Promise<number | null>((resolve) => child.on('close', resolve))
  })
  assert.equal(await within(60_000, Promise.all(runs)), [0, 0, 0])
  await using store = await openStore(directory.path)
  const blobs = readdirSync(`${directory.path}/blobs/sha256`)
  assert.is(blobs.length, 20)
  for (const hex of blobs) {
    assert.is(
      createHash('sha256')
        .update(readFileSync(`${directory.path}/blobs/sha256/${hex}`))
        .digest('hex'),
      hex,
    )
  }
  const layers = readdirSync(`${directory.path}/layers`)
  assert.is(layers.length, 20)
  const used = layers.map((file) => {
    const diffId = diffIdFromHex(file.replace('.json', ''))
    const layer = store.layers.find(diffId)
    assert.equal([...(layer?.sources ?? [])].sort(), ['one', 'three', 'two'])
    assert.is(store.records.find(diffId as string as Digest)?.layers[0], diffId)
    return layer?.snapshot ?? ''
  })
  const kept = readdirSync(`${directory.path}/snapshots`).filter((name) => !name.endsWith('.entries'))
  assert.equal(kept.sort(), used.sort())
})

test('a store that only reads takes no lease and loads no libc', async () => {
  await using store = await tempStore()
  const record = recordOf('RUN x', [])
  store.records.save(record)
  store.images.save({
    id: digestOf('config'),
    platform: { os: 'linux', architecture: 'amd64' },
    diffIds: [],
    storedAt: 1,
    manifests: [],
  })
  store.images.setTag({ reference: 'docker.io/library/x:latest', image: digestOf('config') })
  const script = `
    import { openStore } from ${JSON.stringify(new URL('../../src/store/store.js', import.meta.url).href)}
    const store = await openStore(${JSON.stringify(store.root)})
    store.records.find(${JSON.stringify(record.key)})
    store.images.save({ id: ${JSON.stringify(digestOf('config2'))}, platform: { os: 'linux', architecture: 'amd64' }, diffIds: [], storedAt: 1, manifests: [] })
    store.images.setTag({ reference: 'docker.io/library/x:latest', image: ${JSON.stringify(digestOf('config2'))} })
    store.blobs.writeBytes('config')
    await store[Symbol.asyncDispose]()
    console.log(process.report.getReport().sharedObjects.some((path) => path.includes('koffi')))
  `
  assert.is(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }), 'false\n')
  assert.not(existsSync(`${store.root}/leases`))
})

interface Writer {
  readonly ready: Promise<unknown>
  kill(): Promise<void>
}

/** A process that is in the middle of writing a snapshot and a blob, until it is killed. */
function startWriter(root: string): Writer {
  const script = `
    import { openStore } from ${JSON.stringify(new URL('../../src/store/store.js', import.meta.url).href)}
    import { writeFileSync } from 'node:fs'
    const store = await openStore(process.argv[1])
    const snapshot = await store.snapshots.prepare()
    writeFileSync(snapshot.upper + '/file', 'half')
    async function* endless() { yield Buffer.alloc(100); console.log('ready'); await new Promise((resolve) => setTimeout(resolve, 60000)) }
    await store.blobs.write(endless(), undefined, new AbortController().signal)
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, root], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: fileURLToPath(new URL('.', import.meta.url)),
  })
  const closed = new Promise<void>((resolve) => child.on('close', () => resolve()))
  return {
    ready: new Promise((resolve) => child.stdout.once('data', resolve)),
    async kill() {
      child.kill('SIGKILL')
      await closed
    },
  }
}

test.run()
