/** Caches that travel: built on one store, used on another, through each kind of place and inside an image. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { dryRun } from '../../src/build.js'
import { quietContext } from '../../src/core/context.js'
import type { Manifest } from '../../src/core/descriptor.js'
import { digestOf } from '../../src/core/digest.js'
import type { CacheFrom, CacheTo } from '../../src/engine/options.js'
import { placeKinds, startPlace } from '../helpers/cache-places.js'
import { type Bench, busybox, makeBench, whyNoBuild } from '../helpers/engine.js'
import { registryMissing, startRegistry, type TestRegistry } from '../helpers/registry.js'
import { within } from '../helpers/within.js'

const dockerfile = {
  name: 'Dockerfile',
  text: [
    `FROM ${busybox} AS make`,
    'COPY src /src',
    'RUN head -c 3000000 /dev/urandom > /big',
    'RUN head -c 30 /dev/urandom | sha256sum > /unique',
    `FROM ${busybox}`,
    'COPY --from=make /unique /',
    'RUN cp /unique /second',
  ].join('\n'),
}

const files = { 'src/a.txt': 'a', 'src/b.txt': 'b' }

/** Stores that share nothing; the first is where the cache comes from. */
async function machines(count: number, work: (benches: readonly Bench[]) => Promise<void>): Promise<void> {
  const reason = (await whyNoBuild()) ?? registryMissing()
  if (reason !== undefined) {
    console.log(`SKIP: ${reason}`)
    return
  }
  const benches: Bench[] = []
  try {
    for (let i = 0; i < count; i++) {
      // The same base on all of them, imported once.
      const [first] = benches
      const bench = await makeBench({ base: first === undefined })
      if (first !== undefined) execFileSync('cp', ['-a', first.root, bench.root])
      benches.push(bench)
      bench.write(files)
    }
    await within(120_000, work(benches))
  } finally {
    for (const bench of benches) bench[Symbol.dispose]()
  }
}

/** The requests that move bytes of blobs larger than `bytes`: what a registry's log has as GET and PUT of blobs. */
function transfers(registry: TestRegistry, from: number): string[] {
  return registry
    .requests()
    .slice(from)
    .filter((line) => /^GET \/v2\/.*\/blobs\/|^(PUT|PATCH) \/v2\/.*\/blobs\/uploads/.test(line))
}

/** What the final image has in a file, read on a bench. */
async function readBack(bench: Bench, path: string, options: Parameters<Bench['build']>[0]): Promise<string> {
  const dest = join(bench.directory, `out-${Math.random()}`)
  await bench.build({ ...options, outputs: [{ type: 'local', dest }] })
  return readFileSync(join(dest, path), 'utf8')
}

for (const kind of placeKinds) {
  test(`${kind}: a build on another machine runs nothing, fetches what is needed, and is the same image`, () =>
    machines(2, async ([one, two]) => {
      if (one === undefined || two === undefined) return
      await using at = await startPlace(kind)
      const cacheFrom: readonly CacheFrom[] = [at.place]
      const first = await one.build({ dockerfile, cacheTo: [{ ...at.place, mode: 'max' }] })
      assert.is(one.ran().length, 5)
      const [exported] = first.caches
      assert.ok(exported?.text.startsWith(`exported 5 records to ${at.name} (5 there now), 5 layers uploaded`), exported?.text)
      const before = at.fetched()
      assert.is(await foresee(two, cacheFrom), `5 records in ${at.name}, 5 hit`)
      const second = await two.build({ dockerfile, cacheFrom })
      assert.equal(two.ran(), [])
      assert.is(second.caches[0]?.text, `imported 5 records from ${at.name}, 5 hit`)
      assert.is(second.imageId, first.imageId)
      // No layer is fetched before its files are needed. The log of a registry comes late.
      if (kind !== 'registry') assert.is(at.fetched() - before, 0)
      assert.is(await readBack(two, 'second', { dockerfile, cacheFrom }), await readBack(one, 'unique', { dockerfile }))
      // The two layers of the result, and the records three times where they are a blob: not the large layer of the other stage.
      assert.is(at.fetched() - before, { registry: 5, local: 0, s3: 2, gha: 2 }[kind])
      two.write({ 'src/a.txt': 'other' })
      const changed = await two.build({ dockerfile, cacheFrom })
      assert.is(changed.caches[0]?.text, `imported 5 records from ${at.name}, 0 hit, 5 misses (src changed)`)
    }))
}

test('a fully cached build whose image is pushed moves no layer', () =>
  machines(2, async ([one, two]) => {
    if (one === undefined || two === undefined) return
    await using registry = await startRegistry()
    const ref = `${registry.host}/team/app:cache`
    const tags = [`${registry.host}/team/app:1`]
    await one.build({ dockerfile, tags, push: true, cacheTo: [{ type: 'registry', ref, mode: 'max' }] })
    // The base is not from a registry here: its layer is in the repository since the first push.
    const before = registry.requests().length
    await two.build({ dockerfile, tags, push: true, cacheFrom: [{ type: 'registry', ref }] })
    assert.equal(two.ran(), [])
    const moved = transfers(registry, before)
    assert.is(moved.filter((line) => line.startsWith('GET')).length, 1, 'only the records are fetched')
    assert.ok(moved.filter((line) => line.startsWith('PUT')).length <= 1, `only a config goes up: ${moved.join('\n')}`)
    const elsewhere = registry.requests().length
    await two.build({ dockerfile, tags: [`${registry.host}/other/name:1`], push: true })
    const mounts = registry.requests().filter((line) => /^POST .*mount=.*from=team%2Fapp.* 201$/.test(line))
    assert.is(mounts.length, 3, `layers are mounted: ${registry.requests().slice(elsewhere).join('\n')}`)
  }))

test('mode=min has the layers of the result only', () =>
  machines(2, async ([one, two]) => {
    if (one === undefined || two === undefined) return
    await using registry = await startRegistry()
    const ref = `${registry.host}/app:cache`
    const made = await one.build({ dockerfile, cacheTo: [{ type: 'registry', ref }] })
    assert.match(made.caches[0]?.text ?? '', /^exported 2 records .* 2 layers uploaded/)
    await two.build({ dockerfile, cacheFrom: [{ type: 'registry', ref }] })
    assert.equal(two.ran(), [])
  }))

for (const kind of ['registry', 's3', 'gha'] as const) {
  test(`${kind}: two that write one cache at once keep what both know`, () =>
    machines(3, async ([one, two, three]) => {
      if (one === undefined || two === undefined || three === undefined) return
      await using at = await startPlace(kind)
      const other = { name: 'Dockerfile', text: `FROM ${busybox}\nRUN echo other > /other\n` }
      const cacheTo: readonly CacheTo[] = [{ ...at.place, mode: 'max' }]
      // Steps first, so that both write at the same moment.
      await Promise.all([one.build({ dockerfile }), two.build({ dockerfile: other })])
      await Promise.all([one.build({ dockerfile, cacheTo }), two.build({ dockerfile: other, cacheTo })])
      await three.build({ dockerfile, cacheFrom: [at.place] })
      assert.equal(three.ran(), [])
      await three.build({ dockerfile: other, cacheFrom: [at.place] })
      assert.equal(three.ran(), [])
    }))
}

test('a step that takes a file of another stage is found by that file, whatever else the stage has', () =>
  machines(2, async ([one, two]) => {
    if (one === undefined || two === undefined) return
    const path = join(one.directory, 'cache')
    const stages = (version: string): { name: string; text: string } => ({
      name: 'Dockerfile',
      text: [
        `FROM ${busybox} AS make`,
        `RUN echo same > /taken && echo ${version} > /other`,
        `FROM ${busybox}`,
        'COPY --from=make /taken /',
        'RUN --mount=type=bind,from=make,source=/taken,target=/taken cp /taken /copied && date +%N > /now',
      ].join('\n'),
    })
    await one.build({ dockerfile: stages('1'), cacheTo: [{ type: 'local', path, mode: 'max' }] })
    assert.is(one.ran().length, 3)
    await two.build({ dockerfile: stages('2'), cacheFrom: [{ type: 'local', path }] })
    assert.equal(two.ran(), ['RUN echo same > /taken && echo 2 > /other'])
  }))

test('an image carries its cache inline', () =>
  machines(2, async ([one, two]) => {
    if (one === undefined || two === undefined) return
    await using registry = await startRegistry()
    const ref = `${registry.host}/app:1`
    await one.build({ dockerfile, tags: [ref], push: true, cacheTo: [{ type: 'inline' }] })
    const result = await two.build({ dockerfile, cacheFrom: [{ type: 'registry', ref }] })
    assert.equal(two.ran(), [])
    assert.is(result.caches[0]?.text, `imported 2 records from ${ref}, 2 hit`)
    const dest = join(two.directory, 'files')
    await two.build({ dockerfile, outputs: [{ type: 'local', dest }] })
    assert.equal(two.ran(), [])
    assert.is(readFileSync(join(dest, 'second'), 'utf8').length, 68)
    await one.build({ dockerfile, tags: [ref], push: true, squash: 'all', cacheTo: [{ type: 'inline' }] })
    assert.ok(one.events.some((event) => event.type === 'warning' && event.diagnostic.code === 'CacheEmpty'))
  }))

test('a directory holds what the last build used, and nothing else', () =>
  machines(2, async ([one, two]) => {
    if (one === undefined || two === undefined) return
    const path = join(one.directory, 'cache')
    const cacheTo: readonly CacheTo[] = [{ type: 'local', path, mode: 'max' }]
    const cacheFrom: readonly CacheFrom[] = [{ type: 'local', path }]
    const blobs = (): readonly string[] => readdirSync(join(path, 'blobs/sha256'))
    await one.build({ dockerfile, cacheTo, cacheFrom })
    const count = blobs().length
    assert.is(count, 5 + 2)
    for (let i = 0; i < 3; i++) {
      one.write({ 'src/a.txt': `version ${i}` })
      await one.build({ dockerfile, cacheTo, cacheFrom })
      assert.is(blobs().length, count)
    }
    two.write({ 'src/a.txt': 'version 2' })
    await two.build({ dockerfile, cacheFrom })
    assert.equal(two.ran(), [])
    const kept = join(two.directory, 'kept')
    await two.build({ dockerfile, outputs: [{ type: 'local', dest: kept }] })
    assert.equal(two.ran(), [])
    // Where the directory is gone a later build runs the steps again.
    rmSync(path, { recursive: true })
    rmSync(two.root, { recursive: true })
    assert.is(readFileSync(join(kept, 'unique'), 'utf8'), readFileSync(join(kept, 'second'), 'utf8'))
  }))

for (const kind of placeKinds) {
  test(`${kind}: layers that cannot be had, or are not what they should be, are misses with a warning`, () =>
    machines(3, async ([one, two, three]) => {
      if (one === undefined || two === undefined || three === undefined) return
      await using at = await startPlace(kind)
      await one.build({ dockerfile, cacheTo: [{ ...at.place, mode: 'max' }] })
      let layers = 0
      at.spoil((bytes) => {
        if (bytes[0] !== 0x1f) return bytes
        layers += 1
        return Buffer.alloc(bytes.length, 7)
      })
      assert.is(layers, 5)
      const dest = join(two.directory, 'out')
      await two.build({ dockerfile, cacheFrom: [at.place], outputs: [{ type: 'local', dest }] })
      assert.ok(two.ran().length > 0)
      at.spoil((bytes) => (bytes[0] === 7 ? undefined : bytes))
      const gone = await three.build({ dockerfile, cacheFrom: [at.place], outputs: [{ type: 'local', dest: `${dest}3` }] })
      assert.ok(three.ran().length > 0)
      assert.match(gone.caches[0]?.text ?? '', /\d blobs? missing$/)
      assert.ok(three.events.some((event) => event.type === 'warning' && event.diagnostic.message.includes('cannot be had')))
    }))
}

test('a layer that unpacks to far more than its record says is a miss with a warning', () =>
  machines(2, async ([one, two]) => {
    if (one === undefined || two === undefined) return
    await using at = await startPlace('local')
    const zeros = { name: 'Dockerfile', text: `FROM ${busybox}\nRUN head -c 80000000 /dev/zero > /zeros\n` }
    await one.build({ dockerfile: zeros, cacheTo: [{ ...at.place, mode: 'max' }] })
    await using place = at.open()
    const [found] = await place.readManifests(quietContext())
    const manifest = JSON.parse(String(found?.bytes)) as Manifest
    const text = (await place.readBlob(manifest.config, 1 << 20, quietContext())).toString()
    const bytes = Buffer.from(text.replace(/"size":80000\d{3}/g, '"size":10'))
    assert.ok(bytes.length < text.length)
    const config = { ...manifest.config, digest: digestOf(bytes), size: bytes.length }
    await place.putBlob(config, async () => Readable.from([bytes]), [], 'test', quietContext())
    await place.swap(Buffer.from(JSON.stringify({ ...manifest, config })), [], quietContext())
    const dest = join(two.directory, 'out')
    await two.build({ dockerfile: zeros, cacheFrom: [at.place], outputs: [{ type: 'local', dest }] })
    assert.is(two.ran().length, 1)
    assert.ok(two.events.some((event) => event.type === 'warning' && event.diagnostic.message.includes('cannot be had')))
  }))

test('what is at the reference and is no cache is a warning when it is read, and an error when it would be replaced', () =>
  machines(1, async ([one]) => {
    if (one === undefined) return
    await using registry = await startRegistry()
    const ref = `${registry.host}/app:1`
    await one.build({ dockerfile, tags: [ref], push: true })
    const result = await one.build({ dockerfile, cacheFrom: [{ type: 'registry', ref }] })
    assert.match(result.caches[0]?.text ?? '', /^imported nothing from .*: it is an image without a cache in it$/)
    await refuses(one.build({ dockerfile, cacheTo: [{ type: 'registry', ref }] }), 'CACHE_EXPORT_FAILED')
    const nowhere = { type: 'registry', ref: '127.0.0.1:1/app:cache' } as const
    await refuses(one.build({ dockerfile, cacheTo: [nowhere] }), 'REGISTRY_UNREACHABLE')
    const ignored = await one.build({ dockerfile, cacheFrom: [nowhere], cacheTo: [{ ...nowhere, ignoreError: true }] })
    assert.is(ignored.caches.length, 2)
  }))

test('with trust=verify nothing is taken, and other results are named', () =>
  machines(2, async ([one, two]) => {
    if (one === undefined || two === undefined) return
    const path = join(one.directory, 'cache')
    await one.build({ dockerfile, cacheTo: [{ type: 'local', path, mode: 'max' }] })
    const result = await two.build({ dockerfile, cacheFrom: [{ type: 'local', path, trust: 'verify' }] })
    assert.is(two.ran().length, 5)
    assert.match(result.caches[0]?.text ?? '', /^imported 5 records from .*, 3 compared, 2 different$|5 compared, 4 different$/)
  }))

/** What a dry run says of caches, and which steps would run. */
async function foresee({ context, root, directory }: Bench, cacheFrom: readonly CacheFrom[]): Promise<string> {
  const common = { root, stateDirectory: join(directory, 'run'), env: { PATH: process.env.PATH } }
  const { steps, caches } = await dryRun({ ...common, context, dockerfile, cacheFrom })
  const running = steps.filter(({ status }) => status === 'would-run').map(({ name }) => name)
  return [...caches.map(({ text }) => text), ...running].join('\n')
}

async function refuses(work: Promise<unknown>, code: string): Promise<void> {
  try {
    await work
  } catch (error) {
    assert.is(error instanceof Error && 'code' in error ? error.code : error, code)
    return
  }
  assert.unreachable()
}

test.run()
