/** Push and pull against a real registry, judged by skopeo. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type BuildEvent, type Context, quietContext } from '../../src/core/context.js'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import { type Digest, digestOf, hexOf } from '../../src/core/digest.js'
import type { Reference } from '../../src/core/reference.js'
import { collect } from '../../src/io/stream.js'
import { createRegistryClient, type RegistryClient } from '../../src/registry/client.js'
import { pullBlobs } from '../../src/registry/pull.js'
import { type PushResult, pushImage } from '../../src/registry/push.js'
import { headManifest, resolveImage } from '../../src/registry/resolve.js'
import type { ChunkPolicy } from '../../src/registry/upload.js'
import { forward, hasProgram, registryMissing, startFake, startRegistry } from '../helpers/registry.js'
import { within } from '../helpers/within.js'
import { type HandMade, imageOf, randomTar } from './image.js'

const amd64 = { os: 'linux', architecture: 'amd64' }
const nothingKnown = async (): Promise<undefined> => undefined

function skip(): boolean {
  const reason = registryMissing()
  if (reason !== undefined) console.log(`SKIP: ${reason}`)
  return reason !== undefined
}

interface PushOptions {
  readonly mountSources?: readonly string[]
  /** What is in store beside it: an image that was pushed before. */
  readonly before?: HandMade
  readonly chunks?: ChunkPolicy
  readonly moreTags?: readonly string[]
  readonly ctx?: Context
}

function push(client: RegistryClient, target: Reference, image: HandMade, options: PushOptions = {}): Promise<PushResult> {
  const { before } = options
  const blobs = [...image.layers, image.config]
  const fresh = before === undefined ? [] : blobs.filter(({ digest }) => !before.blobs.has(digest))
  const request = {
    target,
    moreTags: options.moreTags ?? [],
    blobs,
    manifest: () => ({ mediaType: mediaTypes.ociManifest, bytes: image.manifest }),
    progressId: 'push',
    newBlobs: fresh.filter(({ size }) => size <= 64 * 1024).length,
    ...(options.chunks === undefined ? {} : { chunks: options.chunks }),
  }
  const ports = {
    openBlob: async function* (blob: { readonly digest: Digest }) {
      yield image.blobs.get(blob.digest) ?? Buffer.alloc(0)
    },
    mountSources: () => options.mountSources ?? [],
    isNew: ({ digest }: Descriptor) => fresh.some((blob) => blob.digest === digest),
    partsOf: async (digest: Digest) =>
      before !== undefined && digest === digestOf(before.manifest) ? [...before.blobs.keys()] : [],
  }
  return within(60_000, pushImage(client, request, ports, options.ctx ?? quietContext()))
}

test('what is pushed is read back by skopeo with the same digests', async () => {
  if (skip()) return
  if (!hasProgram('skopeo')) return console.log('SKIP: skopeo is not installed')
  await using registry = await startRegistry()
  await using client = createRegistryClient()
  const image = imageOf([randomTar('a', 200_000), randomTar('b', 3_000_000)])
  const result = await push(client, { registry: registry.host, repository: 'team/app', tag: '1.0' }, image)
  assert.is(result.descriptor.digest, digestOf(image.manifest))
  assert.is(result.uploaded, 3)
  const name = `docker://${registry.host}/team/app:1.0`
  const seen = JSON.parse(execFileSync('skopeo', ['inspect', '--tls-verify=false', name], { encoding: 'utf8' })) as {
    Digest: string
    Layers: string[]
  }
  assert.is(seen.Digest, result.descriptor.digest)
  assert.equal(
    seen.Layers,
    image.layers.map((layer) => layer.digest),
  )
  const directory = mkdtempSync(join(tmpdir(), 'mille-skopeo-'))
  try {
    execFileSync('skopeo', ['copy', '--src-tls-verify=false', name, `dir:${directory}`], { stdio: 'ignore' })
    for (const [digest, bytes] of image.blobs) assert.ok(readFileSync(join(directory, hexOf(digest))).equals(bytes))
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('an image that skopeo pushed is resolved and pulled whole', async () => {
  if (skip()) return
  await using registry = await startRegistry()
  await using client = createRegistryClient()
  const image = imageOf([randomTar('a', 200_000), randomTar('b', 500_000), randomTar('a', 7)])
  const reference = { registry: registry.host, repository: 'app', tag: 'latest' }
  await push(client, reference, image)
  if (!hasProgram('skopeo')) return console.log('SKIP: skopeo is not installed')
  const copy = { ...reference, repository: 'copy', tag: 'v2' }
  const args = ['copy', '--src-tls-verify=false', '--dest-tls-verify=false', '--format', 'v2s2']
  execFileSync('skopeo', [...args, `docker://${registry.host}/app:latest`, `docker://${registry.host}/copy:v2`], {
    stdio: 'ignore',
  })
  const resolved = await within(20_000, resolveImage(client, copy, amd64, nothingKnown, quietContext()))
  assert.is(resolved.descriptor.mediaType, mediaTypes.dockerManifest)
  assert.is(resolved.descriptor.digest, digestOf(resolved.rawManifest))
  assert.equal(resolved.config.config?.Env, ['PATH=/bin'])
  const got = new Map<Digest, Buffer>()
  const ports = {
    hasBlob: (digest: Digest) => got.has(digest),
    writeBlob: async (bytes: AsyncIterable<Uint8Array>, blob: { readonly digest: Digest }) => {
      got.set(blob.digest, await collect(bytes))
    },
  }
  await within(20_000, pullBlobs(client, copy, resolved.manifest.layers, ports, 'pull', quietContext()))
  for (const layer of image.layers) assert.ok(got.get(layer.digest)?.equals(image.blobs.get(layer.digest) ?? Buffer.alloc(0)))
  const before = registry.requests().length
  await pullBlobs(client, copy, resolved.manifest.layers, ports, 'pull', quietContext())
  assert.is(registry.requests().length, before, 'blobs that are here are not asked for')
})

test('a second push moves no blob, and a new top layer moves only itself', async () => {
  if (skip()) return
  await using registry = await startRegistry()
  const target = { registry: registry.host, repository: 'app', tag: 'latest' }
  const base = randomTar('base', 2_000_000)
  const uploads = (): string[] => registry.requests().filter((line) => line.startsWith('PUT') && line.includes('/blobs/uploads/'))
  const items: string[] = []
  const ctx: Context = {
    ...quietContext(),
    emit: (event: BuildEvent) => event.type === 'progress' && event.done && items.push(event.item),
  }
  {
    await using client = createRegistryClient()
    await push(client, target, imageOf([base]))
  }
  assert.is(uploads().length, 2)
  {
    await using client = createRegistryClient()
    const result = await push(client, target, imageOf([base]), { ctx })
    assert.is(result.existed, 2)
    assert.is(uploads().length, 2)
    assert.ok(
      items.every((item) => item.endsWith('already exists')),
      items.join(),
    )
  }
  await using client = createRegistryClient()
  const image = imageOf([base, randomTar('top', 1000)])
  const result = await push(client, target, image)
  assert.equal([result.existed, result.uploaded], [1, 2])
  assert.is(result.uploadedBytes, (image.layers[1]?.size ?? 0) + image.config.size)
  assert.is(uploads().length, 4)
})

test('a blob of another repository is mounted, not sent', async () => {
  if (skip()) return
  await using registry = await startRegistry()
  await using client = createRegistryClient()
  const image = imageOf([randomTar('a', 300_000)])
  await push(client, { registry: registry.host, repository: 'one', tag: 'x' }, image)
  const options = { mountSources: ['elsewhere.example/one', `${registry.host}/one`] }
  const result = await push(client, { registry: registry.host, repository: 'two', tag: 'x' }, image, options)
  assert.is(result.mounted, 2)
  const wrong = await push(client, { registry: registry.host, repository: 'three', tag: 'x' }, image, {
    mountSources: [`${registry.host}/none`],
  })
  assert.is(wrong.uploaded, 2, 'a neighbour without the blob leads to an upload')
})

test('a push without tag is by digest', async () => {
  if (skip()) return
  await using registry = await startRegistry()
  await using client = createRegistryClient()
  const image = imageOf([randomTar('a', 3000)])
  const target = { registry: registry.host, repository: 'app' }
  const { descriptor } = await push(client, target, image)
  const resolved = await resolveImage(client, { ...target, digest: descriptor.digest }, amd64, nothingKnown, quietContext())
  assert.ok(resolved.rawManifest.equals(image.manifest))
  assert.is(await headManifest(client, { ...target, tag: 'latest' }, quietContext()), undefined)
})

test('an image of many layers is pushed without a warning of Node, under several tags', async () => {
  if (skip()) return
  await using registry = await startRegistry()
  await using client = createRegistryClient()
  const warnings: string[] = []
  const listen = (warning: Error): unknown => warnings.push(warning.message)
  process.on('warning', listen)
  const image = imageOf(Array.from({ length: 25 }, (_, n) => randomTar(`layer${n}`, 500)))
  const target = { registry: registry.host, repository: 'app', tag: 'one' }
  assert.is((await push(client, target, image, { moreTags: ['two', 'one'] })).uploaded, 26)
  process.off('warning', listen)
  assert.equal(warnings, [])
  assert.is((await headManifest(client, { ...target, tag: 'two' }, quietContext()))?.digest, digestOf(image.manifest))
})

test('large blobs go in chunks', async () => {
  if (skip()) return
  await using registry = await startRegistry()
  await using client = createRegistryClient()
  const image = imageOf([randomTar('a', 1_000_000)])
  const target = { registry: registry.host, repository: 'app', tag: 'latest' }
  await push(client, target, image, { chunks: { fromBytes: 100_000, chunkBytes: 300_000 } })
  const patches = registry.requests().filter((line) => line.startsWith('PATCH'))
  assert.is(patches.length, 4)
  const resolved = await resolveImage(client, target, amd64, nothingKnown, quietContext())
  assert.is(resolved.descriptor.digest, digestOf(image.manifest))
})

test('a registry that refuses chunks, and one that fails in passing, get the blob all the same', async () => {
  if (skip()) return
  await using registry = await startRegistry()
  const failed = new Set<string>()
  await using proxy = await startFake(async (incoming, response, body) => {
    if (incoming.method === 'PATCH') {
      response.writeHead(405).end()
      return
    }
    const place = `${incoming.method} ${incoming.url?.split('?')[0]?.slice(0, 22)}`
    if (!failed.has(place)) {
      failed.add(place)
      response.writeHead(503, { 'retry-after': '0' }).end('{"errors":[{"code":"UNAVAILABLE"}]}')
      return
    }
    await forward(registry.host, incoming, response, body)
  })
  await using client = createRegistryClient({ retry: { tries: 8, firstDelayMs: 5, longestDelayMs: 50, totalDelayMs: 2000 } })
  const image = imageOf([randomTar('a', 400_000)])
  const target = { registry: proxy.host, repository: 'app', tag: 'latest' }
  await push(client, target, image, { chunks: { fromBytes: 100_000, chunkBytes: 100_000 } })
  assert.is(
    (await headManifest(client, { ...target, registry: registry.host }, quietContext()))?.digest,
    digestOf(image.manifest),
  )
})

test('layers that are still being made hold up no other, and a failure among them stops the push', async () => {
  if (skip()) return
  await using registry = await startRegistry()
  await using client = createRegistryClient()
  const image = imageOf([randomTar('a', 1000), randomTar('b', 1000)])
  const [first, second] = image.layers
  const late = new Promise<never>((_, reject) => setTimeout(() => reject(new Error('no space')), 200))
  const request = {
    target: { registry: registry.host, repository: 'app', tag: 'latest' },
    moreTags: [],
    blobs: [first ?? image.config, late],
    manifest: () => assert.unreachable('no manifest without all blobs') as never,
    progressId: 'push',
  }
  const ports = {
    openBlob: async function* () {
      yield image.blobs.get((first ?? image.config).digest) ?? Buffer.alloc(0)
    },
    mountSources: () => [],
  }
  let message = ''
  await within(20_000, pushImage(client, request, ports, quietContext())).catch((error: Error) => (message = error.message))
  assert.is(message, 'no space')
  assert.ok(registry.requests().some((line) => line.startsWith('PUT') && line.includes('/blobs/uploads/')))
  assert.ok(second)
})

test('what the image of the tag has is not asked for layer by layer, nor what is new', async () => {
  if (skip()) return
  await using registry = await startRegistry()
  await using client = createRegistryClient()
  const below = [randomTar('a', 300_000), randomTar('b', 200_000), randomTar('c', 100_000)]
  const target = { registry: registry.host, repository: 'app', tag: '1' }
  const before = imageOf(below)
  await push(client, target, before)
  const earlier = registry.requests().length
  const image = imageOf([...below, randomTar('top', 10)])
  const mountSources = [`${registry.host}/app`]
  const result = await push(client, target, image, { before, mountSources })
  assert.equal([result.existed, result.uploaded], [3, 2])
  const asked = registry.requests().slice(earlier)
  const kinds = asked.map((line) => line.replace(/(uploads|sha256:).*| \d+$/, '$1')).sort()
  const path = '/v2/app'
  assert.equal(kinds, [
    `HEAD ${path}/manifests/1`,
    ...[`POST ${path}/blobs/uploads`, `POST ${path}/blobs/uploads`, `PUT ${path}/blobs/uploads`, `PUT ${path}/blobs/uploads`],
    `PUT ${path}/manifests/1`,
  ])
  const resolved = await resolveImage(client, target, amd64, nothingKnown, quietContext())
  assert.is(resolved.descriptor.digest, digestOf(image.manifest))
})

test('a layer that the registry lost is sent again although the image of the tag has it', async () => {
  if (skip()) return
  await using registry = await startRegistry()
  await using client = createRegistryClient()
  const below = [randomTar('a', 300_000), randomTar('b', 200_000)]
  const target = { registry: registry.host, repository: 'app', tag: '1' }
  const before = imageOf(below)
  await push(client, target, before)
  const lost = before.layers[0]?.digest
  const answer = await fetch(`http://${registry.host}/v2/app/blobs/${lost}`, { method: 'DELETE' })
  assert.is(answer.status, 202)
  const image = imageOf([...below, randomTar('top', 10)])
  const result = await push(client, target, image, { before, mountSources: [`${registry.host}/app`] })
  assert.is(result.uploaded, 1)
  const read = await fetch(`http://${registry.host}/v2/app/blobs/${lost}`)
  assert.ok(Buffer.from(await read.arrayBuffer()).equals(image.blobs.get(lost as Digest) ?? Buffer.alloc(0)))
  const resolved = await resolveImage(client, target, amd64, nothingKnown, quietContext())
  assert.is(resolved.descriptor.digest, digestOf(image.manifest))
})

test.run()
