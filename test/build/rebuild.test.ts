/** A build after small edits of a large context gives what a build in a store that knows nothing gives. */
import { readdirSync, readFileSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { verifyStored } from '../../src/engine/verify.js'
import { openStore } from '../../src/store/store.js'
import { type Bench, busybox, makeBench, whyNoBuild } from '../helpers/engine.js'

const show = '{ find /app | sort | xargs stat -c "%n %A %u %s"; find /app -type f | sort | xargs cat; }'
const Dockerfile = `FROM ${busybox}
RUN mkdir -p /app/d1 && echo below > /app/d1/below && echo below > /app/d1/f1 && chmod 700 /app
COPY . /app/
RUN ${show} > /before
RUN rm -r /app/d1 && mkdir /app/d1 && echo new > /app/d1/f6 && ${show} > /after
FROM ${busybox}
COPY --from=0 /before /after /
COPY --from=0 /app /app
RUN --mount=type=bind,target=/context cat /context/d1/f6 > /mounted && ${show} > /copied
`

/** The files that the steps wrote. */
async function results(bench: Bench, context: string): Promise<string[]> {
  const dest = join(bench.directory, 'out')
  await bench.build({ context, outputs: [{ type: 'local', dest }] })
  const texts = ['before', 'after', 'mounted', 'copied', 'app/d1/f6'].map((name) => readFileSync(join(dest, name), 'utf8'))
  rmSync(dest, { recursive: true })
  return texts
}

async function layersOver(bench: Bench): Promise<number> {
  const folder = join(bench.root, 'layers')
  return readdirSync(folder).filter((name) => readFileSync(join(folder, name), 'utf8').includes('"over"')).length
}

test('files of layers that lie over earlier ones are what they would be in whole layers', async () => {
  const why = await whyNoBuild()
  if (why !== undefined) return console.log(`SKIP: ${why}`)
  using bench = await makeBench()
  bench.write({ Dockerfile })
  bench.write(Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`d${i % 5}/f${i}`, `file ${i}`])))
  const edits = [
    () => bench.write({ 'd1/f6': 'other' }),
    () => bench.write({ 'd1/f6': 'third', 'd7/new': 'new', 'd1/f1': 'no longer above' }),
    () => utimesSync(join(bench.context, 'd1/f6'), 7, 7),
    () => rmSync(join(bench.context, 'd1/f1')),
    () => bench.write({ 'd1/f11': 'after the deletion' }),
  ]
  await sleep(70)
  await bench.build()
  for (const [i, edit] of edits.entries()) {
    edit()
    await sleep(70)
    const { imageId } = await bench.build({ target: '0', tags: [`localhost/edit${i}:latest`] })
    await using store = await openStore(bench.root)
    const image = store.images.get(imageId)
    if (image === undefined) throw new Error('the image is not in the store')
    await verifyStored(store, image)
    if (i % 3 !== 1) continue
    using fresh = await makeBench()
    assert.equal(await results(bench, bench.context), await results(fresh, bench.context), `edit ${i}`)
  }
  assert.ok((await layersOver(bench)) >= 4, 'layers lie over earlier ones')
})

test.run()
