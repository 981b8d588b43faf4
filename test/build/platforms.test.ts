/** Several platforms in one build: shared steps, indexes in archives, registries and the store, split directories. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { exitProgram } from '../../sandbox/tiny-program.js'
import { BuildError } from '../../src/core/errors.js'
import type { Platform } from '../../src/core/platform.js'
import { loadImages, pushImages, saveImages } from '../../src/index.js'
import { openStore } from '../../src/store/store.js'
import { mille, milleOk, mustRun } from '../helpers/cli.js'
import { type Bench, benchTest, busybox, makeBench } from '../helpers/engine.js'
import { failure } from '../helpers/failure.js'
import { withRegistry } from '../helpers/registry-server.js'

const host: Platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }
const foreign: Platform = { os: 'linux', architecture: host.architecture === 'amd64' ? 'arm64' : 'amd64' }
const platforms = [foreign, host]

const crossBuilt = `FROM --platform=$BUILDPLATFORM ${busybox} AS tools
RUN date +%N > /made
FROM scratch
ARG TARGETARCH
COPY --from=tools /made /made
COPY <<EOF /arch
$TARGETARCH
EOF
`

function platformTest(title: string, programs: readonly string[], body: (bench: Bench) => Promise<void>): void {
  const written = (bench: Bench): Promise<void> => {
    bench.write({ Dockerfile: crossBuilt })
    return body(bench)
  }
  benchTest(title, written, programs)
}

interface Listed {
  readonly mediaType: string
  readonly manifests: readonly { readonly digest: string; readonly platform: Platform }[]
}

function architectures({ manifests }: Listed): string[] {
  return manifests.map(({ platform }) => platform.architecture)
}

platformTest('what platforms share runs once, and each has its image', [], async (bench) => {
  const dest = join(bench.directory, 'out')
  const result = await bench.build({ platforms, tags: ['app:1'], outputs: [{ type: 'image' }, { type: 'local', dest }] })
  assert.is(bench.ran().filter((name) => name.startsWith('RUN')).length, 1)
  assert.equal(
    result.images.map(({ platform }) => platform.architecture),
    platforms.map(({ architecture }) => architecture),
  )
  assert.is(result.imageId, result.images[1]?.imageId)
  assert.equal(readdirSync(dest).sort(), ['linux_amd64', 'linux_arm64'])
  const files = ['amd64', 'arm64'].map((arch) =>
    ['arch', 'made'].map((name) => readFileSync(join(dest, `linux_${arch}`, name), 'utf8')),
  )
  assert.equal([files[0]?.[0], files[1]?.[0]], ['amd64\n', 'arm64\n'])
  assert.is(files[0]?.[1], files[1]?.[1])
  const again = await bench.build({ platforms, tags: ['app:1'] })
  assert.equal([bench.ran(), again.images], [[], result.images])
})

platformTest('the images of a name serve the builds for their platforms', [], async (bench) => {
  await bench.build({ platforms, tags: ['localhost/app:1'] })
  bench.write({ Dockerfile: 'FROM localhost/app:1\nCOPY --from=localhost/app:1 /arch /copy\n' })
  const dest = join(bench.directory, 'out')
  await bench.build({ platforms, outputs: [{ type: 'local', dest }] })
  for (const arch of ['amd64', 'arm64']) assert.is(readFileSync(join(dest, `linux_${arch}/copy`), 'utf8'), `${arch}\n`)
})

platformTest('a name for several platforms is listed, shown, tagged, kept and removed as one', [], async (bench) => {
  bench.write({ Dockerfile: 'FROM scratch\nARG TARGETARCH\nCOPY <<EOF /arch\n$TARGETARCH\nEOF\n' })
  const buildArgs = { SOURCE_DATE_EPOCH: '1600000000' }
  const { images } = await bench.build({ platforms, tags: ['app:1'], buildArgs })
  const run = (...args: string[]): Promise<string> => milleOk(bench.root, args)
  const ids = images.map(({ imageId }) => imageId)
  await run('tag', 'app:1', 'app:2')
  await run('rmi', 'app:1')
  await run('prune', '--force', '--cache')
  await bench.build({ platforms: [host], tags: ['other'], buildArgs })
  const listed = await run('images', '--no-trunc', '--format', '{{.Tag}} {{.Platform}} {{.ID}}', 'app')
  const wanted = images.map(({ imageId, platform }) => `2 linux/${platform.architecture} ${imageId}`)
  assert.equal(listed.trim().split('\n').sort(), wanted.sort())
  assert.match(await run('images', 'app'), /REPOSITORY +TAG +PLATFORM +IMAGE ID/)
  assert.is(await run('inspect', '--format', '{{.Id}} {{len .Platforms}}', 'app:2'), `${ids[1]} 2\n`)
  assert.is(await run('inspect', '--platform', `linux/${foreign.architecture}`, '--format', '{{.Id}}', 'app:2'), `${ids[0]}\n`)
  const missing = await mille(bench.root, ['inspect', '--platform', 'linux/s390x', 'app:2'])
  assert.match(missing.stderr, /not here for linux\/s390x \[IMAGE_NO_PLATFORM\]\n {2}hint: it is here for linux\/\w+, linux\/\w+/)
  const removed = await run('rmi', 'app:2')
  assert.ok(removed.includes(`Deleted: ${ids[0]}`), 'only the other name still needs an image')
  assert.not.ok(removed.includes(`Deleted: ${ids[1]}`))
})

platformTest('without a directory for each platform, a file that two have is an error', [], async (bench) => {
  const dest = join(bench.directory, 'out')
  const clash = await failure(bench.build({ platforms, outputs: [{ type: 'local', dest, platformSplit: false }] }))
  assert.match(clash.message, /two platforms both have ".*arch"/)
  bench.write({ Dockerfile: 'FROM scratch\nARG TARGETARCH\nCOPY <<EOF /files/$TARGETARCH\nx\nEOF\n' })
  await bench.build({ platforms, outputs: [{ type: 'local', dest: join(bench.directory, 'one'), platformSplit: false }] })
  assert.equal(readdirSync(join(bench.directory, 'one/files')).sort(), ['amd64', 'arm64'])
})

platformTest(
  'an archive for several platforms is an index that skopeo reads and load takes in whole',
  ['skopeo'],
  async (bench) => {
    using other = await makeBench({ base: false })
    const [oci, docker] = [join(bench.directory, 'oci.tar'), join(bench.directory, 'docker.tar')]
    const outputs = [{ type: 'oci', dest: oci } as const, { type: 'docker', dest: docker } as const]
    const { images, manifest } = await bench.build({ platforms, tags: ['app:1'], outputs })
    const raw = JSON.parse(await mustRun('skopeo', ['inspect', '--raw', `oci-archive:${oci}`])) as Listed
    assert.equal([raw.mediaType, architectures(raw)], [manifest?.mediaType, platforms.map(({ architecture }) => architecture)])
    // Readers of docker archives get the image for this machine.
    const config = JSON.parse(await mustRun('skopeo', ['inspect', '--config', `docker-archive:${docker}`])) as Platform
    assert.is(config.architecture, host.architecture)
    for (const source of [oci, docker]) {
      const loaded = await loadImages({ root: other.root, source })
      assert.equal(loaded.map(({ imageId }) => imageId).sort(), images.map(({ imageId }) => imageId).sort())
      assert.ok(loaded.every(({ names }) => names.join() === 'docker.io/library/app:1'))
    }
    const saved = join(bench.directory, 'saved.tar')
    await saveImages({ root: other.root, images: ['app:1'], format: 'oci', dest: saved })
    assert.equal(JSON.parse(await mustRun('skopeo', ['inspect', '--raw', `oci-archive:${saved}`])), raw)
  },
)

platformTest('a push sends an index, at once or later, with one digest', ['skopeo', 'docker-registry'], async (bench) => {
  await withRegistry(join(bench.directory, 'registry'), async (address) => {
    const name = `${address}/app:1`
    const { manifest, images } = await bench.build({ platforms, tags: [name], push: true })
    const inspect = (tag: string, ...more: string[]): Promise<string> =>
      mustRun('skopeo', ['inspect', '--tls-verify=false', ...more, `docker://${address}/app:${tag}`])
    const raw = JSON.parse(await inspect('1', '--raw')) as Listed
    assert.equal(
      architectures(raw),
      platforms.map(({ architecture }) => architecture),
    )
    assert.is((JSON.parse(await inspect('1')) as { Digest: string }).Digest, manifest?.digest)
    const [pushed] = await pushImages({ root: bench.root, references: [name] })
    assert.is(pushed?.digest, manifest?.digest)
    await using store = await openStore(bench.root)
    assert.equal(
      store.images.tagOf(name)?.images,
      images.map(({ imageId }) => imageId),
    )
    const [only] = await pushImages({ root: bench.root, references: [name], platform: foreign })
    assert.is(only?.digest, raw.manifests[0]?.digest)
  })
})

platformTest('a program for another processor is an error that says how to get an emulator', [], async (bench) => {
  const program = exitProgram(foreign.architecture === 'arm64' ? 'arm64' : 'x64')
  if (program === undefined) throw new Error('there is a program for each processor')
  mkdirSync(bench.context, { recursive: true })
  writeFileSync(join(bench.context, 'sh'), program, { mode: 0o755 })
  bench.write({ Dockerfile: 'FROM scratch\nCOPY sh /bin/sh\nRUN echo hello\n' })
  const outcome = await bench.build({ platforms: [foreign] }).then(
    () => undefined,
    (error: unknown) => error,
  )
  if (outcome === undefined) {
    console.log('SKIP: this machine runs programs for other processors')
    return
  }
  assert.instance(outcome, BuildError)
  const { code, message, hint } = outcome as BuildError
  assert.is(code, 'SANDBOX_COMMAND_NOT_EXECUTABLE')
  assert.match(message, new RegExp(`is a program for ${foreign.architecture}, and this machine has no emulator`))
  assert.match(hint ?? '', /qemu-user-static/)
})

test.run()
