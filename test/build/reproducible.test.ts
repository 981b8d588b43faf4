/** Builds that give the same bytes anywhere and any day, and what says so when they do not. */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ImageConfig } from '../../src/core/image.js'
import type { BuildResult } from '../../src/engine/options.js'
import { loadImages, saveImages } from '../../src/index.js'
import { openStore } from '../../src/store/store.js'
import { projectRoot, runProgram } from '../helpers/cli.js'
import { collect, everything } from '../helpers/collect.js'
import { type Bench, benchTest, busybox, makeBench } from '../helpers/engine.js'
import { failure } from '../helpers/failure.js'
import { rawTar } from '../helpers/raw-tar.js'

const epoch = 1_600_000_000
const epochText = new Date(epoch * 1000).toISOString()
const withEpoch = { buildArgs: { SOURCE_DATE_EPOCH: String(epoch) } }

async function configOf(bench: Bench, { imageId }: BuildResult): Promise<ImageConfig> {
  await using store = await openStore(bench.root)
  return JSON.parse((await store.blobs.read({ digest: imageId })).toString()) as ImageConfig
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

benchTest('two machines give the same archive, whatever their names, days, places, languages and users', async (bench) => {
  if ((await runProgram('unshare', ['-u', 'true'])).code !== 0) {
    console.log('SKIP: unshare -u does not work here')
    return
  }
  const base = join(bench.directory, 'base.tar')
  await saveImages({ root: bench.root, images: [busybox], dest: base })
  const dockerfile = `FROM ${busybox}
ARG SOURCE_DATE_EPOCH
WORKDIR /work/deep
COPY --chown=1:2 . .
RUN mkdir -p made/by && echo "$SOURCE_DATE_EPOCH" > made/by/run && ln made/by/run made/link && rm -r sub
COPY --link sub/b /linked/
ENV A=1
`
  const machine = async (name: string, set: string, env: Readonly<Record<string, string>>, time: number): Promise<string> => {
    const [root, context, dest] = ['store', 'a/context', 'out.tar'].map((part) => join(bench.directory, name, part))
    if (root === undefined || context === undefined || dest === undefined) throw new Error('three paths')
    await loadImages({ root, source: base })
    mkdirSync(join(context, 'sub'), { recursive: true })
    for (const [path, text] of [
      ['Dockerfile', dockerfile],
      ['a', 'a'],
      ['sub/b', 'b'.repeat(3_000_000)],
    ] as const) {
      writeFileSync(join(context, path), text, { mode: 0o644 })
      utimesSync(join(context, path), time, time)
    }
    const line = `hostname ${name} && ${set} && cd "$CONTEXT" && exec "$MILLE" build -q -o type=oci,dest="$DEST" .`
    const paths = { CONTEXT: context, DEST: dest, MILLE: join(projectRoot, 'bin/mille'), MILLE_ROOT: root }
    const ended = await runProgram('unshare', ['-u', 'sh', '-c', line], {
      env: { ...paths, ...env, SOURCE_DATE_EPOCH: String(epoch) },
    })
    assert.is(ended.code, 0, ended.stderr)
    return sha256(dest)
  }
  const one = await machine('one', 'umask 022', { TZ: 'UTC', LC_ALL: 'C' }, epoch + 1)
  const other = await machine('other', 'umask 077', { TZ: 'Asia/Tokyo', LC_ALL: 'C.UTF-8', HOME: '/' }, epoch + 900_000)
  assert.is(other, one)
})

benchTest('no time of the build is later than SOURCE_DATE_EPOCH, and times of the base stay', async (bench) => {
  bench.write({ Dockerfile: `FROM ${busybox}\nRUN echo a > /a && touch -d '2001-02-03 04:05:06' /old\nENV A=1\n` })
  const dest = join(bench.directory, 'out')
  const built = await bench.build({ ...withEpoch, outputs: [{ type: 'image' }, { type: 'local', dest }] })
  const config = await configOf(bench, built)
  const [imported, ...own] = (config.history ?? []).map(({ created }) => created)
  assert.is.not(imported, epochText)
  assert.equal([own, config.created], [[epochText, epochText], epochText])
  assert.is(statSync(join(dest, 'a')).mtimeMs, epoch * 1000)
  assert.is(statSync(join(dest, 'old')).mtime.toISOString(), '2001-02-03T04:05:06.000Z')

  const plain = await configOf(bench, await bench.build())
  assert.is(config.rootfs.diff_ids[0], plain.rootfs.diff_ids[0])
  assert.is.not(config.rootfs.diff_ids[1], plain.rootfs.diff_ids[1])
  const kept = await bench.build({ ...withEpoch, outputs: [{ type: 'image', rewriteTimestamp: false }] })
  assert.equal((await configOf(bench, kept)).rootfs, plain.rootfs)
  assert.is((await configOf(bench, kept)).created, epochText)
  const other = await bench.build({ ...withEpoch, outputs: [{ type: 'image', sourceDateEpoch: epoch + 1 }] })
  assert.is((await configOf(bench, other)).created, new Date((epoch + 1) * 1000).toISOString())
})

benchTest('a rewritten image is a base like any other, also after the cache is gone', async (bench) => {
  bench.write({ Dockerfile: `FROM ${busybox}\nRUN mkdir /d && echo a > /d/a\n` })
  const { imageId } = await bench.build({ ...withEpoch, tags: ['app:1'] })
  {
    await using store = await openStore(bench.root)
    await collect(store, everything)
  }
  bench.write({ Dockerfile: 'FROM app:1\nRUN stat -c %Y /d /d/a\n' })
  await bench.build()
  assert.is(bench.output(), `${epoch}\n${epoch}\n`)
  const dest = join(bench.directory, 'app.tar')
  await saveImages({ root: bench.root, images: ['app:1'], dest })
  using other = await makeBench({ base: false })
  const [loaded] = await loadImages({ root: other.root, source: dest })
  assert.is(loaded?.imageId, imageId)
})

benchTest('SOURCE_DATE_EPOCH can be the time of a source', async (bench) => {
  const copying = { name: 'Dockerfile', content: 'FROM scratch\nCOPY file /\n', mtime: epoch - 60 }
  const archive = rawTar([copying, { name: 'file', content: 'x', mtime: epoch }])
  const server = createServer((request, response) => {
    if (request.url === '/dated') response.setHeader('last-modified', new Date((epoch + 60) * 1000).toUTCString())
    response.end(request.url === '/dated' ? 'text' : archive)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    for (const [path, wanted] of [
      ['dated', epoch + 60],
      ['source.tar', epoch],
    ] as const) {
      bench.write({
        Dockerfile: `ARG SOURCE_DATE_EPOCH=source
FROM scratch AS source
ADD ${url}/${path} /
FROM ${busybox}
ARG SOURCE_DATE_EPOCH
RUN echo "$SOURCE_DATE_EPOCH"
`,
      })
      const config = await configOf(bench, await bench.build())
      assert.is(bench.output(), `${wanted}\n`)
      assert.is(config.created, new Date(wanted * 1000).toISOString())
    }
    const context = `${url}/context.tar`
    const fetched = await bench.build({ context, buildArgs: { SOURCE_DATE_EPOCH: 'context' } })
    assert.is((await configOf(bench, fetched)).created, epochText)
    // A directory has no time of its own, which is said.
    const { warnings } = await bench.build({ buildArgs: { SOURCE_DATE_EPOCH: 'context' } })
    assert.is(bench.output(), '\n')
    assert.equal(
      warnings.map(({ code }) => code).filter((code) => code === 'NoSourceDateEpoch'),
      ['NoSourceDateEpoch'],
    )
  } finally {
    server.close()
  }
})

benchTest('building twice shows where and how two builds differ', async (bench) => {
  const cases: [string, object, RegExp, readonly RegExp[], RegExp][] = [
    [
      'RUN echo same > /same; cat /proc/sys/kernel/random/uuid > /id',
      withEpoch,
      /^two builds of this differ: line 1 of "\/id" of layer 2, RUN \/bin\/sh -c echo same/,
      [/^first build: {2}"[0-9a-f-]{36}"$/, /^second build: "[0-9a-f-]{36}"$/],
      /random/,
    ],
    ['RUN mkdir /$(date +%s)', withEpoch, /differ: entry of "\/\d+" of layer 2/, [/directory/, /nothing/], /random/],
    [
      // Equal only when the builds are a multiple of 512 seconds apart.
      'RUN touch /f && chmod $(printf %o $(($(date +%s) % 512))) /f',
      withEpoch,
      /differ: mode of "\/f"/,
      [/0\d+$/, /0\d+$/],
      /random/,
    ],
    ['RUN touch /f', {}, /differ in times only: mtime of "\/f" of layer 2/, [/Z$/, /Z$/], /SOURCE_DATE_EPOCH/],
  ]
  for (const [step, options, message, notes, hint] of cases) {
    bench.write({ Dockerfile: `FROM ${busybox}\n${step}\n` })
    const error = await failure(bench.build({ ...options, verifyReproducible: true }))
    assert.is(error.code, 'BUILD_NOT_REPRODUCIBLE')
    assert.match(error.message, message)
    assert.is(error.notes.length, 2)
    for (const [i, note] of error.notes.entries()) assert.match(note.message, notes[i] ?? /^$/)
    assert.match(error.hint ?? '', hint)
  }
})

benchTest('building twice passes what is the same, with empty cache mounts, and its steps are cached then', async (bench) => {
  bench.write({
    Dockerfile: `FROM ${busybox}\nRUN --mount=type=cache,target=/c ls /c > /seen && date > /c/now\nCOPY Dockerfile /copy\n`,
  })
  const plain = await bench.build(withEpoch)
  const verified = await bench.build({ ...withEpoch, verifyReproducible: true })
  assert.is(verified.imageId, plain.imageId)
  const reasons = bench.events.flatMap((event) => (event.type === 'vertex-started' && event.reason ? [event.reason.text] : []))
  assert.equal(reasons, new Array(4).fill('--verify-reproducible'))
  await bench.build(withEpoch)
  assert.equal(bench.ran(), [])
})

benchTest('what earlier exports asked for does not change the digest of a later one', async (bench) => {
  bench.write({ Dockerfile: `FROM scratch\nCOPY data /\n`, data: 'lorem ipsum '.repeat(20_000) })
  const dest = join(bench.directory, 'out.tar')
  const digest = async (options: object): Promise<string | undefined> =>
    (await bench.build({ ...withEpoch, outputs: [{ type: 'oci', dest, ...options }] })).manifest?.digest
  const small = await digest({ compressionLevel: 9 })
  const none = await digest({ compression: 'none' })
  const usual = await digest({})
  assert.is(new Set([small, none, usual]).size, 3)
  assert.equal([await digest({ compressionLevel: 9 }), await digest({})], [small, usual])
})

test.run()
