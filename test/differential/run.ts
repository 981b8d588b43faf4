/**
 * The differential test by hand: any number of seeds, and every difference with its smallest case.
 * usage: node dist/test/differential/run.js [FROM [COUNT [JOBS]]]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { explain, type Pair, tryCase } from './compare.js'
import { openDocker } from './docker-builder.js'
import { generateCase } from './generate.js'
import { openMille } from './mille-builder.js'

const [from = 1, count = 200, jobs = 4] = process.argv.slice(2).map(Number)
const directory = mkdtempSync(join(tmpdir(), 'mille-test-differential-'))
const started = performance.now()
let [done, refused, differing] = [0, 0, 0]
{
  await using docker = await openDocker(directory)
  const pair: Pair = { mille: await openMille(directory), peer: docker.build, directory }
  process.stdout.write(`docker ${docker.version}, seeds ${from} to ${from + count - 1}\n`)
  let next = from
  const work = async (slot: string): Promise<void> => {
    for (let seed = next++; seed < from + count; seed = next++) {
      const found = generateCase(seed, docker.abilities, 0.25)
      const outcome = await tryCase(found, pair, slot)
      done++
      if (outcome.refused !== undefined) {
        refused++
        process.stdout.write(`seed ${seed} refused by both: ${outcome.refused}\n`)
      }
      if (outcome.differences.length === 0) continue
      differing++
      process.stdout.write(
        `\n=== seed ${seed}\n  ${outcome.differences.slice(0, 8).join('\n  ')}\nmade smaller: ${await explain(found, pair, slot)}`,
      )
    }
  }
  await Promise.all(Array.from({ length: jobs }, (_, index) => work(String(index))))
}
const seconds = (performance.now() - started) / 1000
process.stdout.write(`\n${done} seeds, ${refused} refused by both, ${differing} differ, ${seconds.toFixed(0)} s\n`)
rmSync(directory, { recursive: true, force: true })
process.exitCode = differing > 0 ? 1 : 0
