import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openProgress } from '../../src/cli/progress.js'
import type { BuildEvent } from '../../src/core/context.js'
import { printableLine } from '../../src/core/width.js'
import { within } from '../helpers/within.js'
import { recorded } from './events.js'

/** A terminal of a given size that keeps what is on its screen; a line that is too long wraps as on a real one. */
class FakeTerminal {
  readonly isTTY = true
  readonly lines: string[] = ['']
  writes = 0
  row = 0
  width: number
  rows: number

  constructor(columns: number, rows: number) {
    this.width = columns
    this.rows = rows
  }

  get columns(): number {
    return this.width
  }

  write(data: string | Uint8Array): boolean {
    this.writes++
    const text = String(data).replace(/\u001b\[\?\d+[hl]/g, '')
    text.split('\n').forEach((part, i) => {
      if (i > 0) this.lines[++this.row] ??= ''
      this.lines[this.row] += printableLine(part)
      while (this.columns > 0 && (this.lines[this.row] ?? '').length > this.columns) {
        const whole = this.lines[this.row] ?? ''
        this.lines[this.row] = whole.slice(0, this.columns)
        this.lines[++this.row] = whole.slice(this.columns)
      }
    })
    return true
  }

  cursorTo(): boolean {
    return true
  }

  moveCursor(_dx: number, dy: number): boolean {
    this.row = Math.max(0, this.row + dy)
    return true
  }

  clearLine(): boolean {
    this.lines[this.row] = ''
    return true
  }

  once(): this {
    return this
  }

  screen(): string[] {
    return this.lines.map((line) => line.trimEnd()).filter((line) => line !== '')
  }
}

function open(terminal: FakeTerminal, now: () => number = () => 3_000) {
  return openProgress({ title: 'Building', stream: terminal, color: false, now })
}

test('finished steps are lines with their time at the right, CACHED or ERROR', () => {
  const terminal = new FakeTerminal(60, 24)
  const display = open(terminal)
  for (const event of recorded) display.handle(event)
  display.close()
  assert.equal(terminal.screen(), [
    '✓ [1/3] FROM debian                                    0.5s',
    '✓ [other 2/2] COPY . .                               CACHED',
    '✓ [2/3] RUN npm ci                                     1.2s',
    '✗ [3/3] RUN false                                ERROR 0.1s',
  ])
})

test('running steps are shown live with the end of their output, and are gone when they end', async () => {
  const terminal = new FakeTerminal(60, 24)
  const display = open(terminal)
  for (const event of recorded.slice(0, 12)) display.handle(event)
  await sleep(600)
  assert.equal(terminal.screen().slice(0, 2), [
    '✓ [1/3] FROM debian                                    0.5s',
    '✓ [other 2/2] COPY . .                               CACHED',
  ])
  assert.match(terminal.screen()[2] ?? '', /^\S+ {2}?Building 0\.0s, 2 of 4 steps$/)
  assert.equal(terminal.screen().slice(3), [
    '  [2/3] RUN npm ci                                     1.5s',
    '    added 12 packages',
    '    100%',
    '    lastnpm warn',
  ])
  for (const event of recorded.slice(12)) display.handle(event)
  display.close()
  assert.is(terminal.screen().length, 4)
  assert.match(terminal.screen()[3] ?? '', /^✗ \[3\/3\] RUN false/)
})

test('a step that waits says for whom, and begins again when it runs after all', async () => {
  const terminal = new FakeTerminal(100, 24)
  const display = open(terminal)
  const wait = { type: 'waiting', id: 'x', name: 'RUN make', work: 'runs this step' } as const
  const process = { pid: 4711, command: 'mille build -t app .', sinceMs: 1_000 }
  display.handle({ ...wait, atMs: 1_100, isOver: false, process })
  await sleep(500)
  const screen = terminal.screen().join('\n')
  assert.ok(screen.includes('    waiting for process 4711 (mille build -t app ., since 0 s), which runs this step'), screen)
  display.handle({ ...wait, atMs: 1_700, isOver: true })
  display.handle({ type: 'vertex-started', id: 'x', name: 'RUN make', atMs: 1_700 })
  display.handle({ type: 'vertex-done', id: 'x', name: 'RUN make', atMs: 2_700, cached: false })
  display.close()
  assert.match(terminal.screen()[0] ?? '', /^✓ RUN make +1\.0s$/)
})

test('transfers show their bytes', async () => {
  const terminal = new FakeTerminal(60, 24)
  const display = open(terminal)
  for (const event of recorded.slice(0, 4)) display.handle(event)
  await sleep(500)
  assert.ok(terminal.screen().includes('    sha256:1234 1MB / 2.5MB'), terminal.screen().join('\n'))
  display.close()
  assert.equal(terminal.screen(), [])
})

test('a narrow and low terminal never wraps or scrolls its live lines', async () => {
  const terminal = new FakeTerminal(24, 6)
  const display = open(terminal)
  for (let i = 0; i < 12; i++) {
    display.handle({ type: 'vertex-started', id: `${i}`, name: `[stage ${i}/12] RUN a very long command line`, atMs: 0 })
    display.handle({
      type: 'log',
      id: `${i}`,
      atMs: 0,
      stream: 1,
      data: Buffer.from('output that is much wider than the terminal\n'),
    })
  }
  await sleep(600)
  const screen = terminal.screen()
  assert.ok(screen.length <= 5, screen.join('\n'))
  assert.ok(
    screen.every((line) => line.length < 24),
    screen.join('\n'),
  )
  display.close()
  assert.equal(terminal.screen(), [])
})

test('a terminal that does not know its size is taken for one of 80 columns', async () => {
  const terminal = new FakeTerminal(200, 0)
  Object.defineProperty(terminal, 'columns', { get: () => 0 })
  const display = open(terminal)
  display.handle({ type: 'vertex-started', id: 'x', name: 'a step', atMs: 0 })
  await within(2_000, sleep(500))
  assert.ok(terminal.writes > 0 && terminal.writes < 100, `${terminal.writes} writes`)
  display.close()
})

test('the screen is drawn at most ten times a second however much is printed', async () => {
  const terminal = new FakeTerminal(80, 24)
  const display = open(terminal)
  display.handle({ type: 'vertex-started', id: 'x', name: 'x', atMs: 0 })
  await sleep(500)
  const before = terminal.writes
  const event: BuildEvent = { type: 'log', id: 'x', atMs: 0, stream: 1, data: Buffer.from('a line\n'.repeat(1_000)) }
  const end = Date.now() + 1_000
  while (Date.now() < end) {
    display.handle(event)
    await sleep(1)
  }
  const drawn = terminal.writes - before
  display.close()
  // Each drawing is three writes: begin, text, end.
  assert.ok(drawn <= 3 * 11, `${drawn} writes in a second`)
})

test('a build that is done at once never loads the live display', async () => {
  const terminal = new FakeTerminal(80, 24)
  const display = open(terminal)
  for (const event of recorded) display.handle(event)
  display.close()
  const { writes } = terminal
  await sleep(400)
  assert.is(terminal.writes, writes)
  assert.is(writes, 4)
})

test.run()
