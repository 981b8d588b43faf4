/** Layers, records, images and names: found again by other processes, and missing where they are damaged. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { digestFromHex, digestOf, hexOf } from '../../src/core/digest.js'
import type { BuildError } from '../../src/core/errors.js'
import { openStore } from '../../src/store/store.js'
import type { LayerRecord, StoredImage } from '../../src/store/types.js'
import { rejects } from '../helpers/failure.js'
import { tempDirectory, tempStore } from '../helpers/temp-store.js'
import { makeLayer, recordOf } from './contents.js'

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

test.run()
