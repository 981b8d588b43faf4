import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { mediaTypes } from '../../src/core/descriptor.js'
import { type DiffID, type Digest, digestOf, hexOf } from '../../src/core/digest.js'
import type { BuildError } from '../../src/core/errors.js'
import { collect } from '../../src/io/stream.js'
import { compress, decompress, detectCompression } from '../../src/layer/compress.js'
import { compressLayerTask } from '../../src/layer/compress-task.js'
import { digestLayer } from '../../src/layer/digest.js'
import { applyLayerTask } from '../../src/layer/tasks.js'
import { verifyStore } from '../../src/store/verify.js'
import { tempDirectory, tempStore } from '../helpers/temp-store.js'

/** Bytes that compress a little. */
function sample(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let i = 0, state = 7; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = (state >>> 24) % 20
  }
  return bytes
}

test('the compressed bytes do not depend on how the input is cut or how many threads there are', async () => {
  const bytes = sample(2_500_000)
  const pieces = (size: number): Readable =>
    Readable.from(Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size)))
  const whole = await collect(compress(pieces(bytes.length), { compression: 'gzip' }))
  for (const size of [1000, 1 << 16, 1_500_000]) {
    assert.ok((await collect(compress(pieces(size), { compression: 'gzip' }))).equals(whole), `${size}`)
  }
  const script = `
    import { compress } from ${JSON.stringify(new URL('../../src/layer/compress.js', import.meta.url).href)}
    import { createReadStream } from 'node:fs'
    for await (const chunk of compress(createReadStream(process.argv[1]), { compression: 'gzip' })) process.stdout.write(chunk)
  `
  await using directory = tempDirectory()
  writeFileSync(`${directory.path}/input`, bytes)
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1' }
  const alone = execFileSync(process.execPath, ['--input-type=module', '-e', script, `${directory.path}/input`], {
    env,
    maxBuffer: 1 << 24,
  })
  assert.ok(alone.equals(whole))
  assert.ok(gunzipSync(whole).equals(bytes))
  assert.is(detectCompression(whole), 'gzip')
  assert.ok((await collect(decompress(Readable.from([whole]), 'detect'))).equals(bytes))
})

test('each kind of content is compressed in its own way, and comes back as it was', async () => {
  const mebibyte = 1 << 20
  const random = randomBytes(mebibyte)
  const digits = Buffer.from(randomBytes(mebibyte / 2).toString('hex'))
  const repeated = Buffer.alloc(mebibyte, 'the same words again and again, ')
  const sizes: number[] = []
  for (const bytes of [random, digits, repeated, Buffer.concat([random, digits, repeated])]) {
    const packed = await collect(compress(Readable.from([bytes]), { compression: 'gzip' }))
    assert.ok(gunzipSync(packed).equals(bytes))
    sizes.push(packed.length)
  }
  const [randomSize = 0, digitsSize = 0, repeatedSize = 0, allSize] = sizes
  // Nothing is gained from random bytes, half from hexadecimal digits, nearly all from what repeats.
  assert.ok(randomSize < 1.001 * mebibyte && digitsSize < 0.6 * mebibyte && repeatedSize < 0.02 * mebibyte, `${sizes}`)
  assert.is(allSize, randomSize + digitsSize + repeatedSize)
})

test('nothing at all compresses to a valid empty gzip', async () => {
  const packed = await collect(compress(Readable.from([]), { compression: 'gzip' }))
  assert.is(gunzipSync(packed).length, 0)
})

test('uncompressed bytes pass as they are', async () => {
  const bytes = sample(1000)
  assert.ok((await collect(compress(Readable.from([bytes]), { compression: 'none' }))).equals(bytes))
  assert.ok((await collect(decompress(Readable.from([bytes.subarray(0, 1), bytes.subarray(1)]), 'detect'))).equals(bytes))
})

test('zstd works where Node has it and is named where not', async () => {
  const bytes = sample(1_500_000)
  try {
    const packed = await collect(compress(Readable.from([bytes]), { compression: 'zstd' }))
    assert.is(detectCompression(packed), 'zstd')
    assert.ok((await collect(decompress(Readable.from([packed]), 'detect'))).equals(bytes))
  } catch (error) {
    assert.is((error as BuildError).code, 'LAYER_UNSUPPORTED', String(error))
    process.stdout.write('SKIP: this Node has no zstd\n')
  }
})

test('a layer that is not what its digests say is refused', async () => {
  await using directory = tempDirectory()
  const upper = `${directory.path}/upper`
  mkdirSync(upper)
  writeFileSync(`${upper}/file`, 'content')
  const { diffId } = digestLayer(upper)
  const blob = await compressLayerTask({ upper, compression: 'gzip', output: `${directory.path}/blob`, diffId })
  const codeOf = async (work: Promise<unknown>): Promise<string> => {
    try {
      await work
      return 'none'
    } catch (error) {
      return (error as BuildError).code
    }
  }
  const target = (name: string): string => {
    mkdirSync(`${directory.path}/${name}`)
    return `${directory.path}/${name}`
  }
  const task = { path: `${directory.path}/blob`, compression: 'gzip' } as const
  const other = digestOf('other')
  assert.is(await codeOf(applyLayerTask({ ...task, target: target('1'), digest: blob.digest, diffId })), 'none')
  assert.is(await codeOf(applyLayerTask({ ...task, target: target('2'), digest: other })), 'STORE_DIGEST_MISMATCH')
  assert.is(
    await codeOf(applyLayerTask({ ...task, target: target('3'), diffId: other as string as DiffID })),
    'STORE_DIGEST_MISMATCH',
  )
  writeFileSync(`${upper}/file`, 'changed')
  const changed = compressLayerTask({ upper, compression: 'gzip', output: `${directory.path}/blob2`, diffId })
  assert.is(await codeOf(changed), 'STORE_DIGEST_MISMATCH')
})

test('skopeo, umoci and podman read a store that has an image with several gzip members', async () => {
  await using store = await tempStore()
  await using directory = tempDirectory()
  await using snapshot = await store.snapshots.prepare()
  writeFileSync(`${snapshot.upper}/big`, sample(3_000_000))
  writeFileSync(`${snapshot.upper}/setuid`, '')
  chmodSync(`${snapshot.upper}/setuid`, 0o4755)
  writeFileSync(`${snapshot.upper}/${'long'.repeat(40)}`, 'x')
  const { diffId, contentId, size, entries } = digestLayer(snapshot.upper)
  const id = await snapshot.commit(entries)
  const output = store.blobs.temporaryPath()
  const packed = await compressLayerTask({ upper: store.snapshots.pathOf(id), compression: 'gzip', output, diffId })
  store.blobs.adopt(output, packed.digest)
  const layer = { mediaType: mediaTypes.ociLayerGzip, digest: packed.digest, size: packed.size }
  store.layers.save({ diffId, contentId, size, snapshot: id, blobs: [layer], sources: [] })
  const describe = (mediaType: string, value: unknown): { mediaType: string; digest: Digest; size: number } => {
    const text = JSON.stringify(value)
    return { mediaType, digest: store.blobs.writeBytes(text), size: Buffer.byteLength(text) }
  }
  const config = describe(mediaTypes.ociConfig, {
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created_by: 'test' }],
  })
  const manifest = describe(mediaTypes.ociManifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config,
    layers: [layer],
  })
  const platform = { os: 'linux', architecture: 'amd64' }
  const image = { id: config.digest, platform, diffIds: [diffId], storedAt: 1, manifests: [manifest] }
  store.images.save(image)
  store.images.setTag({ reference: 'docker.io/library/test:1', image: config.digest })
  assert.equal(await verifyStore(store, { digestLayer: async (path) => digestLayer(path) }, new AbortController().signal), [])

  const name = `oci:${store.root}:docker.io/library/test:1`
  if (!hasProgram('skopeo')) process.stdout.write('SKIP: skopeo is not installed\n')
  else {
    const seen = JSON.parse(execFileSync('skopeo', ['inspect', name], { encoding: 'utf8' })) as {
      Digest: string
      Layers: string[]
    }
    assert.is(seen.Digest, manifest.digest)
    assert.equal(seen.Layers, [layer.digest])
    execFileSync('skopeo', ['copy', '-q', name, `oci:${directory.path}/copy:test`])
    execFileSync('skopeo', ['copy', '-q', name, `oci-archive:${directory.path}/archive.tar:test:1`])
  }
  if (!hasProgram('umoci') || !existsSync(`${directory.path}/copy`)) process.stdout.write('SKIP: umoci is not installed\n')
  else {
    execFileSync('umoci', ['unpack', '--image', `${directory.path}/copy:test`, `${directory.path}/bundle`], { stdio: 'pipe' })
    const rootfs = `${directory.path}/bundle/rootfs`
    assert.ok(readFileSync(`${rootfs}/big`).equals(sample(3_000_000)))
    assert.is(lstatSync(`${rootfs}/setuid`).mode & 0o7777, 0o4755)
    assert.ok(existsSync(`${rootfs}/${'long'.repeat(40)}`))
  }
  if (!hasProgram('podman')) process.stdout.write('SKIP: podman is not installed\n')
  else {
    const roots = ['--root', `${directory.path}/podman`, '--runroot', `${directory.path}/podman-run`, '--storage-driver', 'vfs']
    execFileSync('podman', [...roots, 'load', '-q', '-i', `${directory.path}/archive.tar`], { stdio: 'pipe' })
    const listed = execFileSync('podman', [...roots, 'images', '-q', '--no-trunc'], { encoding: 'utf8' })
    assert.match(listed, hexOf(config.digest))
  }
  store.images.removeTag('docker.io/library/test:1')
  store.images.remove(config.digest)
  assert.equal(JSON.parse(readFileSync(`${store.root}/index.json`, 'utf8')).manifests, [])
})

test('verifying a store finds what was damaged', async () => {
  await using store = await tempStore()
  const ids: string[] = []
  for (const content of ['a', 'b', 'c']) {
    await using snapshot = await store.snapshots.prepare()
    writeFileSync(`${snapshot.upper}/file`, content)
    const { diffId, contentId, size, entries } = digestLayer(snapshot.upper)
    ids.push(diffId)
    store.layers.save({ diffId, contentId, size, snapshot: await snapshot.commit(entries), blobs: [], sources: [] })
  }
  const [changed = '', longer = ''] = ids
  const fileOf = (diffId: string): string => `${store.snapshots.pathOf(store.layers.find(diffId as DiffID)?.snapshot ?? '')}/file`
  writeFileSync(fileOf(changed), 'x')
  writeFileSync(fileOf(longer), 'longer')
  const blob = store.blobs.writeBytes('blob')
  writeFileSync(store.blobs.pathOf(blob), 'blub')
  const id = digestOf('config')
  store.images.save({ id, platform: { os: 'linux', architecture: 'amd64' }, diffIds: [], storedAt: 1, manifests: [] })
  const problems = await verifyStore(store, { digestLayer: async (path) => digestLayer(path) }, new AbortController().signal)
  assert.equal(problems.map(({ name }) => name).sort(), [blob, id, changed, longer].sort())
})

function hasProgram(name: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(`${folder}/${name}`))
}

test.run()
