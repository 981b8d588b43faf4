/** What every place of caches must do, against real servers: blobs, records of many writers, and what is damaged or hostile. */
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CacheBackend } from '../../src/cache/backend.js'
import { type CacheDocument, emptyDocument } from '../../src/cache/document.js'
import { readCache } from '../../src/cache/read.js'
import { printManifest, writeCache } from '../../src/cache/write.js'
import { canonicalJson } from '../../src/core/canonical.js'
import { quietContext } from '../../src/core/context.js'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import { type DiffID, digestOf } from '../../src/core/digest.js'
import { BuildError } from '../../src/core/errors.js'
import { collect } from '../../src/io/stream.js'
import { type PlaceKind, placeKinds, startPlace, type TestPlace, whyNoPlace } from '../helpers/cache-places.js'
import { within } from '../helpers/within.js'

const now = Date.now()
const ctx = quietContext()

/** A test for each kind of place. */
function forEachPlace(
  kinds: readonly PlaceKind[],
  title: string,
  work: (place: TestPlace, kind: PlaceKind) => Promise<void>,
): void {
  for (const kind of kinds) {
    test(`${kind}: ${title}`, async () => {
      const reason = whyNoPlace(kind)
      if (reason !== undefined) {
        console.log(`SKIP: ${reason}`)
        return
      }
      await using place = await startPlace(kind)
      await within(60_000, work(place, kind))
    })
  }
}

function blobOf(bytes: Buffer): Descriptor {
  return { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(bytes), size: bytes.length }
}

async function* pieces(bytes: Buffer, size = 100_000): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function put(backend: CacheBackend, bytes: Buffer): Promise<Descriptor> {
  const blob = blobOf(bytes)
  await backend.putBlob(blob, async () => pieces(bytes), [], 'test', ctx)
  return blob
}

/** A cache with one step that made `blob`. */
function documentOf(name: string, blob: Descriptor): CacheDocument {
  const diffId = `sha256:${createHash('sha256').update(name).digest('hex')}` as DiffID
  const record = {
    key: digestOf(`key ${name}`),
    by: 'definition' as const,
    layers: [diffId],
    layerTimes: [now],
    createdAt: now,
    size: 10,
    components: { instruction: name },
    name,
    contentKey: digestOf(`content ${name}`),
  }
  return {
    ...emptyDocument,
    layers: new Map([[diffId, { diffId, blob, size: 10 }]]),
    entries: new Map([[record.key, { record, usedAt: now }]]),
  }
}

async function namesIn(backend: CacheBackend): Promise<string[]> {
  const read = await readCache(backend, ctx)
  return [...(read?.document.entries.values() ?? [])].map(({ record }) => record.name).sort()
}

forEachPlace(placeKinds, 'a blob comes back as it went, and is sent once', async (place) => {
  await using backend = place.open()
  for (const size of [1, 1000, 20_000_000]) {
    const bytes = randomBytes(size)
    const blob = blobOf(bytes)
    assert.is(await backend.hasBlob(blob, ctx), false)
    assert.is(await backend.putBlob(blob, async () => pieces(bytes), [], 'test', ctx), 'uploaded')
    assert.is(await backend.hasBlob(blob, ctx), true)
    assert.is(await backend.putBlob(blob, async () => pieces(bytes), [], 'test', ctx), 'existed')
    assert.ok((await backend.readBlob(blob, size, ctx)).equals(bytes))
    let fetched: Buffer = Buffer.alloc(0)
    const write = async (stream: AsyncIterable<Uint8Array>): Promise<void> => {
      fetched = await collect(stream)
    }
    await backend.fetchBlob(blob, write, 'test', ctx)
    assert.ok(fetched.equals(bytes))
  }
})

forEachPlace(placeKinds, 'a blob that is gone, cut, longer or other bytes is never read', async (place) => {
  await using backend = place.open()
  const bytes = randomBytes(50_000)
  const blob = await put(backend, bytes)
  const spoiled = [
    (old: Buffer) => Buffer.concat([old.subarray(0, -1), Buffer.of((old.at(-1) ?? 0) ^ 1)]),
    () => Buffer.concat([bytes, Buffer.from('more')]),
    () => bytes.subarray(0, 30_000),
    () => undefined,
  ]
  for (const change of spoiled) {
    place.spoil((old, hex) => (blob.digest.endsWith(hex) ? change(old) : old))
    await refuses(backend.readBlob(blob, 100_000, ctx))
  }
})

forEachPlace(['registry', 's3', 'gha'], 'writers at the same moment erase nothing of one another', async (place) => {
  const writers = Array.from({ length: 6 }, (_, i) => `writer ${i}`)
  await Promise.all(
    writers.map(async (name) => {
      await using backend = place.open()
      const blob = await put(backend, Buffer.from(`blob of ${name}`))
      await writeCache(backend, documentOf(name, blob), now, 'test', ctx)
    }),
  )
  await using reader = place.open()
  assert.equal(await namesIn(reader), writers)
  // The next one leaves one manifest with everything.
  const blob = await put(reader, Buffer.from('last'))
  const written = await writeCache(reader, documentOf('last', blob), now, 'test', ctx)
  assert.is(written.records, writers.length + 1)
  assert.is((await reader.readManifests(ctx)).length, 1)
  assert.equal(await namesIn(reader), ['last', ...writers])
})

/** Records that claim more than is true; each is left out, or the cache is not taken. */
const hostile: Readonly<Record<string, (text: Record<string, unknown>, blob: Descriptor) => unknown>> = {
  'a version that is not known': (text) => ({ ...text, version: 2 }),
  'a blob that the manifest does not name': (text) => ({
    ...text,
    layers: [{ diffId: digestOf('x'), size: 10, blob: { mediaType: 'x', digest: digestOf('foreign'), size: 5 } }],
  }),
  'a blob of another size': (text, blob) => ({
    ...text,
    layers: [{ diffId: digestOf('x'), size: 10, blob: { ...blob, size: blob.size + 1 } }],
  }),
  'a layer that unpacks without end': (text, blob) => ({
    ...text,
    layers: [{ diffId: digestOf('x'), size: 1e12, blob }],
  }),
}

forEachPlace(placeKinds, 'a hostile cache is no cache, and is replaced', async (place, kind) => {
  for (const [what, change] of Object.entries(hostile)) {
    await using backend = place.open()
    const blob = await put(backend, Buffer.from('layer'))
    const { text } = printManifest(documentOf(what, blob), false)
    const records = Buffer.from(canonicalJson(change(JSON.parse(text.toString()) as Record<string, unknown>, blob) as never))
    await swapIn(backend, records, blob, (manifest) => manifest)
    assert.equal(await namesOrBad(backend), [], what)
  }
  await using backend = place.open()
  const blob = await put(backend, Buffer.from('layer'))
  if (backend.isPrivate) {
    const { text } = printManifest(documentOf('changed', blob), false)
    // Records that are not those that the manifest names.
    await swapIn(backend, text, blob, (manifest) => manifest.replace(/("data":"[^"]{40})./, '$1A'))
    assert.equal(await namesOrBad(backend), [])
    await backend.swap(Buffer.from('no JSON at all'), await backend.readManifests(ctx), ctx)
    assert.equal(await namesOrBad(backend), [])
  }
  const written = await writeCache(backend, documentOf('good', blob), now, 'test', ctx)
  assert.is(written.replaced === undefined, kind === 'local' || kind === 'registry')
  assert.equal(await namesIn(backend), ['good'])
})

/** Writes a manifest with these records, whatever they are. */
async function swapIn(
  backend: CacheBackend,
  records: Buffer,
  layer: Descriptor,
  change: (manifest: string) => string,
): Promise<void> {
  const { manifest, config } = printManifest(emptyDocument, false)
  await put(backend, records)
  const own = { ...config, digest: digestOf(records), size: records.length }
  const data = backend.isPrivate ? { data: records.toString('base64') } : {}
  const text = JSON.stringify({ ...(JSON.parse(manifest.toString()) as object), config: { ...own, ...data }, layers: [layer] })
  while (!(await backend.swap(Buffer.from(change(text)), await backend.readManifests(ctx), ctx)));
}

async function namesOrBad(backend: CacheBackend): Promise<string[]> {
  try {
    return await namesIn(backend)
  } catch (error) {
    assert.is(error instanceof BuildError ? error.code : error, 'CACHE_BAD')
    return []
  }
}

async function refuses(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    assert.ok(error instanceof BuildError, String(error))
    return
  }
  assert.unreachable()
}

test.run()
