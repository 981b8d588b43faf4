/** `mille build --squash`: the same files in fewer layers, with a history that fits, cached and not. */
import { createReadStream, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseFlags } from '../../src/cli/args.js'
import { buildFlags, readBuildFlags } from '../../src/cli/build-flags.js'
import type { Index } from '../../src/core/descriptor.js'
import { hexOf } from '../../src/core/digest.js'
import type { BuildOptions, Squash } from '../../src/engine/options.js'
import { type ValidImage, validateImage } from '../../src/exporter/validate.js'
import { type Bench, busybox, makeBench, whyNoBuild } from '../helpers/engine.js'
import { showTree } from '../helpers/tree.js'

const text = `FROM ${busybox} AS first
RUN mkdir -p /d/sub && echo 1 > /d/sub/f && echo s3cret > /s && ln /d/sub/f /hard
LABEL a=1
FROM first
RUN rm -rf /d /s /etc/group && mkdir /d && echo 2 > /d/g
ENV B=2
RUN chmod 700 /d && rm -f /bin/nothing
`

function squashTest(title: string, work: (bench: Bench) => Promise<void>): void {
  test(title, async () => {
    const why = await whyNoBuild()
    if (why !== undefined) return console.log(`SKIP: ${why}`)
    using bench = await makeBench()
    bench.write({ Dockerfile: text })
    await work(bench)
  })
}

/** Builds to a layout and validates it. */
async function built(
  bench: Bench,
  squash: Squash | undefined,
  more: Partial<BuildOptions> = {},
): Promise<ValidImage & { tree: string[]; name: string }> {
  const name = `out-${squash ?? 'none'}-${Math.random()}`
  const layout = join(bench.directory, name)
  const files = join(bench.directory, `${name}-files`)
  const outputs = [
    { type: 'image' as const },
    { type: 'oci' as const, dest: layout, tar: false, compression: 'none' as const, forceCompression: true },
    { type: 'local' as const, dest: files },
  ]
  await bench.build({ outputs, squash, ...more })
  const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as Index
  const [descriptor] = manifests
  if (descriptor === undefined) throw new Error('the layout is empty')
  const image = await validateImage(descriptor, (digest) => createReadStream(join(layout, 'blobs/sha256', hexOf(digest))))
  return { ...image, name, tree: showTree(files) }
}

squashTest('the layers of the build, all, or the last two become one; files and config stay', async (bench) => {
  const plain = await built(bench, undefined)
  for (const [squash, layers] of [
    ['stage', 2],
    ['all', 1],
    [2, 3],
  ] as const) {
    const image = await built(bench, squash)
    assert.is(image.diffIds.length, layers, String(squash))
    assert.equal(image.tree, plain.tree)
    assert.equal(image.config.config, plain.config.config)
    const history = image.config.history ?? []
    assert.is(history.length, (plain.config.history?.length ?? 0) + 1)
    assert.match(history.at(-1)?.comment ?? '', /^squashed \d layers$/)
    assert.is(history.at(-1)?.empty_layer, undefined)
    const blob = readFileSync(
      join(
        bench.directory,
        image.name,
        'blobs/sha256',
        hexOf(image.manifest.layers.at(-1)?.digest ?? image.manifest.config.digest),
      ),
    )
    assert.not.ok(blob.includes('s3cret'), 'what a later layer deletes is not there')
    assert.is(blob.includes('.wh.group'), squash !== 'all')
    assert.ok((history.at(-1)?.created ?? '') >= (plain.config.created?.slice(0, 4) ?? '9'), 'it has the time of its layers')
  }
})

squashTest('a cached build squashes nothing again, and gives the same image', async (bench) => {
  const first = await bench.build({ squash: 'stage' })
  const second = await bench.build({ squash: 'stage' })
  assert.is(second.imageId, first.imageId)
  assert.equal(bench.ran(), [])
  const squashing = bench.events.filter((event) => event.type === 'vertex-done' && event.name.startsWith('squashing'))
  assert.ok(squashing.length === 1 && squashing.every((event) => event.type === 'vertex-done' && event.cached))
})

test("the bare flag is docker's, and takes no word after it", () => {
  const read = (...args: string[]): Squash | undefined => {
    const { values } = parseFlags(args, buildFlags, { command: 'build', interspersed: true, unsupported: [], env: {} })
    const shell = { env: {}, cwd: '/', stdout: process.stdout } as unknown as Parameters<typeof readBuildFlags>[1]
    return readBuildFlags(values, shell).squash
  }
  assert.is(read('--squash', '.'), 'stage')
  assert.is(read('--squash=all', '.'), 'all')
  assert.is(read('--squash=3'), 3)
  assert.is(read('--squash=false'), undefined)
  assert.is(read('.'), undefined)
  assert.throws(() => read('--squash=one'), /expected stage, all or a number/)
})

test.run()
