/** `COPY --link`: its layer does not depend on what is below, so a new base leaves it as it is. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ImageConfig } from '../../src/core/image.js'
import type { BuildResult } from '../../src/engine/options.js'
import { layoutOf } from '../../src/store/layout.js'
import { mustRun } from '../helpers/cli.js'
import { type Bench, benchTest, busybox } from '../helpers/engine.js'
import { describeTree } from '../helpers/rootfs.js'

const base = (version: string): { readonly name: string; readonly text: string } => ({
  name: 'Dockerfile',
  text: `FROM ${busybox}\nRUN echo ${version} > /version && mkdir -m 700 /app && ln -s /elsewhere /linked\n`,
})

/** The DiffIDs of an image, base first. */
function layersOf(bench: Bench, { imageId }: BuildResult): readonly string[] {
  return (JSON.parse(readFileSync(layoutOf(bench.root).blob(imageId), 'utf8')) as ImageConfig).rootfs.diff_ids
}

async function treeOf(bench: Bench, tar: string): Promise<ReturnType<typeof describeTree>> {
  const target = join(bench.directory, 'tree')
  mkdirSync(target, { recursive: true })
  await mustRun('tar', ['-xpf', tar, '--numeric-owner', '-C', target])
  return describeTree(target, (path) => path === '/bin')
}

benchTest('with another base only what is not linked runs again, and linked layers keep their digests', async (bench) => {
  await bench.build({ dockerfile: base('1'), tags: ['localhost/link:1'] })
  await bench.build({ dockerfile: base('2'), tags: ['localhost/link:2'] })
  bench.write({
    Dockerfile: `ARG V
FROM localhost/link:$V
COPY --link --chmod=640 --chown=5:6 f /app/f
ADD --link --chmod=u+x,go= g /linked/deep/
RUN cat /version /app/f > /seen
COPY --link --chown=7 . /new/
COPY --link <<last /app/
text
last
`,
    f: 'f',
    g: 'g',
    'sub/h': 'h',
    '.dockerignore': 'Dockerfile',
  })
  const first = await bench.build({ buildArgs: { V: '1' } })
  assert.is(bench.ran().filter((name) => /^(COPY|ADD)/.test(name)).length, 4)
  const tar = join(bench.directory, 'second.tar')
  const second = await bench.build({ buildArgs: { V: '2' }, outputs: [{ type: 'image' }, { type: 'tar', dest: tar }] })
  assert.equal(bench.ran(), ['RUN cat /version /app/f > /seen'])
  const [before, after] = [layersOf(bench, first), layersOf(bench, second)]
  const isSame = before.map((layer, index) => layer === after[index])
  assert.equal(isSame, [true, false, true, true, false, true, true])
  const tree = await treeOf(bench, tar)
  assert.match(tree.get('/app/f') ?? '', /^file 640 5:6 1 bytes/)
  assert.match(tree.get('/seen') ?? '', /^file 644 0:0 3 bytes/)
  assert.match(tree.get('/new/sub/h') ?? '', /^file 644 7:7/)
  assert.match(tree.get('/app/last') ?? '', /^file 644 0:0 5 bytes/)
  // What the base has there is not looked at: its link is replaced, its directory gets the mode of a new one.
  assert.match(tree.get('/linked/deep/g') ?? '', /^file 700 0:0/)
  assert.is(tree.get('/app'), 'directory 755 0:0')
  // The same from nothing.
  const again = await bench.build({ buildArgs: { V: '2' }, noCache: true })
  assert.equal(layersOf(bench, again).slice(-2), after.slice(-2))
})

benchTest('a linked copy on an image with the same layer below is still its own layer', async (bench) => {
  bench.write({
    Dockerfile: `FROM ${busybox} AS a\nCOPY --link f /d/\nRUN rm /d/f\nCOPY --link f /d/\nRUN cat /d/f\n`,
    f: 'text',
  })
  const built = await bench.build()
  assert.match(bench.output(), 'text')
  const layers = layersOf(bench, built)
  assert.is(layers[1], layers[3])
})

test.run()
