/** Images saved, loaded, pushed and pulled: digests survive, and broken archives leave no image behind. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { importImage, loadImages, pullImage, pushImages, saveImages } from '../../src/index.js'
import { openStore } from '../../src/store/store.js'
import { baseTar } from '../helpers/bases.js'
import { mustRun } from '../helpers/cli.js'
import { type Bench, benchTest, busybox, makeBench } from '../helpers/engine.js'
import { failure } from '../helpers/failure.js'
import { withRegistry } from '../helpers/registry-server.js'

function archiveTest(title: string, programs: readonly string[], body: (bench: Bench, other: Bench) => Promise<void>): void {
  const withOther = async (bench: Bench): Promise<void> => {
    using other = await makeBench({ base: false })
    bench.write({ Dockerfile: `FROM ${busybox}\nRUN echo hello > /greeting\n` })
    await body(bench, other)
  }
  benchTest(title, withOther, programs)
}

async function imageCount(root: string): Promise<number> {
  await using store = await openStore(root)
  return store.images.list().length
}

archiveTest(
  'an image that is saved and loaded elsewhere is the same image, and builds go on from it',
  [],
  async (bench, other) => {
    const { imageId } = await bench.build({ tags: ['app:1'] })
    for (const format of ['docker', 'oci'] as const) {
      const dest = join(bench.directory, `${format}.tar`)
      await saveImages({ root: bench.root, images: ['app:1'], format, dest })
      const loaded = await loadImages({ root: other.root, source: Readable.from([gzipSync(readFileSync(dest))]) })
      assert.equal(loaded, [{ imageId, names: ['docker.io/library/app:1'] }])
    }
    other.write({ Dockerfile: 'FROM app:1\nRUN cat /greeting\n' })
    await other.build()
    assert.is(other.output(), 'hello\n')
  },
)

archiveTest('an archive and a layout made by skopeo are loaded', ['skopeo'], async (bench, other) => {
  const { imageId } = await bench.build({ tags: ['app:1'] })
  const dest = join(bench.directory, 'app.tar')
  await saveImages({ root: bench.root, images: ['app:1'], dest })
  const archive = join(bench.directory, 'skopeo.tar')
  const layout = join(bench.directory, 'skopeo-layout')
  await mustRun('skopeo', ['copy', '--quiet', `docker-archive:${dest}`, `docker-archive:${archive}:docker.io/library/again:2`])
  await mustRun('skopeo', ['copy', '--quiet', `docker-archive:${dest}`, `oci:${layout}:localhost/third:3`])
  assert.equal(await loadImages({ root: other.root, source: archive }), [{ imageId, names: ['docker.io/library/again:2'] }])
  // Into an OCI layout skopeo writes a config of its own.
  const [third] = await loadImages({ root: other.root, source: layout })
  assert.equal(third?.names, ['localhost/third:3'])
})

archiveTest(
  'an image keeps its manifest digest through pull, save, load and push',
  ['docker-registry', 'skopeo'],
  async (bench, other) => {
    await withRegistry(join(bench.directory, 'registry'), async (host) => {
      const { manifest, imageId } = await bench.build({ tags: [`${host}/app:1`], push: true })
      const { platform, ...pulled } = await pullImage({ root: other.root, reference: `${host}/app:1` })
      assert.is(platform.os, 'linux')
      assert.equal(pulled, { reference: `${host}/app:1`, imageId, digest: manifest?.digest, isNew: true })
      assert.is((await pullImage({ root: other.root, reference: `${host}/app:1` })).isNew, false)
      const dest = join(bench.directory, 'app.tar')
      await saveImages({ root: other.root, images: [`${host}/app:1`], format: 'oci', dest })
      using third = await makeBench({ base: false })
      await loadImages({ root: third.root, source: dest })
      {
        await using store = await openStore(third.root)
        store.images.setTag({ reference: `${host}/moved:1`, image: imageId })
      }
      const [pushed] = await pushImages({ root: third.root, references: [`${host}/moved:1`] })
      assert.is(pushed?.digest, manifest?.digest)
    })
  },
)

archiveTest('a damaged archive is one clear error and leaves no image', [], async (bench, other) => {
  await bench.build({ tags: ['app:1'] })
  const dest = join(bench.directory, 'app.tar')
  await saveImages({ root: bench.root, images: ['app:1'], dest })
  const good = readFileSync(dest)
  const cut = join(bench.directory, 'cut.tar')
  writeFileSync(cut, good.subarray(0, good.length / 2))
  assert.match((await failure(loadImages({ root: other.root, source: cut }))).code, /^(ARCHIVE_BAD|STORE_\w+_MISMATCH)$/)
  const flipped = Buffer.from(good)
  flipped.writeUInt8(flipped.readUInt8(4096) ^ 1, 4096)
  writeFileSync(cut, flipped)
  assert.is((await failure(loadImages({ root: other.root, source: cut }))).code, 'STORE_DIGEST_MISMATCH')
  writeFileSync(cut, 'this is no archive')
  assert.is((await failure(loadImages({ root: other.root, source: cut }))).code, 'ARCHIVE_BAD')
  assert.is((await failure(loadImages({ root: other.root, source: await baseTar('busybox') }))).code, 'ARCHIVE_BAD')
  assert.is(await imageCount(other.root), 0)
})

archiveTest('importing the same files twice gives the same layer', [], async (bench) => {
  const source = await baseTar('busybox')
  const ids = [
    await importImage({ root: bench.root, source, now: () => 1e12 }),
    await importImage({ root: bench.root, source, now: () => 1e12 }),
  ]
  assert.is(ids[0], ids[1])
})

test.run()
