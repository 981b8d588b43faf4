import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BuildError, DockerfileError, RegistryError, SandboxError, StoreError } from '../../src/core/errors.js'
import { renderDiagnostic, renderError } from '../../src/core/render.js'
import { displayWidth, printableLine, truncateToWidth } from '../../src/core/width.js'

const plain = { color: false }
const source = { name: 'Dockerfile', text: 'FROM debian\n\tRUNN apt-get update\nRUN npm ci \\\n  --quiet\nCOPY 日本 x\n' }
const spanOf = (text: string) => ({ start: source.text.indexOf(text), end: source.text.indexOf(text) + text.length })

test('a diagnostic shows the place, the line, the caret and the hint', () => {
  const text = renderDiagnostic(
    {
      severity: 'error',
      code: 'DOCKERFILE_UNKNOWN_INSTRUCTION',
      message: 'unknown instruction "RUNN"',
      source,
      span: spanOf('RUNN'),
      hint: 'did you mean RUN?',
    },
    plain,
  )
  assert.is(
    text,
    [
      'Dockerfile:2:2: error: unknown instruction "RUNN" [DOCKERFILE_UNKNOWN_INSTRUCTION]',
      '   2 | \tRUNN apt-get update',
      '     | \t^~~~',
      '  hint: did you mean RUN?',
      '',
    ].join('\n'),
  )
})

test('a failed command shows its step and the end of its output; the log is the hint', () => {
  const error = new SandboxError('SANDBOX_COMMAND_FAILED', '"npm ci" exited with code 1 after 8.2 s', {
    source,
    span: spanOf('RUN npm ci \\\n  --quiet'),
    notes: [{ message: 'stage build, step 4 of 6' }],
    exitCode: 1,
    logTail: ['npm error code ERESOLVE', '\u001b[31mred\u001b[0m\u0007'],
  })
  error.logPath = '/store/logs/3f9a.log'
  assert.is(
    renderError(error, plain),
    [
      'Dockerfile:3:1: error: "npm ci" exited with code 1 after 8.2 s [SANDBOX_COMMAND_FAILED]',
      '   3 | RUN npm ci \\',
      '     | ^~~~~~~~~~~~',
      '  stage build, step 4 of 6; last lines of output:',
      '     | npm error code ERESOLVE',
      '     | red',
      '  hint: read the full output in /store/logs/3f9a.log',
      '',
    ].join('\n'),
  )
})

test('a store error shows the path, a registry error the request', () => {
  assert.is(
    renderError(
      new StoreError('STORE_SIZE_MISMATCH', 'blob is short', { path: '/store/blobs/x', hint: 'run the build again' }),
      plain,
    ),
    'error: blob is short [STORE_SIZE_MISMATCH]\n  at /store/blobs/x\n  hint: run the build again\n',
  )
  assert.is(
    renderError(
      new RegistryError('REGISTRY_DENIED', 'no access', { method: 'PUT', url: 'https://r.example/v2/x', status: 403 }),
      plain,
    ),
    'error: no access [REGISTRY_DENIED]\n  PUT https://r.example/v2/x answered 403\n',
  )
})

test('several mistakes in a Dockerfile are shown in the order of their places', () => {
  const at = (code: string, text: string) => ({ severity: 'error' as const, code, message: text, source, span: spanOf(text) })
  const error = new DockerfileError([at('B', 'RUN npm'), at('A', 'FROM')])
  const heads = renderError(error, plain)
    .split('\n')
    .filter((line) => line.startsWith('Dockerfile'))
  assert.equal(heads, ['Dockerfile:1:1: error: FROM [A]', 'Dockerfile:3:1: error: RUN npm [B]'])
})

test('carets stand below wide characters, and a mark of no width is one caret', () => {
  const wide = renderDiagnostic({ severity: 'warning', code: 'W', message: 'm', source, span: spanOf('x') }, plain).split('\n')
  assert.is(wide[1], '   5 | COPY 日本 x')
  assert.is(wide[2], `     | ${' '.repeat(10)}^`)
  const empty = renderDiagnostic({ severity: 'error', code: 'E', message: 'm', source, span: { start: 3, end: 3 } }, plain)
  assert.is(empty.split('\n')[2], '     |    ^')
})

test('a long line is shown as a window around the place', () => {
  const long = { name: 'D', text: `RUN ${'x'.repeat(5_000)}HERE${'y'.repeat(5_000)}` }
  const start = long.text.indexOf('HERE')
  const lines = renderDiagnostic(
    { severity: 'error', code: 'E', message: 'm', source: long, span: { start, end: start + 4 } },
    plain,
  ).split('\n')
  assert.ok((lines[1] ?? '').length < 200)
  const column = (lines[2] ?? '').indexOf('^')
  assert.is((lines[1] ?? '').slice(column, column + 4), 'HERE')
})

test('anything else that was thrown is called a bug, with its stack', () => {
  const text = renderError(new TypeError('x is not a function'), plain)
  assert.match(
    text,
    /^error: this is a bug in mille, not in what you gave it \[BUG\]\n {2}TypeError: x is not a function\n {6}at /,
  )
})

test('control characters of a file never reach the terminal', () => {
  const nasty = { name: 'D\u001b[2Jx', text: 'RUN \u001b]0;title\u0007evil\u001b[2J\r' }
  const text = renderDiagnostic(
    { severity: 'error', code: 'E', message: 'a\u001b[1mb\nc', source: nasty, span: { start: 0, end: 3 } },
    plain,
  )
  assert.not.match(text, /[\u0000-\u0008\u000b-\u001f\u007f]/)
  assert.match(text, /error: ab c \[E\]/)
})

test('colours are there when asked for', () => {
  const error = new BuildError('CANCELLED', 'm', { hint: 'h' })
  assert.is(
    renderError(error, { color: true }),
    '\u001b[1;31merror:\u001b[0m m \u001b[2m[CANCELLED]\u001b[0m\n  \u001b[36mhint:\u001b[0m h\n',
  )
})

test('width counts terminal cells', () => {
  assert.is(displayWidth('abc'), 3)
  assert.is(displayWidth('日本'), 4)
  assert.is(displayWidth('e\u0301'), 1)
  assert.is(displayWidth('🙂'), 2)
  assert.is(truncateToWidth('日本語', 5), '日本…')
  assert.is(truncateToWidth('abc', 3), 'abc')
  assert.is(printableLine('a\tb\u001b[31mc'), 'a\tbc')
})

test.run()
