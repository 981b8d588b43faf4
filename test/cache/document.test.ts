/** The text of a cache: what is written is read, what is hostile is left out, and two writers agree. */
import { gzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CacheBackend } from '../../src/cache/backend.js'
import { mountChunkSizes } from '../../src/cache/chunker.js'
import {
  type CacheDocument,
  type CacheEntry,
  type CacheLayer,
  emptyDocument,
  mergeDocuments,
  parseDocument,
  printDocument,
} from '../../src/cache/document.js'
import { inlineAnnotation, readCache } from '../../src/cache/read.js'
import { printManifest, writeCache } from '../../src/cache/write.js'
import { quietContext } from '../../src/core/context.js'
import { type Descriptor, type Manifest, mediaTypes } from '../../src/core/descriptor.js'
import { type DiffID, type Digest, digestOf } from '../../src/core/digest.js'
import { BuildError } from '../../src/core/errors.js'

const day = 86_400_000
const now = 1_700_000_000_000

function blobOf(text: string, size = 100): Descriptor {
  return { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(`blob of ${text}`), size }
}

function layerOf(text: string): CacheLayer {
  return { diffId: digestOf(text) as string as DiffID, blob: blobOf(text), size: 10, contentId: digestOf(`files of ${text}`) }
}

function entryOf(text: string, layers: readonly CacheLayer[], usedAt = now): CacheEntry {
  const record = {
    key: digestOf(`key of ${text}`),
    by: 'definition' as const,
    layers: layers.map(({ diffId }) => diffId),
    layerTimes: layers.map(() => now),
    createdAt: now,
    size: 10,
    components: { instruction: text },
    name: text,
    contentKey: digestOf(`content key of ${text}`),
  }
  return { record, usedAt }
}

function documentOf(...names: readonly string[]): CacheDocument {
  const layers = names.map(layerOf)
  const entries = layers.map((layer, i) => entryOf(names[i] ?? '', [layer]))
  return {
    layers: new Map(layers.map((layer) => [layer.diffId, layer])),
    entries: new Map(entries.map((entry) => [entry.record.key, entry])),
    mounts: new Map(),
  }
}

const all = (): boolean => true

test('what is printed is read again', () => {
  const document = documentOf('a', 'b', 'c')
  const { document: back, refused } = parseDocument(printDocument(document), all)
  assert.is(refused, 0)
  assert.equal(back.entries, new Map([...document.entries].sort(([a], [b]) => (a < b ? -1 : 1))))
  assert.is(printDocument(back), printDocument(document))
})

test('a record that names a blob of somewhere else is left out, and the others stay', () => {
  const { document, refused } = parseDocument(
    printDocument(documentOf('good', 'foreign')),
    (blob) => blob.digest === blobOf('good').digest,
  )
  assert.is(refused, 1)
  assert.equal(
    [...document.entries.values()].map(({ record }) => record.name),
    ['good'],
  )
})

test('urls and data of a descriptor are not believed', () => {
  const layer = { ...layerOf('a'), blob: { ...blobOf('a'), urls: ['http://somewhere.example/'], data: 'AAAA' } }
  const document = { ...documentOf('a'), layers: new Map([[layer.diffId, layer]]) }
  const { document: back } = parseDocument(printDocument(document), all)
  assert.equal(back.layers.get(layer.diffId)?.blob, blobOf('a'))
})

test('damaged and hostile texts are a CACHE_BAD, or records less', () => {
  const good = JSON.parse(printDocument(documentOf('a', 'b'))) as Record<string, unknown> & {
    layers: Record<string, unknown>[]
    records: Record<string, unknown>[]
  }
  for (const text of ['', '[]', '{', '{"version":2,"layers":[],"records":[]}', '{"version":1}', 'null'])
    throwsBad(() => parseDocument(text, all))
  const spoil: readonly ((copy: typeof good) => void)[] = [
    (copy) => Object.assign(copy.layers[0] ?? {}, { diffId: 'sha512:aa' }),
    (copy) => Object.assign(copy.layers[0] ?? {}, { size: -1 }),
    // More than gzip can make of 100 bytes.
    (copy) => Object.assign(copy.layers[0] ?? {}, { size: 1e12 }),
    (copy) => Object.assign(copy.layers[0] ?? {}, { contentId: '../../etc/passwd' }),
    (copy) => Object.assign(copy.records[0] ?? {}, { key: 'md5:00' }),
    (copy) => Object.assign(copy.records[0] ?? {}, { layers: [99] }),
    (copy) => Object.assign(copy.records[0] ?? {}, { layers: ['__proto__'] }),
    (copy) => Object.assign(copy.records[0] ?? {}, { layerTimes: [] }),
    (copy) => Object.assign(copy.records[0] ?? {}, { components: { a: { toString: 1 } } }),
    (copy) => Object.assign(copy.records[0] ?? {}, { usedAt: 'yesterday' }),
  ]
  for (const change of spoil) {
    const copy = structuredClone(good)
    change(copy)
    const { document, refused } = parseDocument(JSON.stringify(copy), all)
    assert.equal([document.entries.size, refused], [1, 1], String(change))
  }
})

test('merging is the same in either order, forgets what nobody used, and keeps the later record', () => {
  const a = documentOf('a', 'both')
  const b = documentOf('b', 'both')
  assert.is(printDocument(mergeDocuments(a, b, now)), printDocument(mergeDocuments(b, a, now)))
  assert.is(mergeDocuments(a, b, now).entries.size, 3)
  const once = mergeDocuments(a, b, now)
  assert.is(printDocument(mergeDocuments(once, a, now)), printDocument(once))
  const old = entryOf('old', [layerOf('old')], now - 31 * day)
  const withOld = {
    ...a,
    entries: new Map([...a.entries, [old.record.key, old]]),
    layers: new Map([...a.layers, [layerOf('old').diffId, layerOf('old')]]),
  }
  const merged = mergeDocuments(withOld, emptyDocument, now)
  assert.is(merged.entries.size, 2)
  assert.is(merged.layers.has(layerOf('old').diffId), false)
  const later = { record: { ...entryOf('a', [layerOf('b')]).record, createdAt: now + 1 }, usedAt: now }
  const changed = { ...b, entries: new Map([[later.record.key, later]]) }
  assert.equal(mergeDocuments(a, changed, now).entries.get(later.record.key)?.record.layers, later.record.layers)
})

/** A place in memory; `meddle` runs right before each write, as another writer would. */
function memoryPlace(meddle: (place: { manifest: Buffer | undefined; blobs: Map<Digest, Buffer> }) => void): CacheBackend & {
  readonly state: { manifest: Buffer | undefined; blobs: Map<Digest, Buffer> }
} {
  const state: { manifest: Buffer | undefined; blobs: Map<Digest, Buffer> } = { manifest: undefined, blobs: new Map() }
  return {
    state,
    name: 'memory',
    source: 'cache+memory:',
    merges: true,
    isPrivate: false,
    mountChunkSizes,
    readManifests: async () =>
      state.manifest === undefined ? [] : [{ bytes: state.manifest, digest: digestOf(state.manifest) }],
    readBlob: async ({ digest }) => state.blobs.get(digest) ?? Buffer.alloc(0),
    fetchBlob: async () => undefined,
    hasBlob: async ({ digest }) => state.blobs.has(digest),
    async putBlob(blob, open) {
      const chunks: Uint8Array[] = []
      for await (const chunk of await open()) chunks.push(chunk)
      state.blobs.set(blob.digest, Buffer.concat(chunks))
      return 'uploaded'
    },
    async swap(manifest, [old]) {
      meddle(state)
      if ((state.manifest && digestOf(state.manifest)) !== old?.digest) return false
      state.manifest = manifest
      return true
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
}

test('who is overtaken while writing reads again and loses nothing', async () => {
  let others = 3
  const place = memoryPlace((state) => {
    if (others === 0) return
    others -= 1
    const { manifest, config, text } = printManifest(documentOf(...['x', 'y', 'z'].slice(others)), false)
    state.manifest = manifest
    state.blobs.set(config.digest, text)
  })
  const written = await writeCache(place, documentOf('mine'), now, 'test', quietContext())
  assert.is(written.records, 4)
  const back = await readCache(place, quietContext())
  assert.equal([...(back?.document.entries.values() ?? [])].map(({ record }) => record.name).sort(), ['mine', 'x', 'y', 'z'])
})

test('an inline cache that unpacks to gigabytes is refused', async () => {
  const place = memoryPlace(() => undefined)
  const bomb = gzipSync(Buffer.alloc(100 << 20), { level: 9 }).toString('base64')
  const manifest: Manifest = {
    schemaVersion: 2,
    config: { mediaType: mediaTypes.ociConfig, digest: digestOf('config'), size: 6 },
    layers: [],
    annotations: { [inlineAnnotation]: bomb },
  }
  place.state.manifest = Buffer.from(JSON.stringify(manifest))
  try {
    await readCache(place, quietContext())
    assert.unreachable()
  } catch (error) {
    assert.is(error instanceof BuildError ? error.code : error, 'CACHE_BAD')
  }
})

function throwsBad(work: () => unknown): void {
  try {
    work()
  } catch (error) {
    assert.is(error instanceof BuildError ? error.code : error, 'CACHE_BAD')
    return
  }
  assert.unreachable()
}

test.run()
