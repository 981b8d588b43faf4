import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BuildError, StoreError } from '../../src/core/errors.js'
import { asTask, unpackOutcome } from '../../src/io/task.js'

/** What a thread boundary does to a value. */
async function acrossThreads<T>(work: () => T): Promise<T> {
  return unpackOutcome(structuredClone(await asTask(work)(undefined)))
}

async function errorOf(work: () => unknown): Promise<Error & { code?: string }> {
  try {
    await acrossThreads(work)
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}

test('an expected error keeps its class, code, hint and cause', async () => {
  const cause = Object.assign(new Error('disk'), { code: 'ENOSPC', errno: -28, path: '/x' })
  const error = await errorOf(() => {
    throw new StoreError('STORE_NO_SPACE', 'no space left', { hint: 'prune', path: '/x', cause })
  })
  assert.instance(error, StoreError)
  assert.is(error.code, 'STORE_NO_SPACE')
  assert.is((error as StoreError).path, '/x')
  assert.is((error as StoreError).hint, 'prune')
  assert.is((error.cause as NodeJS.ErrnoException).code, 'ENOSPC')
  assert.instance(
    await errorOf(() => {
      throw new BuildError('LAYER_TRUNCATED', 'ends early')
    }),
    BuildError,
  )
})

test('a system error keeps its code; a bug is thrown as it is; a value passes', async () => {
  const error = await errorOf(() => {
    throw Object.assign(new Error('gone'), { code: 'ENOENT', syscall: 'open', path: '/y' })
  })
  assert.is(error.code, 'ENOENT')
  assert.is((error as NodeJS.ErrnoException).path, '/y')
  const bug = new TypeError('x is undefined')
  assert.is(
    await errorOf(() => {
      throw bug
    }),
    bug,
  )
  assert.is(await acrossThreads(() => 7), 7)
})

test.run()
