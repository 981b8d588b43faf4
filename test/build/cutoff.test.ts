/**
 * Early cutoff: of a step that ran again and left the same files, nothing that comes after runs, whichever way the files
 * get there. Each build has twelve steps, and the third is the one that runs again.
 */
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadImages, pushImages, saveImages } from '../../src/index.js'
import { type Bench, benchTest, busybox, makeBench } from '../helpers/engine.js'
import { hasProgram, startRegistry } from '../helpers/registry.js'

const script = (comment: string): string => `# ${comment}\nmkdir -p /out && echo made > /out/file\n`
const third = 'RUN --mount=type=bind,source=make.sh,target=/make.sh sh /make.sh'

/** Two steps, the third, and nine that use what it made; `last` and `to` say how the files get to the last ones. */
function twelveSteps(last: readonly string[]): string {
  const head = [`FROM ${busybox} AS made`, 'RUN echo 1 > /1', 'RUN echo 2 > /2', third, 'WORKDIR /w', 'RUN cat /out/file > 5']
  const tail = ['RUN cat /out/* > 9', 'COPY file .', 'RUN cat 9 > 11', 'RUN date +%s%N > 12']
  return [...head, 'RUN date +%s%N > 6', ...last, ...tail].join('\n')
}

const ways: Readonly<Record<string, readonly string[]>> = {
  'through FROM stage': ['FROM made AS next', 'RUN cat 5 > 7', 'FROM next', 'RUN cat 7 > 8'],
  'through COPY --from': [`FROM ${busybox}`, 'WORKDIR /w', 'COPY --from=made /w/5 /w/6 ./', 'COPY --link --from=made /out /out'],
  'through bind mounts': [
    `FROM ${busybox}`,
    'RUN --mount=from=made,target=/m mkdir /w /out && cp /m/out/file /out/',
    'WORKDIR /w',
    'RUN --mount=type=bind,from=made,source=/w,target=/m cat /m/5 > 7',
  ],
}

for (const [way, steps] of Object.entries(ways)) {
  benchTest(`of twelve steps one runs, ${way}, and the image has the same layers`, async (bench) => {
    bench.write({ Dockerfile: twelveSteps(steps), 'make.sh': script('one'), file: 'f' })
    const first = await bench.build({ tags: ['app'] })
    assert.ok(bench.ran().length >= 12, bench.ran().join('\n'))
    bench.write({ 'make.sh': script('two') })
    const second = await bench.build({ tags: ['app'] })
    assert.equal(bench.ran(), [third])
    assert.is(second.imageId, first.imageId)
    await bench.build({ tags: ['app'] })
    assert.equal(bench.ran(), [], 'what was found by content is found by definition from then on')
  })
}

benchTest('a new argument that the step ignores runs that step and none of another stage', async (bench) => {
  const dockerfile = (arg: string): string =>
    `FROM ${busybox} AS made\n${arg}\nRUN mkdir /out && echo made > /out/file\nFROM ${busybox}\nCOPY --from=made / /m/\nRUN date +%N > /x\n`
  bench.write({ Dockerfile: dockerfile('') })
  const first = await bench.build()
  bench.write({ Dockerfile: dockerfile('ARG NEW=1') })
  const second = await bench.build()
  assert.equal(bench.ran(), ['RUN mkdir /out && echo made > /out/file'])
  assert.is(second.imageId, first.imageId)
  await bench.build({ buildArgs: { NEW: '2' } })
  assert.equal(bench.ran(), ['RUN mkdir /out && echo made > /out/file'])
})

benchTest('--no-cache-filter runs the steps of its stage and none that come after', async (bench) => {
  const made = ['RUN echo 1 > /1', 'RUN cat /1 > /2']
  const last = ['COPY --from=made / /m/', 'RUN date +%N > /x', 'COPY --from=made /2 /2', 'RUN date +%N > /y']
  bench.write({ Dockerfile: [`FROM ${busybox} AS made`, ...made, `FROM ${busybox}`, ...last].join('\n') })
  const first = await bench.build()
  const second = await bench.build({ noCache: ['made'] })
  assert.equal(bench.ran(), made)
  assert.is(second.imageId, first.imageId)
})

/** Builds the base in a store of its own, with the same files and other times, and brings it to `bench`. */
type Bring = (other: Bench, name: string) => Promise<unknown>

async function checkBaseAnew(bench: Bench, name: string, bring: Bring): Promise<void> {
  const pull = name.startsWith('localhost/') ? 'missing' : 'always'
  bench.write({ Dockerfile: `FROM ${name}\nRUN cat /file > /1\nRUN date +%N > /2\nCOPY f /\nRUN date +%N > /3\n`, f: 'f' })
  const steps = (): string[] => bench.ran().filter((name) => !name.startsWith('FROM '))
  const madeElsewhere = async (text: string): Promise<string> => {
    using other = await makeBench()
    other.write({ Dockerfile: `FROM ${busybox}\nRUN ${text}\n` })
    const { imageId } = await other.build({ tags: [name] })
    await bring(other, name)
    return imageId
  }
  const base = await madeElsewhere('echo a > /file')
  await bench.build({ pull })
  assert.is(steps().length, 4)
  assert.is.not(await madeElsewhere('echo a > /file # later'), base)
  await bench.build({ pull })
  assert.equal(steps(), [])
  await madeElsewhere('echo b > /file')
  await bench.build({ pull })
  assert.is(steps().length, 4, 'as many bytes, but others')
}

benchTest('a base that was built anew with the same files and is loaded runs nothing', (bench) =>
  checkBaseAnew(bench, 'localhost/built/base', async (other, name) => {
    const dest = join(other.directory, 'base.tar')
    await saveImages({ root: other.root, images: [name], dest })
    await loadImages({ root: bench.root, source: dest })
  }),
)

benchTest('a base that was built anew with the same files and is pulled runs nothing', async (bench) => {
  if (!hasProgram('docker-registry')) {
    console.log('SKIP: docker-registry is not installed')
    return
  }
  await using registry = await startRegistry()
  await checkBaseAnew(bench, `${registry.host}/built/base:latest`, (other, name) =>
    pushImages({ root: other.root, references: [name] }),
  )
})

benchTest('other files run everything that depends on them, and no more', async (bench) => {
  bench.write({ Dockerfile: twelveSteps(ways['through COPY --from'] ?? []), 'make.sh': script('one'), file: 'f' })
  await bench.build()
  bench.write({ 'make.sh': script('one').replace('echo made', 'echo other') })
  await bench.build()
  assert.not(bench.ran().some((step) => ['RUN echo 1 > /1', 'RUN echo 2 > /2'].includes(step)))
  assert.ok(bench.ran().includes('RUN date +%s%N > 12'))
})

test.run()
