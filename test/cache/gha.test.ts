/** What only the cache service of GitHub Actions has: branches, reservations, blocks, limits on requests. */
import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CacheBackend } from '../../src/cache/backend.js'
import { ghaBackend } from '../../src/cache/gha-backend.js'
import { scopesOf } from '../../src/cache/gha-service.js'
import { quietContext } from '../../src/core/context.js'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import { digestOf } from '../../src/core/digest.js'
import { plainTransport } from '../helpers/cache-places.js'
import { rejects } from '../helpers/failure.js'
import { startGha, type TestGha } from '../helpers/gha-server.js'
import { within } from '../helpers/within.js'

const ctx = quietContext()

function open(gha: TestGha, token: string): CacheBackend {
  return ghaBackend({ url: gha.url, token }, plainTransport(), { blockBytes: 100_000, patienceMs: 200, firstDelayMs: 10 })
}

function blobOf(bytes: Buffer): Descriptor {
  return { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(bytes), size: bytes.length }
}

async function put(backend: CacheBackend, bytes: Buffer): Promise<string> {
  const bytesOf = async function* (): AsyncGenerator<Uint8Array, void, void> {
    for (let at = 0; at < bytes.length; at += 70_000) yield bytes.subarray(at, at + 70_000)
  }
  return backend.putBlob(blobOf(bytes), async () => bytesOf(), [], 'x', ctx)
}

async function manifests(backend: CacheBackend): Promise<string[]> {
  return (await backend.readManifests(ctx)).map(({ bytes }) => bytes.toString())
}

test('large blobs go in blocks, and come back', async () => {
  await using gha = await startGha()
  await using backend = open(gha, gha.token('refs/heads/main'))
  for (const size of [0, 100_000, 100_001, 200_000, 350_000]) {
    const bytes = randomBytes(size)
    assert.is(await put(backend, bytes), 'uploaded')
    assert.ok((await backend.readBlob(blobOf(bytes), 400_000, ctx)).equals(bytes))
  }
  const done = gha.requests.filter((line) => line.startsWith('PUT')).map((line) => line.split(' ')[3])
  const counts = ['whole', 'block', 'blocklist'].map((what) => done.filter((each) => each === what).length)
  assert.equal(counts, [1, 2 + 2 + 4, 4])
  assert.equal(gha.mistakes, [])
})

test('a job reads the caches of its own and of the main branch, and writes its own', async () => {
  await using gha = await startGha()
  await using main = open(gha, gha.token('refs/heads/main'))
  await using feature = open(gha, gha.token('refs/heads/feature', 'refs/heads/main'))
  await main.swap(Buffer.from('of main'), [], ctx)
  assert.equal(await manifests(feature), ['of main'])
  await feature.swap(Buffer.from('of feature'), await feature.readManifests(ctx), ctx)
  assert.equal((await manifests(feature)).sort(), ['of feature', 'of main'])
  assert.equal(await manifests(main), ['of main'])
  const bytes = Buffer.from('layer')
  assert.is(await put(main, bytes), 'uploaded')
  assert.is(await put(feature, bytes), 'existed')
  const own = Buffer.from('own layer')
  assert.is(await put(feature, own), 'uploaded')
  assert.is(await main.hasBlob(blobOf(own), ctx), false)
})

test('of two who write the same number one has written, and the other reads again', async () => {
  await using gha = await startGha()
  await using one = open(gha, gha.token('main'))
  await using two = open(gha, gha.token('main'))
  const [read, same] = [await one.readManifests(ctx), await two.readManifests(ctx)]
  assert.is(await one.swap(Buffer.from('first'), read, ctx), true)
  assert.is(await two.swap(Buffer.from('second'), same, ctx), false)
  assert.is(await two.swap(Buffer.from('second'), await two.readManifests(ctx), ctx), true)
  assert.equal(await manifests(one), ['second'])
  assert.equal(
    gha.entries.map(({ key }) => key.slice(key.indexOf('#'))),
    ['#1', '#2'],
  )
})

test('what a killed job reserved and never wrote is stepped over', async () => {
  await using gha = await startGha()
  await using backend = open(gha, gha.token('main'))
  const bytes = Buffer.from('layer')
  assert.is(await put(backend, bytes), 'uploaded')
  await backend.swap(Buffer.from('first'), [], ctx)
  for (const entry of gha.entries) entry.finished = false
  assert.is(await put(backend, bytes), 'uploaded')
  assert.ok((await backend.readBlob(blobOf(bytes), 100, ctx)).equals(bytes))
  assert.is(await backend.swap(Buffer.from('second'), await backend.readManifests(ctx), ctx), true)
  assert.equal(await manifests(backend), ['second'])
})

test('limits, errors of the service and cut connections are waited for and gone on from', async () => {
  const bytes = randomBytes(300_000)
  const asked = new Set<string>()
  const ranges: (string | undefined)[] = []
  await using gha = await startGha((request, response, body) => {
    // Each request is refused when it comes first.
    const name = `${request.method} ${request.url} ${request.headers.range} ${body.length < 1000 ? body : body.length}`
    if (!asked.has(name)) {
      asked.add(name)
      const status = [429, 503, 500][asked.size % 3] ?? 429
      response.writeHead(status, { 'retry-after': '0' }).end('{"code":"resource_exhausted","msg":"slower"}')
      return true
    }
    if (request.method !== 'GET') return false
    ranges.push(request.headers.range)
    if (ranges.length > 1) return false
    response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 120_000), () => response.destroy())
    return true
  })
  await using backend = open(gha, gha.token('main'))
  assert.is(await within(30_000, put(backend, bytes)), 'uploaded')
  assert.ok((await within(30_000, backend.readBlob(blobOf(bytes), 300_000, ctx))).equals(bytes))
  assert.match(ranges.find((range) => range !== undefined) ?? '', /^bytes=\d+-$/)
})

test('who may not is told so', async () => {
  await using gha = await startGha()
  await using stranger = open(gha, 'a.b.c')
  await rejects('CACHE_DENIED', stranger.readManifests(ctx))
  const [head, , tail] = gha.token('main').split('.')
  const access = [{ Scope: 'refs/heads/main', Permission: 1 }]
  const claims = Buffer.from(JSON.stringify({ ac: JSON.stringify(access) })).toString('base64url')
  await using reader = open(gha, `${head}.${claims}.${tail}`)
  await rejects('CACHE_DENIED', reader.swap(Buffer.from('x'), [], ctx))
  assert.equal(scopesOf(`${head}.${claims}.${tail}`), [{ scope: 'refs/heads/main', mayRead: true, mayWrite: false }])
  for (const odd of ['', 'no token', 'a.e30.c', `a.${Buffer.from('{"ac":"[1,{}]"}').toString('base64url')}.c`])
    assert.equal(scopesOf(odd), [])
})

test.run()
