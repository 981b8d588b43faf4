/**
 * Builds, edits, builds again with what is in the store, and so on, by hand. Each result must be what mille makes of the same
 * files in a store that knows nothing, and what docker makes.
 * usage: node dist/test/differential/run-edited.js [FROM [COUNT [JOBS [alone]]]]     alone: without docker
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomFrom } from '../helpers/random.js'
import { type Builder, compareBuilt } from './built.js'
import { type Case, printCase, rewriteCase, writeCase } from './case.js'
import { openDocker } from './docker-builder.js'
import { everything, generateCase } from './generate.js'
import { openFreshMille, openMille } from './mille-builder.js'
import { editCase, withoutMemory } from './random-edit.js'

interface Builders {
  readonly mille: Builder
  readonly fresh: Builder
  readonly docker: Builder | undefined
}

const [from = 1, count = 100, jobs = 2] = process.argv.slice(2, 5).map(Number)
const isAlone = process.argv[5] === 'alone'
const directory = mkdtempSync(join(tmpdir(), 'mille-test-edited-'))
const started = performance.now()
let [done, builds, differing] = [0, 0, 0]
{
  await using docker = isAlone ? undefined : await openDocker(directory)
  const builders = { mille: await openMille(directory), fresh: await openFreshMille(directory), docker: docker?.build }
  const abilities = docker?.abilities ?? everything
  let next = from
  const work = async (slot: string): Promise<void> => {
    for (let seed = next++; seed < from + count; seed = next++) {
      const reports = await tryEdits(
        withoutMemory(generateCase(seed, abilities, 0.4)),
        builders,
        join(directory, `edited-${slot}`),
      )
      done++
      if (reports.length > 0) differing++
      for (const report of reports) process.stdout.write(`\n=== ${report}\n`)
    }
  }
  await Promise.all(Array.from({ length: jobs }, (_, index) => work(String(index))))
}
const seconds = (performance.now() - started) / 1000
process.stdout.write(`\n${done} seeds, ${builds} builds, ${differing} differ, ${seconds.toFixed(0)} s\n`)
rmSync(directory, { recursive: true, force: true })
process.exitCode = differing > 0 ? 1 : 0

/** The case, two edits of it one after the other, and the case as it was. */
async function tryEdits(original: Case, { mille, fresh, docker }: Builders, context: string): Promise<readonly string[]> {
  const random = randomFrom(original.seed + 7)
  const once = editCase(original, random)
  const reports: string[] = []
  let before = original
  writeCase(original, context)
  for (const found of [original, once, editCase(once, random), original]) {
    // An edit that keeps size and time is seen by mille alone: docker's client sends a file when one of them changed.
    const hidden = random.chance(0.25)
    if (found !== before) rewriteCase(before, found, context, { keepTimes: hidden })
    before = found
    const warm = await mille(context, found)
    builds++
    const others = [
      ['fresh store', await fresh(context, found)],
      ...(hidden || docker === undefined ? [] : [['docker', await docker(context, found)] as const]),
    ] as const
    for (const [name, other] of others) {
      const differences = compareBuilt(other, warm)
      if (differences.length > 0)
        reports.push(`${printCase(found)}difference (- ${name}, + mille with a cache):\n  ${differences.join('\n  ')}`)
    }
    // Docker's client has a state of the context of its own, which a hidden edit makes wrong from then on.
    if (hidden && docker !== undefined) return reports
  }
  return reports
}
