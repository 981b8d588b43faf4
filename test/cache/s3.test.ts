/** What only buckets have: parts, young and old objects, rights, servers that are busy or cut connections. */
import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { emptyDocument } from '../../src/cache/document.js'
import type { S3CacheSettings } from '../../src/cache/places.js'
import { parseS3Source, s3Backend } from '../../src/cache/s3-backend.js'
import { writeCache } from '../../src/cache/write.js'
import type { BuildEvent, Context } from '../../src/core/context.js'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import { digestOf } from '../../src/core/digest.js'
import { plainTransport } from '../helpers/cache-places.js'
import { rejects } from '../helpers/failure.js'
import { startS3 } from '../helpers/s3-server.js'

const partBytes = 5 << 20
const dayMs = 86_400_000

function quiet(events: BuildEvent[] = []): Context {
  return { signal: new AbortController().signal, emit: (event) => events.push(event) }
}

function open(settings: S3CacheSettings, now = Date.now): ReturnType<typeof s3Backend> {
  return s3Backend(settings, plainTransport(), { now, partBytes })
}

function blobOf(bytes: Buffer): Descriptor {
  return { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(bytes), size: bytes.length }
}

function opener(bytes: Buffer): () => Promise<AsyncIterable<Uint8Array>> {
  return async () =>
    (async function* () {
      for (let at = 0; at < bytes.length; at += 70_000) yield bytes.subarray(at, at + 70_000)
    })()
}

test('an upload with wrong bytes, in parts or whole, leaves nothing behind', async () => {
  await using s3 = await startS3()
  await using backend = open(s3.settings)
  for (const size of [1000, 2 * partBytes + 7]) {
    const blob = blobOf(randomBytes(size))
    await rejects('CACHE_EXPORT_FAILED', backend.putBlob(blob, opener(randomBytes(size)), [], 'x', quiet()))
    assert.is(await backend.hasBlob(blob, quiet()), false)
  }
  assert.is(s3.requests.filter((line) => /^DELETE .*uploadId=/.test(line)).length, 1)
})

test('a blob that is used again after a day is made young, an older upload of another size is replaced', async () => {
  const copies: unknown[] = []
  await using s3 = await startS3(({ headers }) => {
    if (headers['x-amz-copy-source'] !== undefined) copies.push(headers['x-amz-copy-source'])
    return false
  })
  const bytes = randomBytes(1000)
  const blob = blobOf(bytes)
  await using today = open(s3.settings)
  assert.is(await today.putBlob(blob, opener(bytes), [], 'x', quiet()), 'uploaded')
  assert.is(await today.putBlob(blob, opener(bytes), [], 'x', quiet()), 'existed')
  assert.is(copies.length, 0)
  await using later = open({ ...s3.settings, touchRefreshMs: 2 * dayMs }, () => Date.now() + 3 * dayMs)
  assert.is(await later.hasBlob(blob, quiet()), true)
  assert.equal(copies, [`caches/team/blobs/${blob.digest}`])
  assert.ok((await later.readBlob(blob, 1000, quiet())).equals(bytes))
  assert.is(await later.hasBlob({ ...blob, size: 999 }, quiet()), false)
})

test('who may not delete is told so, and loses nothing', async () => {
  await using s3 = await startS3(({ method }, response) => {
    if (method !== 'DELETE') return false
    response.writeHead(403, { 'content-type': 'application/xml' })
    response.end('<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>')
    return true
  })
  const events: BuildEvent[] = []
  await using backend = open(s3.settings)
  await writeCache(backend, emptyDocument, 1, 'x', quiet())
  await backend.swap(Buffer.from('{}'), await backend.readManifests(quiet()), quiet(events))
  assert.is((await backend.readManifests(quiet())).length, 2)
  assert.ok(events.some((event) => event.type === 'warning' && /DeleteObject/.test(event.diagnostic.hint ?? '')))
})

test('several names are written, and read together', async () => {
  await using s3 = await startS3()
  await using both = open({ ...s3.settings, names: ['abc123', 'main'] })
  await using one = open({ ...s3.settings, names: ['main'] })
  await both.swap(Buffer.from('{"a":1}'), [], quiet())
  await one.swap(Buffer.from('{"b":1}'), [], quiet())
  const texts = async (backend: typeof one): Promise<string[]> => [
    ...new Set((await backend.readManifests(quiet())).map(({ bytes }) => bytes.toString())),
  ]
  assert.equal((await texts(both)).sort(), ['{"a":1}', '{"b":1}'])
  assert.equal((await texts(one)).sort(), ['{"a":1}', '{"b":1}'])
  await both.swap(Buffer.from('{"c":1}'), await both.readManifests(quiet()), quiet())
  assert.equal(await texts(both), ['{"c":1}'])
})

test('a download that is cut goes on where it stopped, and a busy server is asked again', async () => {
  const bytes = randomBytes(300_000)
  const blob = blobOf(bytes)
  const ranges: (string | undefined)[] = []
  let busy = 0
  await using s3 = await startS3(({ method, url, headers }, response) => {
    if (method !== 'GET' || !url?.includes('blobs')) return false
    if (busy++ < 2) {
      response.writeHead(503, { 'content-type': 'application/xml' })
      response.end('<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>slower</Message></Error>')
      return true
    }
    ranges.push(headers.range)
    if (ranges.length > 1) return false
    response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 100_000), () => response.destroy())
    return true
  })
  await using backend = open(s3.settings)
  await backend.putBlob(blob, opener(bytes), [], 'x', quiet())
  assert.ok((await backend.readBlob(blob, 300_000, quiet())).equals(bytes))
  assert.is(ranges.length, 2)
  assert.match(ranges[1] ?? '', /^bytes=\d+-$/)
})

test('what is wrong with a bucket is said, and the name of a place has no secrets', async () => {
  await using s3 = await startS3()
  await using wrongKey = open({ ...s3.settings, secretAccessKey: 'another' })
  await rejects('CACHE_DENIED', wrongKey.readManifests(quiet()))
  await using nowhere = open({ ...s3.settings, bucket: 'other' })
  await rejects('CACHE_UNREACHABLE', nowhere.readManifests(quiet()))
  await using deaf = open({ ...s3.settings, endpointUrl: 'http://127.0.0.1:1', retryMaxAttempts: 1 })
  await rejects('CACHE_UNREACHABLE', deaf.readManifests(quiet()))
  const { accessKeyId: _id, secretAccessKey: _key, ...open_ } = s3.settings
  assert.not.match(wrongKey.source, /another/)
  const known = Object.fromEntries(
    Object.entries(parseS3Source(wrongKey.source) ?? {}).filter(([, value]) => value !== undefined),
  )
  assert.equal(known, open_)
})

test.run()
