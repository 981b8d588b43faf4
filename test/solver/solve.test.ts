/** The solver with fakes: what it runs, what it does not run, and how it fails. */
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BuildError } from '../../src/core/errors.js'
import type { BuildPlan } from '../../src/graph/op.js'
import type { Solution } from '../../src/solver/solution.js'
import { solve, solveAll } from '../../src/solver/solve.js'
import { within } from '../helpers/within.js'
import { context, copy, type FakeWorld, fakeWorld, image, merge, planOf, run } from './fakes.js'

function solved(plan: BuildPlan, world: FakeWorld, jobs = 4): Promise<Solution> {
  return within(5_000, solve(plan, { jobs, now: () => world.clock }, world.ports, world.ctx))
}

function chain(): BuildPlan {
  const base = image('debian')
  const files = context()
  const one = run('one', base)
  const two = copy('a', one, files)
  const three = run('three', two)
  return planOf(base, files, one, two, three)
}

test('runs each step once and the image before them', async () => {
  const world = fakeWorld()
  const solution = await solved(chain(), world)
  assert.equal(world.ran, ['FROM debian', 'RUN one', 'COPY a', 'RUN three'])
  assert.is(solution.rootfs.diffIds.length, 4)
  assert.equal(solution.rootfs.times, [0, 1001, 1002, 1003])
})

test('runs nothing the second time and looks for one record only', async () => {
  const world = fakeWorld()
  const first = await solved(chain(), world)
  world.ran.length = 0
  world.looked.length = 0
  world.clock = 9000
  const second = await solved(chain(), world)
  assert.equal(world.ran, [])
  assert.is(world.looked.length, 1)
  assert.equal(second.rootfs, first.rootfs)
  assert.equal(
    second.vertices.map(({ by }) => by),
    ['unneeded', 'unneeded', 'unneeded', 'unneeded', 'definition'],
  )
})

test('what two plans share runs once', async () => {
  const world = fakeWorld()
  const tools = run('tools', image('debian'))
  const [one, two] = [run('one', tools), run('two', tools)]
  const plans = [planOf(image('debian'), tools, one), planOf(image('debian'), tools, two), planOf(image('debian'), tools)]
  const solutions = await within(5_000, solveAll(plans, { jobs: 4, now: () => world.clock }, world.ports, world.ctx))
  assert.equal([...world.ran].sort(), ['FROM debian', 'RUN one', 'RUN tools', 'RUN two'])
  const [first, second, third] = solutions.map(({ rootfs }) => rootfs.diffIds)
  assert.equal(first?.slice(0, 2), third)
  assert.equal(second?.slice(0, 2), third)
  assert.is.not(first?.[2], second?.[2])
  world.ran.length = 0
  await solveAll(plans, { jobs: 4, now: () => world.clock }, world.ports, world.ctx)
  assert.equal(world.ran, [])
})

test('says of every vertex once that it is done', async () => {
  const world = fakeWorld()
  for (const expected of [false, true]) {
    world.events.length = 0
    await solved(chain(), world)
    const done = world.events.flatMap((event) => (event.type === 'vertex-done' ? [event] : []))
    assert.equal(done.map(({ name }) => name).sort(), ['COPY a', 'FROM debian', 'RUN one', 'RUN three', 'load context'])
    const started = world.events.filter(({ type }) => type === 'vertex-started')
    assert.is(started.length, done.length)
    assert.ok(done.every(({ cached }) => cached === expected))
  }
})

test('runs only from a changed COPY on and leaves the image alone', async () => {
  const world = fakeWorld()
  await solved(chain(), world)
  world.ran.length = 0
  world.contextText = 'two'
  world.files.set('COPY a', 'other files')
  await solved(chain(), world)
  assert.equal(world.ran, ['COPY a', 'RUN three'])
})

test('stops early when a step that ran again left the same files, and keeps the earlier layers', async () => {
  const world = fakeWorld()
  const first = await solved(chain(), world)
  world.ran.length = 0
  world.contextText = 'two'
  const second = await solved(chain(), world)
  assert.equal(world.ran, ['COPY a'])
  assert.equal(second.rootfs, first.rootfs)
  assert.is(second.vertices.at(-1)?.by, 'content')
  world.ran.length = 0
  world.looked.length = 0
  await solved(chain(), world)
  assert.equal(world.ran, [])
  assert.is(world.looked.length, 1, 'the hit by content was saved by definition')
})

test('keeps the layer of the last step when it ran again and left the same files', async () => {
  const world = fakeWorld()
  const base = image('debian')
  const first = await solved(planOf(base, run('make', base)), world)
  const again = await solved(planOf(base, run('make', base, [], true)), world)
  assert.equal(world.ran, ['FROM debian', 'RUN make', 'RUN make'])
  assert.equal(again.rootfs, first.rootfs)
})

test('runs a step that ignores the cache even below a hit, and what follows only when the files differ', async () => {
  const world = fakeWorld()
  const base = image('debian')
  const build = (ignoreCache: boolean): BuildPlan => {
    const update = run('update', base, [], ignoreCache)
    return planOf(base, update, run('install', update))
  }
  await solved(build(false), world)
  world.ran.length = 0
  await solved(build(true), world)
  assert.equal(world.ran, ['RUN update'])
  world.ran.length = 0
  world.files.set('RUN update', 'newer')
  const newer = await solved(build(true), world)
  assert.equal(world.ran, ['RUN update', 'RUN install'])
  world.ran.length = 0
  const later = await solved(build(false), world)
  assert.equal(world.ran, [])
  assert.equal(later.rootfs, newer.rootfs, 'the newest result replaced the old one')
})

test('does not touch what the target does not need', async () => {
  const world = fakeWorld()
  const base = image('debian')
  const other = image('huge')
  const unused = run('unused', other)
  await solved(planOf(base, other, unused, run('used', base)), world)
  assert.equal(world.ran, ['FROM debian', 'RUN used'])
})

test('does not unpack an image of which nothing is run', async () => {
  const world = fakeWorld()
  const base = image('debian')
  const solution = await solved(planOf(base), world)
  assert.equal(world.ran, [])
  assert.is(solution.rootfs.diffIds.length, 1)
})

test('runs a vertex that two others share once, and independent ones at once up to the limit', async () => {
  const world = fakeWorld()
  const base = image('debian')
  const shared = run('shared', base)
  const branches = ['a', 'b', 'c', 'd'].map((name) => run(name, shared))
  for (const { name } of branches) world.hooks.set(name, () => sleep(30))
  await solved(planOf(base, shared, ...branches, run('all', shared, branches)), world, 2)
  assert.is(world.ran.filter((name) => name === 'RUN shared').length, 1)
  assert.is(world.ran.length, 7)
  assert.is(world.most, 2)
})

test('adds the place of a failed step once and stops the others before it throws', async () => {
  const world = fakeWorld()
  const base = image('debian')
  const bad = run('bad', base)
  const slow = run('slow', base)
  let slowEnded = false
  world.hooks.set('RUN slow', async (signal) => {
    await sleep(10_000, undefined, { signal }).catch(() => sleep(20))
    slowEnded = true
    signal.throwIfAborted()
  })
  world.hooks.set('RUN bad', async () => {
    await sleep(5)
    throw new BuildError('SANDBOX_COMMAND_FAILED', 'it broke')
  })
  const plan = planOf(base, slow, bad, run('never', slow, [bad]))
  const error = await solved(plan, world).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.instance(error, BuildError)
  assert.is((error as BuildError).code, 'SANDBOX_COMMAND_FAILED')
  assert.equal((error as BuildError).span, { start: 0, end: 'RUN bad'.length })
  assert.equal((error as BuildError).notes, [{ message: 'in step RUN bad' }])
  assert.ok(slowEnded, 'the other step had ended')
  assert.not.ok(world.ran.includes('RUN never'))
  const failed = world.events.flatMap((event) => (event.type === 'vertex-done' && event.error ? [event.name] : []))
  assert.equal(failed.sort(), ['RUN bad', 'RUN slow'])
})

test('reports the failure that comes first in the plan when several steps fail', async () => {
  for (const [early, late] of [
    [20, 5],
    [5, 20],
  ] as const) {
    const world = fakeWorld()
    const base = image('debian')
    const [a, b] = [run('a', base), run('b', base)]
    const failAfter = (ms: number, text: string) => async (): Promise<void> => {
      await sleep(ms)
      throw new BuildError('SANDBOX_COMMAND_FAILED', text)
    }
    world.hooks.set('RUN a', failAfter(early, 'a broke'))
    world.hooks.set('RUN b', failAfter(late, 'b broke'))
    const error = await solved(planOf(base, a, b, run('end', a, [b])), world).catch((reason: Error) => reason)
    assert.is((error as Error).message, 'a broke')
  }
})

test('rejects with the reason of the signal when that aborts', async () => {
  const controller = new AbortController()
  const world = fakeWorld(controller.signal)
  const base = image('debian')
  world.hooks.set('RUN slow', (signal) => sleep(10_000, undefined, { signal }))
  const reason = new Error('enough')
  setTimeout(() => controller.abort(reason), 10)
  const error = await solved(planOf(base, run('slow', base)), world).catch((thrown: unknown) => thrown)
  assert.is(error, reason)
})

test('saves no record of a step that failed', async () => {
  const world = fakeWorld()
  const base = image('debian')
  world.hooks.set('RUN bad', () => Promise.reject(new BuildError('SANDBOX_COMMAND_FAILED', 'it broke')))
  await solved(planOf(base, run('bad', base)), world).catch(() => undefined)
  assert.is(world.records.size, 0)
})

test('keeps a linked copy when only the base changes', async () => {
  const world = fakeWorld()
  const files = context()
  const linked = copy('a', undefined, files)
  const [old, next] = [image('debian'), image('debian-next')]
  const first = await solved(planOf(old, files, linked, merge(old, linked)), world)
  world.ran.length = 0
  const second = await solved(planOf(next, files, linked, merge(next, linked)), world)
  assert.equal(world.ran, [])
  assert.is(second.rootfs.diffIds[1], first.rootfs.diffIds[1])
  assert.is.not(second.rootfs.diffIds[0], first.rootfs.diffIds[0])
  assert.equal(second.rootfs.times, first.rootfs.times)
})

test('refuses a key that leaves the files of a context out', async () => {
  const world = fakeWorld()
  const [base, files] = [image('debian'), context()]
  const error = await solved(planOf(base, files, run('mount', base, [files])), world).catch((thrown: Error) => thrown)
  assert.match((error as Error).message, 'does not cover the files of its context')
})

test.run()
