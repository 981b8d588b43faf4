/** Steps that take a part of a stage are keyed by that part: what else the stage holds is nothing to them. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bench, busybox, makeBench, whyNoBuild } from '../helpers/engine.js'

/** What ran of a build after the stage `made` ran anew; `stage` is that stage's command in both builds. */
async function secondRun(bench: Bench, stage: readonly [string, string], last: string): Promise<string[]> {
  for (const command of stage) {
    bench.write({ Dockerfile: `FROM ${busybox} AS made\nRUN ${command}\n\nFROM ${busybox}\n${last}\n` })
    await bench.build()
  }
  return bench.ran().filter((name) => !name.includes(stage[1]))
}

async function withBench(work: (bench: Bench) => Promise<void>): Promise<void> {
  const why = await whyNoBuild()
  if (why !== undefined) return console.log(`SKIP: ${why}`)
  using bench = await makeBench()
  await work(bench)
}

const same = 'mkdir -p /out/d && echo app > /out/app && ln -s app /out/link && ln /out/app /out/d/hard'

test('COPY --from of files that are the same does not run, whatever else the stage made', () =>
  withBench(async (bench) => {
    const stages = [`${same} && echo 1 > /log`, `${same} && echo 2 > /log`] as const
    for (const copy of ['COPY --from=made /out /app', 'COPY --from=made /out/app /out/l* /x/', 'COPY --link --from=made out y']) {
      assert.equal(await secondRun(bench, stages, `${copy}\nRUN test -e /log || echo after`), [], copy)
    }
    assert.is((await secondRun(bench, stages, 'COPY --from=made /log /log\nRUN cat /log')).length, 2)
  }))

test('anything about the selected files that matters runs it again', () =>
  withBench(async (bench) => {
    const changes = [
      'chmod 600 /out/app',
      'chown 5 /out/app',
      'rm /out/link',
      'ln -sf d /out/link',
      'echo b > /out/app',
      'touch /out/new',
    ]
    for (const change of changes) {
      const ran = await secondRun(bench, [same, `${same} && ${change}`], `COPY --from=made /out /app`)
      assert.equal(ran, ['COPY --from=made /out /app'], change)
    }
    const owned = await secondRun(bench, [same, `${same} && chown 5 /out/app`], `COPY --chown=7 --from=made /out /app`)
    assert.equal(owned, [], 'the owner that is given is what counts')
  }))

test('RUN --mount=from with a source is keyed by the files below it', () =>
  withBench(async (bench) => {
    const stages = [`${same} && echo 1 > /log`, `${same} && echo 2 > /log`] as const
    const mount = (source: string): string => `RUN --mount=from=made,source=${source},target=/m cat /m/app || cat /m/out/app`
    assert.equal(await secondRun(bench, stages, mount('/out')), [])
    assert.is((await secondRun(bench, stages, mount('/'))).length, 1)
    assert.is((await secondRun(bench, [same, `${same}; chmod 700 /out`], mount('/out'))).length, 1)
  }))

test.run()
