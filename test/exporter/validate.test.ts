/** The validator finds each kind of lie in an image that is otherwise true. */
import { gzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import { type Digest, digestOf } from '../../src/core/digest.js'
import { validateImage } from '../../src/exporter/validate.js'

interface Parts {
  readonly tar: Buffer
  readonly diffId: string
  readonly layerSize: number
  readonly history: readonly { readonly empty_layer?: boolean }[]
}

const tar = Buffer.alloc(1024)
const good: Parts = { tar, diffId: digestOf(tar), layerSize: gzipSync(tar).length, history: [{}, { empty_layer: true }] }

function makeImage(parts: Parts): { readonly descriptor: Descriptor; readonly blobs: Map<Digest, Buffer> } {
  const blobs = new Map<Digest, Buffer>()
  const put = (mediaType: string, bytes: Buffer): Descriptor => {
    const digest = digestOf(bytes)
    blobs.set(digest, bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const layer = { ...put(mediaTypes.ociLayerGzip, gzipSync(parts.tar)), size: parts.layerSize }
  const config = {
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [parts.diffId] },
    history: parts.history,
  }
  const configBlob = put(mediaTypes.ociConfig, Buffer.from(JSON.stringify(config)))
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: configBlob, layers: [layer] }
  return { descriptor: put(mediaTypes.ociManifest, Buffer.from(JSON.stringify(manifest))), blobs }
}

async function problemOf(parts: Parts, damage?: (blobs: Map<Digest, Buffer>) => void): Promise<string | undefined> {
  const { descriptor, blobs } = makeImage(parts)
  damage?.(blobs)
  const open = async function* (digest: Digest): AsyncGenerator<Uint8Array> {
    yield blobs.get(digest) ?? Buffer.alloc(0)
  }
  return validateImage(descriptor, open).then(
    () => undefined,
    (error: Error) => error.message,
  )
}

test('accepts an image in which all is true', async () => {
  assert.is(await problemOf(good), undefined)
})

test('finds a DiffID that is not the layer’s', async () => {
  assert.match((await problemOf({ ...good, diffId: digestOf('other') })) ?? '', /unpacks to sha256:.*, the config says/)
})

test('finds a size that is not the blob’s', async () => {
  assert.match((await problemOf({ ...good, layerSize: 1 })) ?? '', /bytes, its descriptor says 1$/)
})

test('finds a blob with other bytes', async () => {
  const problem = await problemOf(good, (blobs) => {
    for (const [digest, bytes] of blobs)
      if (bytes[0] === 0x1f) blobs.set(digest, Buffer.concat([bytes.subarray(0, -1), Buffer.of(9)]))
  })
  assert.ok(problem !== undefined)
})

test('finds a history that does not match the layers', async () => {
  assert.match((await problemOf({ ...good, history: [{ empty_layer: true }] })) ?? '', /history has 0 entries/)
})

test.run()
