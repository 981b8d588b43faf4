/** Cache mounts that travel: their files go from store to store, and only the chunks that changed move. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cutChunks, fewChunkSizes, mountChunkSizes } from '../../src/cache/chunker.js'
import type { CacheTo } from '../../src/engine/options.js'
import { startPlace, whyNoPlace } from '../helpers/cache-places.js'
import { busybox, makeBench, whyNoBuild } from '../helpers/engine.js'
import { within } from '../helpers/within.js'

const sizes = { least: 1 << 10, wished: 1 << 12, most: 1 << 14 }

function* inPieces(bytes: Buffer, size: number): Generator<Buffer, void, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

function cut(bytes: Buffer, piece: number): string[] {
  return [...cutChunks(inPieces(bytes, piece), sizes)].map((chunk) => chunk.toString('latin1'))
}

test('chunks are the bytes, whatever pieces they come in, and within the sizes', () => {
  const bytes = randomBytes(300_000)
  const chunks = cut(bytes, 1 << 16)
  assert.is(chunks.join(''), bytes.toString('latin1'))
  for (const piece of [1000, 4096, 300_000]) assert.equal(cut(bytes, piece), chunks)
  for (const chunk of chunks.slice(0, -1)) assert.ok(chunk.length > sizes.least && chunk.length <= sizes.most)
  assert.ok(chunks.length > 300_000 / sizes.most && chunks.length < 300_000 / sizes.least)
})

test('an insertion changes the chunks around it and no others', () => {
  const bytes = randomBytes(300_000)
  const before = new Set(cut(bytes, 1 << 16))
  const after = cut(Buffer.concat([bytes.subarray(0, 150_000), Buffer.from('inserted'), bytes.subarray(150_000)]), 1 << 16)
  assert.ok(after.filter((chunk) => !before.has(chunk)).length <= 3)
})

test('bytes without a cut are cut at the most', () => {
  assert.equal(
    cut(Buffer.alloc(40_000), 1 << 16).map(({ length }) => length),
    [16_384, 16_384, 40_000 - 2 * 16_384],
  )
})

/** Makes a big file the first time, adds a small one each time. */
const text = (version: string): string =>
  [
    `FROM ${busybox}`,
    `RUN --mount=type=cache,id=work,target=/work echo ${version} && ls /work | wc -l && { [ -e /work/big ] || head -c 20000000 /dev/urandom > /work/big; } && echo ${version} > /work/v-${version}`,
  ].join('\n')

for (const kind of ['registry', 's3', 'gha'] as const) {
  test(`${kind}: cache mounts go to another machine, and only what changed goes back`, async () => {
    const reason = (await whyNoBuild()) ?? whyNoPlace(kind)
    if (reason !== undefined) {
      console.log(`SKIP: ${reason}`)
      return
    }
    using one = await makeBench()
    using two = await makeBench({ base: false })
    execFileSync('cp', ['-a', one.root, two.root])
    await using at = await startPlace(kind)
    const cacheTo: readonly CacheTo[] = [{ ...at.place, mode: 'max', mounts: true }]
    const cacheFrom = [at.place]
    await within(
      120_000,
      (async () => {
        await one.build({ dockerfile: { name: 'Dockerfile', text: text('first') }, cacheTo })
        assert.ok(at.brought() > 20_000_000 / (kind === 'gha' ? fewChunkSizes : mountChunkSizes).most)
        const before = at.brought()
        const result = await two.build({ dockerfile: { name: 'Dockerfile', text: text('second') }, cacheFrom, cacheTo })
        assert.match(two.output(), /^second\n2\n/)
        assert.ok(result.caches.some((summary) => summary.text === '1 cache mount filled from caches'))
        // The layer, the records, and the chunk or two with the new file.
        assert.ok(at.brought() - before <= 4, `${at.brought() - before} uploads`)
        assert.equal(readdirSync(mountOf(two.root)).sort(), ['big', 'v-first', 'v-second'])
        assert.is(statSync(join(mountOf(two.root), 'big')).size, 20_000_000)
      })(),
    )
  })
}

test('a fully cached build carries cache mounts along, and damaged ones start empty with a warning', async () => {
  const reason = await whyNoBuild()
  if (reason !== undefined) {
    console.log(`SKIP: ${reason}`)
    return
  }
  using one = await makeBench()
  using two = await makeBench({ base: false })
  execFileSync('cp', ['-a', one.root, two.root])
  const [first, second] = [join(one.directory, 'cache1'), join(one.directory, 'cache2')]
  const dockerfile = { name: 'Dockerfile', text: text('first') }
  await one.build({ dockerfile, cacheTo: [{ type: 'local', path: first, mode: 'max', mounts: true }] })
  await two.build({
    dockerfile,
    cacheFrom: [{ type: 'local', path: first }],
    cacheTo: [{ type: 'local', path: second, mode: 'max', mounts: true }],
  })
  assert.equal(two.ran(), [])
  const chunks = (path: string): string[] =>
    readdirSync(join(path, 'blobs/sha256')).filter((name) => statSync(join(path, 'blobs/sha256', name)).size > 200_000)
  assert.ok(chunks(first).length > 4)
  assert.equal(chunks(second).sort(), chunks(first).sort())
  rmSync(join(two.root, 'cache-mounts'), { recursive: true, force: true })
  const unwanted = { type: 'local', path: first, mounts: false } as const
  await two.build({ dockerfile: { name: 'Dockerfile', text: text('none') }, cacheFrom: [unwanted] })
  assert.match(two.output(), /^none\n0\n/)
  for (const name of chunks(second)) truncateSync(join(second, 'blobs/sha256', name), 1000)
  rmSync(join(two.root, 'cache-mounts'), { recursive: true, force: true })
  await two.build({ dockerfile: { name: 'Dockerfile', text: text('other') }, cacheFrom: [{ type: 'local', path: second }] })
  assert.match(two.output(), /^other\n0\n/)
  assert.ok(two.events.some((event) => event.type === 'warning' && event.diagnostic.message.includes('starts empty')))
})

/** The directory of the only cache mount. */
function mountOf(root: string): string {
  const folder = join(root, 'cache-mounts')
  const [name = ''] = readdirSync(folder).filter((entry) => /^[0-9a-f]{32}$/.test(entry))
  assert.ok(existsSync(join(folder, name)))
  return join(folder, name)
}

test.run()
