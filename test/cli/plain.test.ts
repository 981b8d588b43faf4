import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openPlain } from '../../src/cli/plain.js'
import { openRawJson } from '../../src/cli/rawjson.js'
import type { BuildEvent } from '../../src/core/context.js'
import { recorded } from './events.js'

function plainOf(events: readonly BuildEvent[]): string {
  const parts: string[] = []
  const display = openPlain({ write: (text) => parts.push(text), color: false })
  for (const event of events) display.handle(event)
  display.close()
  return parts.join('')
}

test('plain lines have the shape of BuildKit', () => {
  assert.is(
    plainOf(recorded),
    `#1 [1/3] FROM debian
#1 sha256:1234 0B / 2.5MB
#1 sha256:1234 2.5MB / 2.5MB 0.4s done
#1 DONE 0.5s

#2 [2/3] RUN npm ci

#3 [other 2/2] COPY . .
#3 CACHED

#2 [2/3] RUN npm ci
#2 0.500 added 12 packages
#2 0.500 100%
#2 0.600 npm warn
#2 1.200 last
#2 DONE 1.2s

#4 [3/3] RUN false
#4 ERROR: exited with code 1
`,
  )
})

test('a character that is cut in two by the pipe is put together', () => {
  const bytes = Buffer.from('grün\n')
  const events: BuildEvent[] = [
    { type: 'vertex-started', id: 'x', name: 'x', atMs: 0 },
    { type: 'log', id: 'x', atMs: 0, stream: 1, data: bytes.subarray(0, 3) },
    { type: 'log', id: 'x', atMs: 0, stream: 1, data: bytes.subarray(3) },
  ]
  assert.match(plainOf(events), /#1 0\.000 grün\n/)
})

/** The events of a step whose output comes in these pieces, 1 s after its start. */
function outputOf(pieces: readonly string[]): BuildEvent[] {
  return [
    { type: 'vertex-started', id: 'x', name: 'x', atMs: 0 },
    ...pieces.map((piece): BuildEvent => ({ type: 'log', id: 'x', atMs: 1_000, stream: 1, data: Buffer.from(piece) })),
    { type: 'vertex-done', id: 'x', name: 'x', atMs: 2_000, cached: false },
  ]
}

test('what comes at once is written at once, in order, whole', () => {
  const lines = Array.from({ length: 100_000 }, (_, i) => `line ${i}`)
  const bytes = `${lines.join('\n')}\n`
  const pieces = Array.from({ length: Math.ceil(bytes.length / 60_000) }, (_, i) => bytes.slice(i * 60_000, (i + 1) * 60_000))
  const writes: string[] = []
  const display = openPlain({ write: (text) => writes.push(text), color: false })
  for (const event of outputOf(pieces)) display.handle(event)
  assert.is(writes.join(''), `#1 x\n${lines.map((line) => `#1 1.000 ${line}\n`).join('')}#1 DONE 2.0s\n`)
  assert.ok(writes.length <= pieces.length + 3, `${writes.length} writes for ${pieces.length} pieces`)
})

test('a line without an end is cut in pieces, one that is redrawn is not', () => {
  const long = plainOf(outputOf(Array.from({ length: 300 }, () => 'a'.repeat(1_000))))
  const parts = long.split('\n').filter((line) => line.startsWith('#1 1.000 ') || line.startsWith('#1 2.000 '))
  assert.is(parts.map((line) => line.slice(9)).join(''), 'a'.repeat(300_000))
  assert.ok(parts.every((line) => line.length < 70_000))
  const bar = plainOf(outputOf([...Array.from({ length: 50_000 }, (_, i) => `\rdone ${i}`), '\n']))
  assert.is(bar, '#1 x\n#1 1.000 done 49999\n#1 DONE 2.0s\n')
  const behind = plainOf(outputOf([...Array.from({ length: 50_000 }, (_, i) => `done ${i}\r`), '\n']))
  assert.is(behind, '#1 x\n#1 1.000 done 49999\n#1 DONE 2.0s\n')
})

test('warnings are printed where they come up', () => {
  const warning: BuildEvent = {
    type: 'warning',
    diagnostic: { severity: 'warning', code: 'StageNameCasing', message: 'use lower case' },
  }
  assert.is(plainOf([warning]), '\nwarning: use lower case [StageNameCasing]\n')
})

const started: BuildEvent = {
  type: 'vertex-started',
  id: 'x',
  name: '[1/1] RUN make',
  atMs: 6_000,
  reason: { kind: 'new', text: 'new' },
}
const waited: readonly BuildEvent[] = [
  {
    ...{ type: 'waiting', id: 'x', name: '[1/1] RUN make', atMs: 4_000, isOver: false, work: 'runs this step' },
    process: { pid: 4711, command: 'mille build -t app .\u001b[31m\nx', sinceMs: 1_000 },
  },
  { type: 'waiting', id: 'x', name: '[1/1] RUN make', atMs: 6_000, isOver: true, work: 'runs this step' },
  started,
  { type: 'log', id: 'x', atMs: 6_500, stream: 1, data: Buffer.from('made\n') },
  { type: 'vertex-done', id: 'x', name: '[1/1] RUN make', atMs: 7_000, cached: false },
]

test('a step that waits for another process says for which, and its time begins when it runs', () => {
  assert.is(
    plainOf(waited),
    `#1 [1/1] RUN make
#1 waiting for process 4711 (mille build -t app .x, since 3 s), which runs this step
#1 waited 2.0s
#1 why: new
#1 0.500 made
#1 DONE 1.0s
`,
  )
})

test('of a process that was stopped it is said how to continue it', () => {
  const [first] = waited
  if (first?.type !== 'waiting' || first.process === undefined) throw new Error('it waits')
  const stopped: BuildEvent = { ...first, atMs: 5_000, process: { ...first.process, isStopped: true } }
  assert.match(plainOf([first, stopped]), /^#1 waiting for process 4711, which is stopped: .*"kill -CONT 4711".* \(mille build/m)
  const lines: string[] = []
  const display = openRawJson((line) => lines.push(line))
  for (const event of [first, stopped, ...waited.slice(1)]) display.handle(event)
  const statuses = lines.flatMap((line) => (JSON.parse(line) as { statuses?: Record<string, unknown>[] }).statuses ?? [])
  const [one, , two] = statuses
  assert.equal(
    statuses.map(({ id, completed }) => [id, completed !== undefined]),
    [
      [one?.id, false],
      [one?.id, true],
      [two?.id, false],
      [two?.id, true],
    ],
  )
})

test('rawjson has a wait as a status that ends', () => {
  const lines: string[] = []
  const display = openRawJson((line) => lines.push(line))
  for (const event of waited) display.handle(event)
  const statuses = lines.flatMap((line) => (JSON.parse(line) as { statuses?: Record<string, unknown>[] }).statuses ?? [])
  assert.is(statuses.length, 2)
  assert.is(statuses[0]?.id, statuses[1]?.id)
  assert.is(statuses[0]?.vertex, 'x')
  assert.equal(statuses[0]?.process, { pid: 4711, command: 'mille build -t app .\u001b[31m\nx', sinceMs: 1_000 })
  assert.is(statuses[0]?.completed, undefined)
  assert.is(statuses[1]?.completed, '1970-01-01T00:00:06.000Z')
})

test('rawjson is one object a line with the field names of BuildKit', () => {
  const lines: string[] = []
  const display = openRawJson((line) => lines.push(line))
  for (const event of recorded) display.handle(event)
  assert.ok(lines.every((line) => line.endsWith('\n') && line.indexOf('\n') === line.length - 1))
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, Record<string, unknown>[]>)
  const done = parsed.flatMap((line) => line.vertexes ?? []).filter((vertex) => vertex.completed !== undefined)
  assert.equal(done[1], {
    digest: 'c',
    name: '[other 2/2] COPY . .',
    started: '1970-01-01T00:00:01.500Z',
    completed: '1970-01-01T00:00:01.900Z',
    cached: true,
  })
  assert.is(done.at(-1)?.error, 'exited with code 1')
  const logs = parsed.flatMap((line) => line.logs ?? [])
  assert.is(Buffer.from(String(logs[0]?.data), 'base64').toString(), 'added 12 pack')
  const statuses = parsed.flatMap((line) => line.statuses ?? [])
  assert.is(statuses.at(-1)?.completed, '1970-01-01T00:00:01.400Z')
  assert.is(statuses.at(-1)?.started, '1970-01-01T00:00:01.000Z')
})

test.run()
