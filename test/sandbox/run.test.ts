/** Real containers: what a command sees, how its end is reported, and that nothing of it stays. */
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
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

test('leaves no mount behind, and none that the host could see meanwhile', async () => {
  if (skipped()) return
  let directory = ''
  {
    await using bench = sandboxBench()
    directory = bench.directory
    const running = bench.run('sleep 0.3')
    await sleep(200)
    assert.equal(mountsWith(directory, '1'), [])
    await within(20_000, running)
    assert.equal(
      mountsWith(directory).filter((line) => line.startsWith('overlay')),
      [],
    )
  }
  assert.equal(mountsWith(directory), [])
})

test.run()
