/** Pulling from registries that lie, stop, wander off or break: each ends in one clear error, or in the right bytes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import { digestOf } from '../../src/core/digest.js'
import { BuildError } from '../../src/core/errors.js'
import { collect } from '../../src/io/stream.js'
import { createRegistryClient, type RegistryClientOptions } from '../../src/registry/client.js'
import { fetchBlob, pullBlobs, readBlob } from '../../src/registry/pull.js'
import { headManifest, resolveImage } from '../../src/registry/resolve.js'
import { type FakeHandler, registryMissing, startFake, startRegistry } from '../helpers/registry.js'
import { within } from '../helpers/within.js'
import { type HandMade, imageOf, randomTar } from './image.js'

const amd64 = { os: 'linux', architecture: 'amd64' }
const quick = { tries: 4, firstDelayMs: 5, longestDelayMs: 20, totalDelayMs: 1000 }
const basic = { credentials: async () => ({ kind: 'password' as const, username: 'tester', password: 'letmein' }) }
const body = Buffer.alloc(300_000, 'mille')
const blob: Descriptor = { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(body), size: body.length }

async function errorOf(work: Promise<unknown>): Promise<BuildError> {
  try {
    await within(20_000, work)
  } catch (error) {
    if (error instanceof BuildError) return error
    throw error
  }
  throw new Error('it did not fail')
}

/** Reads the blob from a fake; `/v2/` answers 200. */
async function readFrom(handler: FakeHandler, options: RegistryClientOptions = {}): Promise<Buffer> {
  await using server = await startFake((incoming, response, received) =>
    incoming.url === '/v2/' ? void response.end('{}') : handler(incoming, response, received),
  )
  await using client = createRegistryClient({ retry: quick, ...options })
  return await within(20_000, collect(readBlob(client, { registry: server.host, repository: 'app' }, blob, quietContext())))
}

function rangeStart(incoming: IncomingMessage): number {
  return Number(/^bytes=(\d+)-$/.exec(incoming.headers.range ?? '')?.[1] ?? 0)
}

/** Sends a part of the blob from where it was asked for, then cuts the connection. */
function sendAndCut(incoming: IncomingMessage, response: ServerResponse, length: number): void {
  const start = rangeStart(incoming)
  const headers = { 'content-length': body.length - start, 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` }
  response.writeHead(start === 0 ? 200 : 206, headers)
  response.write(body.subarray(start, start + length), () => setTimeout(() => response.destroy(), 20))
}

test('a blob whose connection is cut again and again is put together from its parts', async () => {
  const starts: number[] = []
  const bytes = await readFrom((incoming, response) => {
    starts.push(rangeStart(incoming))
    sendAndCut(incoming, response, 60_000)
  })
  assert.ok(bytes.equals(body))
  assert.ok(starts.length > quick.tries, 'each part that arrives gives new patience')
  assert.ok(
    starts.every((start, index) => index === 0 || start > (starts[index - 1] ?? 0)),
    starts.join(),
  )
})

test('a registry without ranges sends the blob again, and the known part is skipped', async () => {
  let tries = 0
  const bytes = await readFrom((_, response) => {
    tries += 1
    response.writeHead(200, { 'content-length': body.length })
    if (tries === 1) response.write(body.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 20))
    else response.end(body)
  })
  assert.ok(bytes.equals(body))
  assert.is(tries, 2)
})

test('a registry that goes on elsewhere than asked is refused', async () => {
  const error = await errorOf(
    readFrom((incoming, response) => {
      if (rangeStart(incoming) === 0) return sendAndCut(incoming, response, 1000)
      response.writeHead(206, { 'content-range': `bytes 0-${body.length - 1}/${body.length}` }).end(body)
    }),
  )
  assert.is(error.code, 'REGISTRY_PROTOCOL')
})

test('a connection that always dies before the first byte ends after the allowed tries', async () => {
  let tries = 0
  const error = await errorOf(
    readFrom((_, response) => {
      tries += 1
      response.destroy()
    }),
  )
  assert.is(error.code, 'REGISTRY_UNREACHABLE')
  assert.is(tries, quick.tries)
})

test('wrong bytes of the right size are REGISTRY_DIGEST_MISMATCH and are not asked for again', async () => {
  let tries = 0
  const error = await errorOf(
    readFrom((_, response) => {
      tries += 1
      response.end(Buffer.alloc(body.length))
    }),
  )
  assert.is(error.code, 'REGISTRY_DIGEST_MISMATCH')
  assert.match(error.message, blob.digest)
  assert.is(tries, 1)
})

test('a wrong Content-Length is refused before the body is read', async () => {
  const error = await errorOf(
    readFrom(
      (_, response) => void response.writeHead(200, { 'content-length': body.length + 1 }).end(Buffer.alloc(body.length + 1)),
    ),
  )
  assert.is(error.code, 'REGISTRY_DIGEST_MISMATCH')
})

test('an endless body is stopped at the promised size', async () => {
  let sent = 0
  const error = await errorOf(
    readFrom(async (_, response) => {
      response.writeHead(200)
      const chunk = Buffer.alloc(65_536)
      while (!response.destroyed && sent < 1e9) {
        sent += chunk.length
        if (!response.write(chunk)) await new Promise((done) => setTimeout(done, 2))
      }
    }),
  )
  assert.is(error.code, 'REGISTRY_DIGEST_MISMATCH')
  assert.match(error.message, 'more than 300000')
  assert.ok(sent < 50_000_000, `${sent} bytes were sent`)
})

test('a redirect to another host is followed without the credentials', async () => {
  await using storage = await startFake((_, response) => void response.end(body))
  let tries = 0
  const bytes = await readFrom((incoming, response) => {
    tries += 1
    if (incoming.headers.authorization === undefined)
      return void response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    response.writeHead(307, { location: `http://${storage.host}/bucket/blob?signature=abc` }).end()
  }, basic)
  assert.ok(bytes.equals(body))
  assert.is(tries, 2)
  assert.equal(storage.seen, ['GET /bucket/blob?signature=abc'])
  assert.equal(storage.authorizations, [''])
})

test('redirects in a circle end, and a redirect to a file is refused', async () => {
  const circle = await errorOf(readFrom((incoming, response) => void response.writeHead(307, { location: incoming.url }).end()))
  assert.is(circle.code, 'REGISTRY_PROTOCOL')
  const file = await errorOf(readFrom((_, response) => void response.writeHead(307, { location: 'file:///etc/passwd' }).end()))
  assert.is(file.code, 'REGISTRY_PROTOCOL')
})

test('an error of storage does not show its signed URL', async () => {
  await using storage = await startFake(
    (_, response) => void response.writeHead(400).end('{"errors":[{"code":"X","message":"bad https://u:p@h/x?sig=hush"}]}'),
  )
  const error = await errorOf(
    readFrom((_, response) => void response.writeHead(307, { location: `http://${storage.host}/b?signature=hush` }).end()),
  )
  assert.not.match(`${error.message} ${JSON.stringify(error)}`, /hush|u:p@/)
})

test('errors that pass are tried again, and Retry-After is waited for', async () => {
  const times: number[] = []
  const bytes = await readFrom(
    (_, response) => {
      times.push(Date.now())
      if (times.length === 1) return void response.writeHead(500).end()
      if (times.length === 2) return void response.writeHead(429, { 'retry-after': '1' }).end()
      response.end(body)
    },
    { retry: { ...quick, totalDelayMs: 5000 } },
  )
  assert.ok(bytes.equals(body))
  assert.ok((times[2] ?? 0) - (times[1] ?? 0) >= 990)
})

test('a limit that lasts longer than our patience is REGISTRY_RATE_LIMITED at once', async () => {
  let tries = 0
  const error = await errorOf(
    readFrom((_, response) => {
      tries += 1
      response.writeHead(429, { 'retry-after': '3600' }).end()
    }),
  )
  assert.is(error.code, 'REGISTRY_RATE_LIMITED')
  assert.is(tries, 1)
  assert.ok(error.hint)
})

test('aborting ends a transfer and a wait at once', async () => {
  await using server = await startFake((incoming, response) => {
    if (incoming.url === '/v2/') return void response.end()
    if (incoming.url?.includes('/manifests/')) return void response.writeHead(503, { 'retry-after': '100' }).end()
    response.writeHead(200, { 'content-length': body.length }).write('x')
  })
  await using client = createRegistryClient()
  const source = { registry: server.host, repository: 'app' }
  for (const start of [
    (signal: AbortSignal) => collect(readBlob(client, source, blob, { ...quietContext(), signal })),
    (signal: AbortSignal) => headManifest(client, { ...source, tag: 'x' }, { ...quietContext(), signal }),
  ]) {
    const stop = new AbortController()
    setTimeout(() => stop.abort(new Error('enough')), 150)
    const message = await within(
      3000,
      start(stop.signal).then(
        () => 'done',
        (error: Error) => error.message,
      ),
    )
    assert.match(message, /enough|aborted/)
  }
})

test('one blob that fails stops the others, and nothing is running any more', async () => {
  let running = 0
  await using server = await startFake((incoming, response) => {
    if (incoming.url === '/v2/') return void response.end()
    if (incoming.url?.endsWith(blob.digest)) return void setTimeout(() => response.writeHead(404).end(), 100)
    response.writeHead(200).write('x')
  })
  await using client = createRegistryClient({ retry: quick })
  const slow = [1, 2].map((n): Descriptor => ({ ...blob, digest: digestOf(`${n}`) }))
  const ports = {
    hasBlob: () => false,
    writeBlob: async (bytes: AsyncIterable<Uint8Array>) => {
      running += 1
      await collect(bytes).finally(() => (running -= 1))
    },
  }
  const error = await errorOf(
    pullBlobs(client, { registry: server.host, repository: 'app' }, [...slow, blob], ports, 'pull', quietContext()),
  )
  assert.is(error.code, 'REGISTRY_NOT_FOUND')
  assert.is(running, 0)
})

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
  const error = await errorOf(resolveFrom(image, index, mediaTypes.ociIndex, amd64, more))
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
    const error = await errorOf(resolveFrom(image, bytes, type))
    assert.is(error.code, code, error.message)
    assert.match(error.message, text)
  }
})

test('a manifest that is not the one of its digest is refused', async () => {
  const image = imageOf([randomTar('a', 100)])
  const digest = digestOf('something else')
  const index = indexOf([{ mediaType: mediaTypes.ociManifest, digest, size: image.manifest.length, platform: amd64 }])
  const error = await errorOf(
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
  assert.is((await errorOf(resolve('app'))).code, 'IMAGE_NOT_FOUND')
  assert.is((await errorOf(resolve('secret/app'))).code, 'REGISTRY_DENIED')
})

test('a host that is not there and a port where nobody listens are REGISTRY_UNREACHABLE at once', async () => {
  await using client = createRegistryClient()
  for (const registry of ['127.0.0.1:1', 'registry.invalid']) {
    const error = await errorOf(headManifest(client, { registry, repository: 'app', tag: 'x' }, quietContext()))
    assert.is(error.code, 'REGISTRY_UNREACHABLE', error.message)
    assert.match(error.message, registry)
  }
})

test('a certificate nobody vouches for is REGISTRY_TLS; with its CA, or as insecure, the registry works', async () => {
  const reason = registryMissing()
  if (reason !== undefined) return console.log(`SKIP: ${reason}`)
  const address = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .find((item) => item.family === 'IPv4' && !item.internal)?.address
  if (address === undefined) return console.log('SKIP: this machine has no address but loopback')
  await using registry = await startRegistry({ tlsFor: address })
  const reference = { registry: registry.host, repository: 'app', tag: 'x' }
  await using strict = createRegistryClient({ retry: quick })
  const error = await errorOf(headManifest(strict, reference, quietContext()))
  assert.is(error.code, 'REGISTRY_TLS', error.message)
  assert.match(error.hint ?? '', `certs.d/${registry.host}/ca.crt`)
  await using trusting = createRegistryClient({ retry: quick, tls: { ca: [registry.certificate ?? ''] } })
  assert.is(await headManifest(trusting, reference, quietContext()), undefined)
  const directory = mkdtempSync(join(tmpdir(), 'mille-certs-'))
  mkdirSync(join(directory, registry.host))
  writeFileSync(join(directory, registry.host, 'ca.crt'), registry.certificate ?? '')
  await using configured = createRegistryClient({ retry: quick, tls: { certsDirectories: [directory] } })
  assert.is(await headManifest(configured, reference, quietContext()), undefined)
  rmSync(directory, { recursive: true })
  await using insecure = createRegistryClient({ retry: quick, insecureRegistries: [registry.host] })
  assert.is(await headManifest(insecure, reference, quietContext()), undefined)
})

test('plain http is not spoken to a registry elsewhere unless it is allowed', async () => {
  const address = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .find((item) => item.family === 'IPv4' && !item.internal)?.address
  if (address === undefined) return console.log('SKIP: this machine has no address but loopback')
  await using server = await startFake((_, response) => void response.writeHead(404).end(), {
    streamed: false,
    address: '0.0.0.0',
  })
  const registry = `${address}:${server.host.split(':')[1]}`
  await using strict = createRegistryClient({ retry: quick })
  const error = await errorOf(headManifest(strict, { registry, repository: 'app', tag: 'x' }, quietContext()))
  assert.is(error.code, 'REGISTRY_TLS', error.message)
  assert.equal(server.seen, [])
  await using lax = createRegistryClient({ retry: quick, insecureRegistries: [registry] })
  assert.is(await headManifest(lax, { registry, repository: 'app', tag: 'x' }, quietContext()), undefined)
})

test('wrong bytes that only the store notices are told as the registry’s', async () => {
  const { StoreError } = await import('../../src/core/errors.js')
  await using server = await startFake((_, response) => void response.end(Buffer.alloc(body.length)))
  await using client = createRegistryClient({ retry: quick })
  const write = async (bytes: AsyncIterable<Uint8Array>): Promise<void> => {
    await collect(bytes)
    throw new StoreError('STORE_DIGEST_MISMATCH', 'the bytes have another digest')
  }
  const error = await errorOf(
    fetchBlob(client, { registry: server.host, repository: 'app' }, blob, write, 'pull', quietContext()),
  )
  assert.is(error.code, 'REGISTRY_DIGEST_MISMATCH')
})

test.run()
