import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BuildEvent } from '../../src/core/context.js'
import { openStepOutput } from '../../src/ops/step-output.js'

const million = 1_000_000

test('a million lines arrive in the log file complete and in order, in few events, without the secret', () => {
  const directory = mkdtempSync(join(tmpdir(), 'mille-output-'))
  try {
    let events = 0
    let shown = 0
    const emit = (event: BuildEvent): void => {
      if (event.type !== 'log') return
      events++
      shown += event.data.length
    }
    const ctx = { signal: new AbortController().signal, emit }
    const secret = Buffer.from('correct horse')
    const output = openStepOutput(
      'x',
      () => directory,
      () => 0,
      ctx,
      [secret],
    )
    const bytes = Buffer.from(Array.from({ length: million }, (_, i) => `${i} ${i % 1000 === 0 ? secret : ''}\n`).join(''))
    const piece = 65_536
    for (let at = 0; at < bytes.length; at += piece) output.write(1, bytes.subarray(at, at + piece))
    output.finish()
    const path = output.keep() ?? ''
    output.close()
    const lines = readFileSync(path, 'utf8').split('\n')
    assert.is(lines.length, million + 1)
    assert.is(
      lines.findIndex((line, i) => i < million && line !== `${i} ${i % 1000 === 0 ? '***' : ''}`),
      -1,
    )
    assert.ok(events <= bytes.length / piece + 3, `${events} events`)
    assert.is(shown, readFileSync(path).length)
    assert.is(output.tail().at(-1), `${million - 1} `)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test.run()
