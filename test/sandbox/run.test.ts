/** Real containers: what a command sees, how its end is reported, and that nothing of it stays. */
import { readdirSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { mountsWith, sandboxBench, skipped } from '../helpers/sandbox.js'
import { within } from '../helpers/within.js'

test('runs a command and passes its exit code on', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(20_000, bench.run('echo out; echo err >&2; exit 7'))
  assert.is(done.stdout, 'out\n')
  assert.is(done.stderr, 'err\n')
  assert.is(done.exitCode, 7)
  assert.is(done.signal, undefined)
})

test('leaves nothing in the layer that the command did not write', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(20_000, bench.run('echo edited >> /etc/hosts; true'))
  assert.equal(readdirSync(done.upper), [])
})

test('leaves no mount behind', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  await within(20_000, bench.run('true'))
  assert.equal(mountsWith(bench.directory), [])
})

test.run()
