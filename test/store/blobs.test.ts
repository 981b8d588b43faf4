/** Blobs: whole under their digest, or not there. */
import { randomBytes } from 'node:crypto'
import { readdirSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { diffIdFromHex, digestOf, hexOf } from '../../src/core/digest.js'
import { collect } from '../../src/io/stream.js'
import { openStore } from '../../src/store/store.js'
import { rejects } from '../helpers/failure.js'
import { tempStore } from '../helpers/temp-store.js'
import { makeLayer } from './contents.js'

const never = new AbortController().signal

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

test.run()
