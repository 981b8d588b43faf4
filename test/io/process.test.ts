/** `runProcess`: input, output, exit codes, time limits, aborts. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ProcessOptions, runProcess } from '../../src/io/process.js'
import { within } from '../helpers/within.js'

function options(change: Partial<ProcessOptions> = {}): ProcessOptions {
  return { input: '', env: process.env, timeoutMs: 10_000, signal: new AbortController().signal, ...change }
}

async function messageOf(work: Promise<unknown>): Promise<string> {
  return await within(
    10_000,
    work.then(
      () => 'no error',
      (error: Error) => error.message,
    ),
  )
}

test('input, both outputs and the exit code go through', async () => {
  const result = await runProcess('sh', ['-c', 'cat; echo oops >&2; exit 3'], options({ input: 'hello' }))
  assert.equal(result, { exitCode: 3, stdout: 'hello', stderr: 'oops\n' })
  assert.is((await runProcess('sh', ['-c', 'kill -9 $$'], options())).exitCode, 137)
})

test('a program that does not read its input is no error', async () => {
  const result = await within(10_000, runProcess('true', [], options({ input: 'x'.repeat(1_000_000) })))
  assert.is(result.exitCode, 0)
})

test('a missing program is ENOENT, looked up in the PATH that was given', async () => {
  assert.match(await messageOf(runProcess('no-such-program-here', [], options())), /ENOENT/)
  assert.match(await messageOf(runProcess('sh', [], options({ env: { PATH: '/nonexistent' } }))), /ENOENT/)
})

test('a program that takes too long, prints too much or is not wanted any more is killed', async () => {
  assert.match(await messageOf(runProcess('sleep', ['30'], options({ timeoutMs: 100 }))), /not done within 0.1 s/)
  assert.match(await messageOf(runProcess('yes', [], options())), /more than 1048576 bytes/)
  const stop = new AbortController()
  setTimeout(() => stop.abort(new Error('enough')), 100)
  assert.is(await messageOf(runProcess('sleep', ['30'], options({ signal: stop.signal }))), 'enough')
})

test.run()
