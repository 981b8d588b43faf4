/** Images as layouts, archives and pushes: everything recomputed, and accepted by the tools of others. */
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Index } from '../../src/core/descriptor.js'
import { hexOf } from '../../src/core/digest.js'
import type { BuildResult } from '../../src/engine/options.js'
import { type ValidImage, validateImage } from '../../src/exporter/validate.js'
import { mustRun } from '../helpers/cli.js'
import { type Bench, benchTest, busybox, makeBench } from '../helpers/engine.js'
import { podman, unpackWithUmoci } from '../helpers/peers.js'
import { withRegistry } from '../helpers/registry-server.js'

const dockerfile = `FROM ${busybox}
RUN echo hello > /greeting && ln /greeting /linked && ln -s greeting /pointed && chmod 4755 /greeting
RUN rm /linked && mkdir -p /deep/er && echo x > /deep/er/x
ENV A=b
CMD ["cat", "/greeting"]
`

function exportTest(title: string, programs: readonly string[], body: (bench: Bench) => Promise<void>): void {
  const written = (bench: Bench): Promise<void> => {
    bench.write({ Dockerfile: dockerfile })
    return body(bench)
  }
  benchTest(title, written, programs)
}

/** Validates the only image of a layout. */
async function validateLayout(layout: string): Promise<ValidImage> {
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as Index
  assert.is(index.manifests.length, 1)
  const [descriptor] = index.manifests
  if (descriptor === undefined) throw new Error('no manifest')
  return validateImage(descriptor, (digest) => createReadStream(join(layout, 'blobs/sha256', hexOf(digest))))
}

const toLayout = (bench: Bench): Promise<BuildResult> =>
  bench.build({ tags: ['app:1'], outputs: [{ type: 'oci', dest: join(bench.directory, 'layout'), tar: false }] })

exportTest('an OCI layout is true to itself and read by skopeo and umoci', ['skopeo', 'umoci'], async (bench) => {
  const { imageId } = await toLayout(bench)
  const layout = join(bench.directory, 'layout')
  const valid = await validateLayout(layout)
  assert.is(valid.manifest.config.digest, imageId)
  assert.is(valid.diffIds.length, 3)
  await mustRun('skopeo', ['inspect', `oci:${layout}:1`])
  await mustRun('skopeo', ['copy', '--quiet', `oci:${layout}:1`, `oci:${join(bench.directory, 'copy')}:1`])
  const rootfs = await unpackWithUmoci(layout, '1', join(bench.directory, 'unpacked'))
  assert.is(readFileSync(join(rootfs, 'greeting'), 'utf8'), 'hello\n')
  assert.not.ok(existsSync(join(rootfs, 'linked')))
  assert.is(statSync(join(rootfs, 'greeting')).mode & 0o7777, 0o4755)
})

exportTest('the same image gives the same bytes, and a second export only copies', [], async (bench) => {
  const paths = ['one.tar', 'two.tar'].map((name) => join(bench.directory, name))
  for (const dest of paths) await bench.build({ tags: ['app'], outputs: [{ type: 'oci', dest }] })
  const [one, two] = paths.map((path) => readFileSync(path))
  assert.ok(one !== undefined && two !== undefined && one.equals(two))
  assert.not.ok(bench.events.some((event) => event.type === 'progress' && event.item.startsWith('compress')))
})

exportTest('a layout keeps its other images, and an image of the same name is replaced', [], async (bench) => {
  const dest = join(bench.directory, 'layout')
  const exported = (tag: string): Promise<BuildResult> =>
    bench.build({ tags: [tag], outputs: [{ type: 'oci', dest, tar: false }] })
  await exported('app:1')
  await exported('app:2')
  bench.write({ Dockerfile: `FROM ${busybox}\n` })
  await exported('app:1')
  const index = JSON.parse(readFileSync(join(dest, 'index.json'), 'utf8')) as Index
  assert.equal(index.manifests.map(({ annotations }) => annotations?.['org.opencontainers.image.ref.name']).sort(), ['1', '2'])
  assert.is(new Set(index.manifests.map(({ digest }) => digest)).size, 2)
})

exportTest(
  'a docker archive is loaded and run by podman, and is an OCI archive too',
  ['skopeo', 'podman', 'runc'],
  async (bench) => {
    const dest = join(bench.directory, 'app.tar')
    const { imageId } = await bench.build({ tags: ['localhost/app:1'], outputs: [{ type: 'docker', dest }] })
    const config = await mustRun('skopeo', ['inspect', '--config', '--raw', `docker-archive:${dest}`])
    assert.equal(JSON.parse(config).config.Cmd, ['cat', '/greeting'])
    await mustRun('skopeo', ['inspect', `oci-archive:${dest}`])
    await podman(bench.directory, ['load', '--quiet', '-i', dest])
    const id = await podman(bench.directory, ['image', 'inspect', '--format', '{{.Id}}', 'localhost/app:1'])
    assert.is(`sha256:${id.trim()}`, imageId)
  },
)

exportTest('the root filesystem comes as a directory and as a tar', ['tar'], async (bench) => {
  const local = join(bench.directory, 'local')
  const tar = join(bench.directory, 'rootfs.tar')
  await bench.build({
    outputs: [
      { type: 'local', dest: local },
      { type: 'tar', dest: tar },
    ],
  })
  assert.is(readFileSync(join(local, 'greeting'), 'utf8'), 'hello\n')
  assert.ok(readdirSync(local).includes('pointed'))
  const listed = await mustRun('tar', ['-tvf', tar])
  assert.match(listed, /-rwsr-xr-x 0\/0 +6 .* greeting\n/)
  assert.match(listed, /pointed -> greeting/)
  assert.not.match(listed, /linked/)
})

exportTest('a pushed image is pulled by skopeo with the digests that were said', ['skopeo', 'docker-registry'], async (bench) => {
  await withRegistry(join(bench.directory, 'registry'), async (host) => {
    const name = `${host}/team/app:1`
    const { manifest, imageId, metadata } = await bench.build({ tags: [name, `${host}/team/app:2`], push: true })
    const raw = await mustRun('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${name}`])
    assert.is(JSON.parse(raw).config.digest, imageId)
    assert.is(metadata['containerimage.digest'], manifest?.digest)
    const back = join(bench.directory, 'back')
    await mustRun('skopeo', [
      'copy',
      '--quiet',
      '--preserve-digests',
      '--src-tls-verify=false',
      `docker://${host}/team/app:2`,
      `oci:${back}:b`,
    ])
    const valid = await validateLayout(back)
    assert.is(valid.manifest.config.digest, imageId)
  })
})

exportTest('a base that is pulled stays where it is until a step needs it', ['skopeo', 'docker-registry'], async (bench) => {
  await withRegistry(join(bench.directory, 'registry'), async (host) => {
    await bench.build({ tags: [`${host}/base:1`], push: true })
    using other = await makeBench({ base: false })
    other.write({ Dockerfile: `FROM ${host}/base:1\nLABEL x=y\n` })
    const { imageId } = await other.build({ tags: [`${host}/child:1`], push: true })
    assert.is(readdirSync(join(other.root, 'snapshots')).length, 0, 'nothing was unpacked')
    other.write({ Dockerfile: `FROM ${host}/base:1\nRUN cat /greeting\n` })
    await other.build()
    assert.match(other.output(), 'hello')
    const raw = await mustRun('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${host}/child:1`])
    assert.is(JSON.parse(raw).config.digest, imageId)
  })
})

test.run()
