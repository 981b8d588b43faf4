/** Random Dockerfiles give the same config and the same files as docker's BuildKit. `DIFFERENTIAL_SEEDS=from,count`. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { whyNoBase } from '../helpers/bases.js'
import { within } from '../helpers/within.js'
import { explain, type Pair, tryCase } from './compare.js'
import { openDocker, whyNoDocker } from './docker-builder.js'
import { generateCase } from './generate.js'
import { openMille } from './mille-builder.js'

const [from = 1, count = 200] = (process.env.DIFFERENTIAL_SEEDS ?? '1,200').split(',').map(Number)

async function runSeeds(directory: string): Promise<void> {
  await using docker = await openDocker(directory)
  const pair: Pair = { mille: await openMille(directory), peer: docker.build, directory }
  const reports: string[] = []
  let next = from
  let built = 0
  const work = async (slot: string): Promise<void> => {
    // After three differences there is enough to look at.
    for (let seed = next++; seed < from + count && reports.length < 3; seed = next++) {
      const found = generateCase(seed, docker.abilities, 0.2)
      const { differences, refused } = await tryCase(found, pair, slot)
      if (refused === undefined) built++
      if (differences.length > 0) reports.push(await explain(found, pair, slot))
    }
  }
  await Promise.all(['0', '1', '2', '3'].map(work))
  console.log(`docker ${docker.version}: seeds ${from} to ${from + count - 1}, ${built} built by both`)
  assert.is(reports.join('\n'), '')
  assert.ok(built > count / 2, `only ${built} of ${count} cases were built by both`)
}

test('random Dockerfiles give the same config and files as with docker', async () => {
  const reason = (await whyNoDocker()) ?? (await whyNoBase('busybox'))
  if (reason !== undefined) {
    console.log(`SKIP: ${reason}`)
    return
  }
  // In memory where that is possible: both builders wait for the disk most of their time.
  const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'mille-test-differential-'))
  try {
    await within(800_000, runSeeds(directory))
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

test.run()
