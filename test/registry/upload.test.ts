/** Uploads to registries that lose a part, say so at odd moments, or name what they stored by another kind of digest. */
import { createHash } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import { type Digest, digestOf } from '../../src/core/digest.js'
import { createRegistryClient } from '../../src/registry/client.js'
import { type ManifestBytes, pushImage } from '../../src/registry/push.js'
import { uploadBlob } from '../../src/registry/upload.js'
import { type Interference, type RegistryTraits, type SpecRegistry, startSpecRegistry } from '../helpers/spec-registry.js'
import { within } from '../helpers/within.js'

const bytes = Buffer.concat(Array.from({ length: 100 }, (_, n) => createHash('sha256').update(`${n}`).digest()))
const quick = { tries: 4, firstDelayMs: 2, longestDelayMs: 10, totalDelayMs: 500 }

function blobOf(algorithm: 'sha256' | 'sha512'): Descriptor {
  const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest
  return { mediaType: mediaTypes.ociLayer, digest, size: bytes.length }
}

/** Uploads in chunks of 1000 bytes, and checks that the bytes arrived; returns the requests as `METHOD range STATUS`. */
async function upload(interfere: Interference, blob = blobOf('sha256')): Promise<string[]> {
  await using registry = await startSpecRegistry({}, interfere)
  await using client = createRegistryClient({ retry: quick })
  async function* openBlob(): AsyncGenerator<Buffer, void, void> {
    yield bytes
  }
  const options = { openBlob, mountSources: [], chunks: { fromBytes: 0, chunkBytes: 1000 }, progressId: 'push' }
  const target = { registry: registry.host, repository: 'app' }
  await within(20_000, uploadBlob(client, target, blob, options, quietContext()))
  assert.ok(registry.blobs.get(`app ${blob.digest}`)?.equals(bytes))
  return registry.seen
    .filter(({ path }) => path.includes('/uploads/'))
    .map(({ method, headers, status }) => [method, headers['content-range'] ?? '', status].join(' '))
}

/** The registry keeps only the first bytes of the PATCH with this number. */
function losing(number: number, kept: number, also: Interference = () => false): Interference {
  let patches = 0
  return (request, response) => {
    if (request.method === 'PATCH' && ++patches === number) request.body = request.body.subarray(0, kept)
    return also(request, response)
  }
}

test('a chunk that the registry does not want here makes the upload go on from where the registry is', async () => {
  const seen = await upload(losing(2, 300))
  const before = ['POST  202', 'PATCH 0-999 202', 'PATCH 1000-1999 202', 'PATCH 2000-2999 416', 'GET  204']
  assert.equal(seen, [...before, 'PATCH 1300-2299 202', 'PATCH 2300-3199 202', 'PUT  201'])
})

test('an end that the registry does not want yet makes the upload go on, too', async () => {
  let refused = false
  const refuseOnce: Interference = ({ method }, response) => {
    if (method !== 'PUT' || refused) return false
    refused = true
    response.writeHead(416).end()
    return true
  }
  const seen = await upload(losing(4, 50, refuseOnce))
  assert.equal(seen.slice(-4), ['PUT  416', 'GET  204', 'PATCH 3050-3199 202', 'PUT  201'])
})

test('a registry that refuses every chunk but the first gets the blob in one piece', async () => {
  const seen = await upload(({ method, headers }, response) => {
    if (method !== 'PATCH' || headers['content-range']?.startsWith('0-')) return false
    response.writeHead(416).end()
    return true
  })
  assert.equal(seen, ['POST  202', 'PATCH 0-999 202', 'PATCH 1000-1999 416', 'GET  204', 'POST  202', 'PUT  201'])
})

test('a registry that names what it stored by another kind of digest has not stored something else', async () => {
  const blob = blobOf('sha512')
  const seen = await upload(({ method }, response) => {
    if (method === 'PUT') response.setHeader('docker-content-digest', digestOf(bytes))
    return false
  }, blob)
  assert.is(seen.at(-1), 'PUT  201')
})

/** Pushes a manifest with a subject, or one without. */
async function pushedAsReferrer(traits: Partial<RegistryTraits>, hasSubject: boolean): Promise<boolean> {
  await using registry: SpecRegistry = await startSpecRegistry({ ...traits, wantsParts: false })
  await using client = createRegistryClient()
  const subject = { mediaType: mediaTypes.ociManifest, digest: digestOf('image'), size: 5 }
  const text = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, ...(hasSubject ? { subject } : {}) })
  const manifest = (): ManifestBytes => ({ mediaType: mediaTypes.ociManifest, bytes: Buffer.from(text) })
  const target = { registry: registry.host, repository: 'app' }
  const ports = { mountSources: () => [], openBlob: () => assert.unreachable('there are no blobs') as never }
  const request = { target, moreTags: [], blobs: [], manifest, progressId: 'push' }
  return (await within(20_000, pushImage(client, request, ports, quietContext()))).isReferrer
}

test('a manifest is a referrer once the registry says so', async () => {
  assert.is(await pushedAsReferrer({}, true), true)
  assert.is(await pushedAsReferrer({ subjectHeader: false }, true), false)
  assert.is(await pushedAsReferrer({}, false), false)
})

test.run()
