import { execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DiffID, type Digest, diffIdFromHex, digestFromHex, digestOf, hexOf } from '../../src/core/digest.js'
import type { BuildError, ErrorCode } from '../../src/core/errors.js'
import { collect } from '../../src/io/stream.js'
import { digestLayer } from '../../src/layer/digest.js'
import { type OpenedStore, openStore } from '../../src/store/store.js'
import type { LayerRecord, StoredImage, StoredRecord } from '../../src/store/types.js'
import { tempDirectory, tempStore } from '../helpers/temp-store.js'
import { within } from '../helpers/within.js'

const never = new AbortController().signal

async function rejects(code: ErrorCode, work: Promise<unknown>): Promise<BuildError> {
  try {
    await work
  } catch (error) {
    assert.is((error as BuildError).code, code, String(error))
    return error as BuildError
  }
  assert.unreachable(`expected ${code}`)
  throw new Error('unreachable')
}

async function makeLayer(store: OpenedStore, content: string): Promise<LayerRecord> {
  await using snapshot = await store.snapshots.prepare()
  writeFileSync(`${snapshot.upper}/file`, content)
  mkdirSync(`${snapshot.upper}/directory`)
  const { diffId, contentId, size, entries } = digestLayer(snapshot.upper)
  return store.layers.save({ diffId, contentId, size, snapshot: await snapshot.commit(entries), blobs: [], sources: [] })
}

function recordOf(name: string, layers: readonly DiffID[]): StoredRecord {
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

test('a blob is found again with its bytes', async () => {
  await using store = await tempStore()
  const bytes = randomBytes(3 << 20)
  const { digest, size } = await store.blobs.write(Readable.from([bytes.subarray(0, 5), bytes.subarray(5)]), undefined, never)
  assert.is(digest, digestOf(bytes))
  assert.is(size, bytes.length)
  assert.ok(store.blobs.has(digest))
  assert.ok((await collect(store.blobs.open({ digest, size }))).equals(bytes))
  assert.is((await store.blobs.read({ digest }, 4 << 20)).length, size)
  assert.is(await store.blobs.write(Readable.from([bytes]), { digest, size }, never).then((again) => again.digest), digest)
  assert.is(store.blobs.writeBytes('text'), digestOf('text'))
  assert.is((await store.blobs.read({ digest: digestOf('text') })).toString(), 'text')
})

test('bytes that are not what was expected are refused and leave nothing', async () => {
  await using store = await tempStore()
  const digest = digestOf('expected')
  await rejects('STORE_DIGEST_MISMATCH', store.blobs.write(Readable.from([Buffer.from('different')]), { digest }, never))
  await rejects('STORE_SIZE_MISMATCH', store.blobs.write(Readable.from([Buffer.from('expected')]), { digest, size: 7 }, never))
  await rejects('STORE_SIZE_MISMATCH', store.blobs.write(Readable.from([Buffer.from('expect')]), { digest, size: 8 }, never))
  assert.not(store.blobs.has(digest))
  assert.equal(readdirSync(`${store.root}/tmp`), [])
})

test('a damaged blob is an error once and missing afterwards', async () => {
  await using store = await tempStore()
  for (const damage of [(path: string) => writeFileSync(path, 'b'.repeat(100)), (path: string) => truncateSync(path, 50)]) {
    const digest = store.blobs.writeBytes('a'.repeat(100))
    damage(store.blobs.pathOf(digest))
    await rejects('STORE_DIGEST_MISMATCH', collect(store.blobs.open({ digest })))
    assert.not(store.blobs.has(digest))
    await rejects('STORE_BLOB_MISSING', collect(store.blobs.open({ digest })))
    assert.is(store.blobs.writeBytes('a'.repeat(100)), digest)
    truncateSync(store.blobs.pathOf(digest), 99)
    await rejects('STORE_SIZE_MISMATCH', store.blobs.read({ digest, size: 100 }))
    assert.not(store.blobs.has(digest))
  }
})

test('asking for what is not there does not keep it from being written', async () => {
  await using store = await tempStore()
  assert.not(store.blobs.has(digestOf('new')))
  assert.is(store.layers.find(diffIdFromHex('0'.repeat(64))), undefined)
  const { digest } = await store.blobs.write(Readable.from([Buffer.from('new')]), undefined, never)
  assert.ok(store.blobs.has(digest))
})

test('a wrong size in a descriptor does not cost a sound blob', async () => {
  await using store = await tempStore()
  const digest = store.blobs.writeBytes('sound')
  await rejects('STORE_SIZE_MISMATCH', store.blobs.read({ digest, size: 4 }))
  await rejects('STORE_SIZE_MISMATCH', collect(store.blobs.open({ digest, size: 4 })))
  await rejects('STORE_SIZE_MISMATCH', collect(store.blobs.open({ digest, size: 6 })))
  assert.is((await store.blobs.read({ digest, size: 5 })).toString(), 'sound')
})

test('a process that relied on what was pruned before it wrote is told so', async () => {
  await using store = await tempStore()
  const layer = await makeLayer(store, 'x')
  await using reader = await openStore(store.root)
  assert.ok(reader.layers.find(layer.diffId))
  unlinkSync(`${store.root}/layers/${hexOf(layer.diffId)}.json`)
  await rejects('STORE_SNAPSHOT_MISSING', reader.snapshots.prepare())
})

test('a writer that is stopped leaves nothing behind', async () => {
  await using store = await tempStore()
  const controller = new AbortController()
  async function* slow(): AsyncGenerator<Buffer> {
    yield Buffer.from('some')
    controller.abort()
    yield Buffer.from('more')
  }
  let message = ''
  await store.blobs.write(slow(), undefined, controller.signal).catch((error: Error) => {
    message = error.name
  })
  assert.is(message, 'AbortError')
  assert.equal(readdirSync(`${store.root}/tmp`), [])
})

test('a layer, a record, an image and a name are found by another process', async () => {
  await using store = await tempStore()
  const layer = await makeLayer(store, 'content')
  const record = recordOf('RUN one', [layer.diffId])
  store.records.save(record)
  const id = store.blobs.writeBytes('{"config":true}')
  const image: StoredImage = {
    id,
    platform: { os: 'linux', architecture: 'amd64' },
    diffIds: [layer.diffId],
    storedAt: 5,
    manifests: [],
  }
  store.images.save(image)
  store.images.setTag({ reference: 'docker.io/library/a:1', image: id })
  await using other = await openStore(store.root)
  assert.equal(other.layers.find(layer.diffId), layer)
  assert.is(readFileSync(`${other.snapshots.pathOf(layer.snapshot ?? '')}/file`, 'utf8'), 'content')
  assert.equal(other.records.find(record.key), record)
  assert.equal(other.images.get(id), image)
  assert.equal(other.images.find('docker.io/library/a:1'), image)
  assert.equal(other.images.find(id), image)
  assert.equal(other.images.find(hexOf(id).slice(0, 5)), image)
  assert.is(other.images.find('nothing'), undefined)
  assert.ok(other.images.isWhole(id))
  assert.is(other.images.tags().length, 1)
  assert.ok(other.images.removeTag('docker.io/library/a:1'))
  assert.not(other.images.removeTag('docker.io/library/a:1'))
  other.images.remove(id)
  assert.equal(store.images.list(), [])
})

test('a prefix of two ids is an error', async () => {
  await using store = await tempStore()
  for (const end of ['0', '1']) {
    const id = digestFromHex('ab'.padEnd(63, '0') + end)
    store.images.save({ id, platform: { os: 'linux', architecture: 'amd64' }, diffIds: [], storedAt: 1, manifests: [] })
  }
  assert.throws(
    () => store.images.find('ab'),
    (error: BuildError) => error.code === 'IMAGE_AMBIGUOUS',
  )
})

test('a record that is torn, foreign or changed counts as missing', async () => {
  await using store = await tempStore()
  const record = recordOf('RUN x', [])
  const path = `${store.root}/records/${hexOf(record.key).slice(0, 2)}/${hexOf(record.key)}.json`
  store.records.save(record)
  const good = readFileSync(path, 'utf8')
  const damaged = [
    '',
    good.slice(0, good.length / 2),
    good.replace('RUN x', 'RUN y'),
    '{"value":{},"sha256":"no"}\n',
    '\0'.repeat(good.length),
    'null',
  ]
  for (const text of damaged) {
    writeFileSync(path, text)
    assert.is(store.records.find(record.key), undefined, JSON.stringify(text))
  }
  writeFileSync(path, good)
  assert.equal(store.records.find(record.key), record)
  const other = digestOf('other')
  mkdirSync(`${store.root}/records/${hexOf(other).slice(0, 2)}`, { recursive: true })
  writeFileSync(`${store.root}/records/${hexOf(other).slice(0, 2)}/${hexOf(other)}.json`, good)
  assert.is(store.records.find(other), undefined, 'a record under the name of another')
})

test('a layer without its files is missing, unless a blob can replace it', async () => {
  await using store = await tempStore()
  const layer = await makeLayer(store, 'here')
  rmSync(store.snapshots.pathOf(layer.snapshot ?? ''), { recursive: true })
  await using other = await openStore(store.root)
  assert.is(other.layers.find(layer.diffId), undefined)
  assert.not(store.layers.arePresent([layer.diffId]))
  const digest = store.blobs.writeBytes('blob')
  store.layers.save({ ...layer, blobs: [{ mediaType: 'x', digest, size: 4 }] })
  await using third = await openStore(store.root)
  assert.is(third.layers.find(layer.diffId)?.snapshot, undefined)
  assert.is(third.layers.find(layer.diffId)?.blobs.length, 1)
})

test('after the machine went down only whole snapshots are believed', async () => {
  await using store = await tempStore({ bootId: 'first' })
  const whole = await makeLayer(store, 'whole')
  const short = await makeLayer(store, 'short')
  const missing = await makeLayer(store, 'missing')
  const unlisted = await makeLayer(store, 'unlisted')
  const snapshot = ({ snapshot: id }: LayerRecord): string => store.snapshots.pathOf(id ?? '')
  truncateSync(`${snapshot(short)}/file`, 0)
  unlinkSync(`${snapshot(missing)}/file`)
  unlinkSync(`${snapshot(unlisted)}.entries`)
  const same = await openStore(store.root, { bootId: 'first' })
  assert.ok(same.layers.find(short.diffId))
  const next = await openStore(store.root, { bootId: 'second' })
  assert.equal(next.layers.find(whole.diffId), whole)
  for (const layer of [short, missing, unlisted]) assert.is(next.layers.find(layer.diffId), undefined)
  unlinkSync(`${snapshot(whole)}/file`)
  const later = await openStore(store.root, { bootId: 'second' })
  assert.ok(later.layers.find(whole.diffId), 'compared once in each boot')
})

test('of two snapshots for one layer the first stays', async () => {
  await using store = await tempStore()
  const first = await makeLayer(store, 'same')
  {
    await using other = await openStore(store.root)
    const second = await makeLayer(other, 'same')
    assert.is(second.snapshot, first.snapshot)
  }
  const snapshots = readdirSync(`${store.root}/snapshots`).filter((name) => !name.endsWith('.entries'))
  assert.equal(snapshots, [first.snapshot])
})

test('a store of a newer version is refused, a damaged version file is not', async () => {
  await using directory = tempDirectory()
  await openStore(directory.path)
  writeFileSync(`${directory.path}/version.json`, '{"version":2}')
  await rejects('STORE_NEWER_VERSION', openStore(directory.path))
  writeFileSync(`${directory.path}/version.json`, '')
  await openStore(directory.path)
  assert.match(readFileSync(`${directory.path}/version.json`, 'utf8'), '"version":1')
})

test('no space and no permission are said with bytes and path', async () => {
  await using directory = tempDirectory()
  const script = `
    import { openStore } from ${JSON.stringify(new URL('../../src/store/store.js', import.meta.url).href)}
    import { Readable } from 'node:stream'
    const store = await openStore(process.argv[1])
    const bytes = Readable.from(Array.from({ length: 64 }, () => Buffer.alloc(65536, Math.random() * 250)))
    const expected = { digest: 'sha256:' + '0'.repeat(64), size: 4194304 }
    await store.blobs.write(bytes, expected, new AbortController().signal).catch((error) => console.log(error.code, error.message))
  `
  const mounted = `${directory.path}/small`
  mkdirSync(mounted)
  const run = (shell: string): string =>
    execFileSync('unshare', ['-m', 'sh', '-c', shell, 'sh', process.execPath, script, mounted], { encoding: 'utf8' })
  const full = run('mount -t tmpfs -o size=1m none "$3" && exec "$1" --input-type=module -e "$2" "$3"')
  assert.match(full, /^STORE_NO_SPACE no space left for 4,194,304 bytes at .*blobs/)
  const frozen = run('mount -t tmpfs -o ro none "$3" && "$1" --input-type=module -e "$2" "$3" 2>&1 || true')
  assert.match(frozen, /STORE_NO_PERMISSION/)
})

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

test('reading fourteen records, an image and a name is quick', async () => {
  await using store = await tempStore()
  const layers: DiffID[] = []
  for (let i = 0; i < 14; i++) {
    layers.push((await makeLayer(store, `layer ${i}`)).diffId)
    store.records.save(recordOf(`RUN ${i}`, [...layers]))
  }
  const id = store.blobs.writeBytes('config')
  const started = performance.now()
  const warm = await openStore(store.root)
  for (let i = 0; i < 14; i++) {
    const found = warm.records.find(digestOf(`RUN ${i}`))
    assert.ok(found?.layers.every((layer) => warm.layers.find(layer)))
  }
  warm.images.save({ id, platform: { os: 'linux', architecture: 'amd64' }, diffIds: layers, storedAt: 1, manifests: [] })
  warm.images.setTag({ reference: 'docker.io/library/warm:latest', image: id })
  assert.ok(warm.images.isWhole(id))
  const ms = performance.now() - started
  assert.ok(ms < 100, `${ms} ms`)
  if (process.env.MILLE_TIMES) process.stdout.write(`warm store: ${ms.toFixed(1)} ms\n`)
  assert.ok(statSync(store.blobs.pathOf(id)).isFile())
})

test.run()
