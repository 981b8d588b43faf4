/** Names to manifests: platforms, what lies or is missing, and what is known already. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import { digestOf } from '../../src/core/digest.js'
import { createRegistryClient } from '../../src/registry/client.js'
import { resolveImage } from '../../src/registry/resolve.js'
import { failure } from '../helpers/failure.js'
import { type FakeHandler, startFake } from '../helpers/registry.js'
import { within } from '../helpers/within.js'
import { type HandMade, imageOf, randomTar } from './image.js'
import { quick } from './reading.js'

const amd64 = { os: 'linux', architecture: 'amd64' }

/** A registry with one image and whatever else a test puts at a path. */
function imageHandler(image: HandMade, other: Readonly<Record<string, { type: string; body: Buffer }>> = {}): FakeHandler {
  return (incoming, response) => {
    const path = incoming.url ?? ''
    const found = other[path.replace(/^.*\/manifests\//, '')]
    const last = path.split('/').at(-1)
    const blobBytes = [...image.blobs].find(([digest]) => digest === last)?.[1]
    const answer =
      found ??
      (blobBytes !== undefined && !path.includes('/manifests/')
        ? { type: 'application/octet-stream', body: blobBytes }
        : undefined)
    if (path === '/v2/') return void response.end()
    if (answer === undefined) return void response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
    response.writeHead(200, { 'content-type': answer.type, 'content-length': answer.body.length })
    response.end(incoming.method === 'HEAD' ? undefined : answer.body)
  }
}

async function resolveFrom(
  image: HandMade,
  tag: Buffer,
  type: string,
  platform = amd64,
  more: Readonly<Record<string, { type: string; body: Buffer }>> = {},
) {
  await using server = await startFake(imageHandler(image, { latest: { type, body: tag }, ...more }))
  await using client = createRegistryClient({ retry: quick })
  const reference = { registry: server.host, repository: 'app', tag: 'latest' }
  return await within(
    20_000,
    resolveImage(client, reference, platform, async () => undefined, quietContext()),
  )
}

function indexOf(entries: readonly object[]): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: entries }))
}

test('the manifest of a platform is picked from an index, attestations are passed over', async () => {
  const image = imageOf([randomTar('a', 100)])
  const digest = digestOf(image.manifest)
  const entry = { mediaType: mediaTypes.ociManifest, digest, size: image.manifest.length }
  const other = { ...entry, digest: digestOf('other') }
  const index = indexOf([
    { ...other, platform: { os: 'unknown', architecture: 'unknown' } },
    { ...other, platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
    { ...entry, platform: { os: 'linux', architecture: 'arm', variant: 'v6' } },
    { ...other, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
  ])
  const more = { [digest]: { type: mediaTypes.ociManifest, body: image.manifest } }
  const armV6 = { os: 'linux', architecture: 'arm', variant: 'v6' }
  const resolved = await resolveFrom(image, index, mediaTypes.ociIndex, armV6, more)
  assert.is(resolved.descriptor.digest, digest)
  assert.is(resolved.indexDescriptor?.digest, digestOf(index))
  const error = await failure(resolveFrom(image, index, mediaTypes.ociIndex, amd64, more))
  assert.is(error.code, 'IMAGE_NO_PLATFORM')
  assert.match(error.hint ?? '', 'linux/arm/v6, linux/arm/v7, linux/arm64')
})

test('manifests that lie or are too old are refused by name', async () => {
  const image = imageOf([randomTar('a', 100)])
  const document = JSON.parse(image.manifest.toString()) as { config: Descriptor; layers: Descriptor[] }
  const variant = (change: object): Buffer => Buffer.from(JSON.stringify({ schemaVersion: 2, ...document, ...change }))
  const cases: readonly (readonly [Buffer, string, string, RegExp])[] = [
    [Buffer.from('<html>'), 'text/html', 'IMAGE_BAD_MANIFEST', /not JSON/],
    [
      Buffer.from('{"schemaVersion":1}'),
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
      'IMAGE_BAD_MANIFEST',
      /schema version 1/,
    ],
    [
      variant({ config: { ...document.config, size: document.config.size + 1 } }),
      mediaTypes.ociManifest,
      'IMAGE_BAD_CONFIG',
      /its descriptor says/,
    ],
    [
      variant({ config: { ...document.config, digest: digestOf('x') } }),
      mediaTypes.ociManifest,
      'REGISTRY_NOT_FOUND',
      /has no blob/,
    ],
    [
      variant({ config: { ...document.config, digest: 'sha256:../../etc' } }),
      mediaTypes.ociManifest,
      'IMAGE_BAD_MANIFEST',
      /digest/,
    ],
    [variant({ layers: [] }), mediaTypes.ociManifest, 'IMAGE_BAD_CONFIG', /lists 1 layers, its manifest 0/],
    [variant({ manifests: [] }), mediaTypes.ociManifest, 'IMAGE_BAD_MANIFEST', /at once/],
    [variant({}), mediaTypes.dockerManifest, 'IMAGE_BAD_MANIFEST', /was sent as/],
    [
      variant({ layers: [{ ...document.layers[0], mediaType: 'text/x' }] }),
      mediaTypes.ociManifest,
      'IMAGE_BAD_MANIFEST',
      /unknown type "text\/x"/,
    ],
    [
      variant({ config: { ...document.config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } }),
      mediaTypes.ociManifest,
      'IMAGE_BAD_MANIFEST',
      /artifact/,
    ],
    [Buffer.alloc(5_000_000, ' '), mediaTypes.ociManifest, 'REGISTRY_PROTOCOL', /larger than/],
  ]
  for (const [bytes, type, code, text] of cases) {
    const error = await failure(resolveFrom(image, bytes, type))
    assert.is(error.code, code, error.message)
    assert.match(error.message, text)
  }
})

test('a manifest that is not the one of its digest is refused', async () => {
  const image = imageOf([randomTar('a', 100)])
  const digest = digestOf('something else')
  const index = indexOf([{ mediaType: mediaTypes.ociManifest, digest, size: image.manifest.length, platform: amd64 }])
  const error = await failure(
    resolveFrom(image, index, mediaTypes.ociIndex, amd64, { [digest]: { type: mediaTypes.ociManifest, body: image.manifest } }),
  )
  assert.is(error.code, 'REGISTRY_DIGEST_MISMATCH')
})

test('what is known already is not fetched: a tag that has not moved costs one HEAD', async () => {
  const image = imageOf([randomTar('a', 100)])
  await using server = await startFake((incoming, response, received) => {
    if (incoming.method === 'HEAD') response.setHeader('docker-content-digest', digestOf(image.manifest))
    return imageHandler(image, { latest: { type: mediaTypes.ociManifest, body: image.manifest } })(incoming, response, received)
  })
  await using client = createRegistryClient({ retry: quick })
  const known = async ({ digest }: { digest: string }) =>
    digest === digestOf(image.manifest) ? image.manifest : image.blobs.get(image.config.digest)
  const resolved = await resolveImage(
    client,
    { registry: server.host, repository: 'app', tag: 'latest' },
    amd64,
    known,
    quietContext(),
  )
  assert.is(resolved.descriptor.digest, digestOf(image.manifest))
  assert.equal(server.seen, ['HEAD /v2/app/manifests/latest'])
})

test('a name that does not exist is IMAGE_NOT_FOUND, a right that is missing REGISTRY_DENIED', async () => {
  await using server = await startFake((incoming, response) => {
    if (incoming.url === '/v2/') return void response.end()
    const denied = incoming.url?.includes('/secret/')
    response.writeHead(denied ? 403 : 404).end('{"errors":[{"code":"DENIED","message":"no"}]}')
  })
  await using client = createRegistryClient({ retry: quick })
  const resolve = (repository: string) =>
    resolveImage(client, { registry: server.host, repository, tag: 'x' }, amd64, async () => undefined, quietContext())
  assert.is((await failure(resolve('app'))).code, 'IMAGE_NOT_FOUND')
  assert.is((await failure(resolve('secret/app'))).code, 'REGISTRY_DENIED')
})

test.run()
