/**
 * Eight builds at once on one store, round after round, while others are killed, interrupted, told not to use the cache, and
 * prunes and removals go on: in the end every image holds what it must, and nothing is left lying about.
 *
 * MILLE_STRESS_ROUNDS says how many rounds, MILLE_STRESS_SEED repeats a run as far as its choices go.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { build } from '../../src/index.js'
import { digestLayer } from '../../src/layer/digest.js'
import { layerStack } from '../../src/layer/stack.js'
import { readTextInView } from '../../src/ops/read-text.js'
import { openStore } from '../../src/store/store.js'
import { verifyStore } from '../../src/store/verify.js'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { milleOk, projectRoot } from '../helpers/cli.js'
import { type Random, randomFrom } from '../helpers/random.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeCase, type StressCase } from './stress-case.js'

const rounds = Number(process.env.MILLE_STRESS_ROUNDS ?? 6)
const seed = Number(process.env.MILLE_STRESS_SEED ?? Date.now() % 1_000_000)
const buildsAtOnce = 8
/** Far more than any round takes: what is not done by then never will be. */
const deadlockMs = 180_000

interface Started {
  readonly args: readonly string[]
  readonly child: ChildProcess
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly text: string }>
}

function start(root: string, args: readonly string[]): Started {
  const child = spawn(join(projectRoot, 'bin/mille'), args, {
    env: { ...process.env, MILLE_ROOT: root },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
  const ended = new Promise<Awaited<Started['ended']>>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`mille ${args.join(' ')} did not end: a deadlock?\n${Buffer.concat(chunks)}`))
    }, deadlockMs)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, text: Buffer.concat(chunks).toString() })
    })
  })
  // Awaited later; it must not count as unhandled until then.
  ended.catch(() => undefined)
  return { args, child, ended }
}

/** A build of the first phase, with what is done to it. */
function startBuild(root: string, each: StressCase, random: Random): { readonly started: Started; readonly isStopped: boolean } {
  const noCache = random.chance(0.15) ? ['--no-cache'] : []
  const started = start(root, ['build', '--progress=plain', ...noCache, '-t', each.name, each.context])
  const how = random.next()
  const signal = how < 0.2 ? 'SIGKILL' : how < 0.35 ? 'SIGINT' : undefined
  if (signal !== undefined) setTimeout(() => started.child.kill(signal), random.below(3000))
  return { started, isStopped: signal !== undefined }
}

async function disturb(root: string, random: Random): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, random.below(2000)))
  const args = random.pick([
    ['prune', '-f'],
    ['prune', '-f', '--cache'],
    ['prune', '-f', '--max-used-space', '3mb'],
    ['rmi', '-f', `app${random.below(buildsAtOnce)}`],
  ])
  const { code, text } = await start(root, args).ended
  const isRefused = code === 1 && /STORE_LOCKED|IMAGE_NOT_FOUND/.test(text)
  assert.ok(code === 0 || isRefused, `mille ${args.join(' ')} ended with ${code}\n${text}`)
}

async function mustSucceed({ args, ended }: Started): Promise<void> {
  const { code, signal, text } = await ended
  assert.is(code, 0, `mille ${args.join(' ')} ended with ${signal ?? code}\n${text}`)
}

/** Reads the image's files out of the layers in the store. */
async function checkImage(root: string, { name, expected }: StressCase): Promise<void> {
  await using store = await openStore(root)
  const image = store.images.find(`docker.io/library/${name}:latest`)
  if (image === undefined) throw new Error(`the image ${name} is lost`)
  assert.ok(store.images.isWhole(image.id), `${name} is whole`)
  const directories = image.diffIds.map((diffId) => store.snapshots.pathOf(store.layers.find(diffId)?.snapshot ?? 'none'))
  const view = layerStack(directories)
  const found = Object.fromEntries(Object.keys(expected).map((path) => [path, readTextInView(view, path)]))
  assert.equal(found, expected, name)
}

async function expectAllCached(root: string, directory: string, { name, context }: StressCase): Promise<void> {
  const env = { PATH: process.env.PATH }
  const { steps } = await build({ root, stateDirectory: join(directory, 'run'), env, context, tags: [name], history: false })
  const ran = steps.filter((step) => !step.cached && !step.name.startsWith('[internal]')).map((step) => step.name)
  assert.equal(ran, [], `the second build of ${name} found everything`)
}

async function playRound(root: string, directory: string, round: number, random: Random): Promise<void> {
  const place = join(directory, `round-${round}`)
  const cases = Array.from({ length: buildsAtOnce }, (_, i) => makeCase(place, `app${i}`, round, random))
  const builds = cases.map((each) => startBuild(root, each, random))
  const disturbing = Array.from({ length: random.below(3) }, () => disturb(root, random))
  for (const { started, isStopped } of builds) {
    if (isStopped) await started.ended
    else await mustSucceed(started)
  }
  await Promise.all(disturbing)
  // Whatever was stopped or removed is built again, and nothing disturbs that.
  for (const again of cases.map(({ name, context }) => start(root, ['build', '-q', '-t', name, context])))
    await mustSucceed(again)
  for (const each of cases) await checkImage(root, each)
  for (const each of cases) await expectAllCached(root, directory, each)
  await rm(place, { recursive: true })
}

function filesBelow(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(path, name)).isFile())
}

async function expectNothingLeft(root: string, directory: string): Promise<void> {
  const place = join(directory, 'last')
  const last = makeCase(place, 'last', 9999, randomFrom(1))
  await milleOk(root, ['build', '-q', '-t', 'last', last.context])
  await checkImage(root, last)
  for (const folder of ['tmp', 'active', 'leases', 'claims', 'condemned', 'quarantine'])
    assert.equal(readdirSync(root).includes(folder) ? filesBelow(join(root, folder)) : [], [], `nothing is left in ${folder}`)
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  assert.equal(
    mounts.filter((line) => line.includes(root)),
    [],
    'no mount is left',
  )
  await using store = await openStore(root)
  assert.equal(await verifyStore(store, { digestLayer: async (path) => digestLayer(path) }, new AbortController().signal), [])
}

test(`eight builds at once, ${rounds} rounds, seed ${seed}`, async () => {
  const noBase = await whyNoBase('busybox')
  if (noBase !== undefined) return void console.log(`SKIP: ${noBase}`)
  console.log(`seed ${seed}, ${rounds} rounds`)
  await using directory = await tempDirectory()
  const root = join(directory.path, 'store')
  await importBase(root, 'busybox')
  const random = randomFrom(seed)
  for (let round = 0; round < rounds; round++) {
    try {
      await playRound(root, directory.path, round, random)
    } catch (error) {
      throw new Error(`round ${round}, seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : error}`)
    }
  }
  await expectNothingLeft(root, directory.path)
})

test.run()
