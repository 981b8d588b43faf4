/** Random and damaged Dockerfiles: no crash, and every span lies inside the file. `FUZZ_SEED=n` repeats a run. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from '../../grammar/parse.js'
import { printAst } from '../../grammar/print.js'
import { expandWords } from '../../grammar/words.js'

const root = join(import.meta.dirname, '../../../fixtures/dockerfiles')
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000)
const rounds = Number(process.env.FUZZ_ROUNDS ?? 400)

process.stdout.write(`seed ${seed}, ${rounds} rounds\n`)

/** A small generator of numbers in [0, 1), the same for the same seed on every machine (mulberry32). */
function randomFrom(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296
  }
}

const pieces = [
  ...[
    'FROM ',
    'RUN ',
    'COPY ',
    'ADD ',
    'ENV ',
    'ARG ',
    'LABEL ',
    'CMD ',
    'ONBUILD ',
    'HEALTHCHECK ',
    'SHELL ',
    'VOLUME ',
    'USER ',
  ],
  ...[
    '\n',
    '\r\n',
    '\\\n',
    '\\',
    '`',
    '# escape=`\n',
    '# ',
    '"',
    "'",
    '$',
    '${',
    '}',
    ':-',
    '//',
    '<<',
    '<<-',
    'EOF',
    '\nEOF\n',
    '\t',
  ],
  ...['--', '--from=', '=', '[', ']', '",', ' ', 'a', '1', 'é', '😀', '\ud800', '\u0000', '\ufeff', '\u00a0', ',', '*', '#', '%'],
]

function pick<T>(random: () => number, list: readonly T[]): T | undefined {
  return list[Math.floor(random() * list.length)]
}

function randomText(random: () => number): string {
  return Array.from({ length: Math.floor(random() * 60) }, () => pick(random, pieces) ?? '').join('')
}

function randomBytes(random: () => number): string {
  return Buffer.from(Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256))).toString('utf8')
}

function damaged(random: () => number, text: string): string {
  let result = text
  for (let times = 1 + Math.floor(random() * 6); times > 0; times--) {
    const at = Math.floor(random() * (result.length + 1))
    const removed = Math.floor(random() ** 3 * 20)
    result = result.slice(0, at) + (random() < 0.7 ? (pick(random, pieces) ?? '') : '') + result.slice(at + removed)
  }
  return result
}

/** Calls `visit` for every `{start, end}` in a value. */
function eachSpan(value: unknown, visit: (start: number, end: number) => void): void {
  if (typeof value !== 'object' || value === null) return
  if ('start' in value && 'end' in value && typeof value.start === 'number' && typeof value.end === 'number')
    visit(value.start, value.end)
  for (const [key, part] of Object.entries(value)) if (key !== 'source') eachSpan(part, visit)
}

/** Calls `visit` for every word in a value. */
function eachWord(value: unknown, visit: (word: string, start: number, end: number) => void): void {
  if (typeof value !== 'object' || value === null) return
  const span: unknown = 'text' in value && 'span' in value ? value.span : undefined
  if (span !== undefined) eachSpan(span, (start, end) => visit('text' in value ? String(value.text) : '', start, end))
  for (const [key, part] of Object.entries(value)) if (key !== 'source') eachWord(part, visit)
}

function check(text: string): void {
  const { ast, diagnostics } = parse({ name: 'Dockerfile', text })
  eachSpan([ast, diagnostics], (start, end) => {
    assert.ok(0 <= start && start <= end && end <= text.length, `the span ${start}-${end} is outside a file of ${text.length}`)
  })
  eachWord(
    ast.instructions.filter(({ kind }) => kind !== 'onbuild' && kind !== 'volume'),
    (word, start, end) => {
      const written = text.slice(start, end)
      // A word that is cut by a continuation is shorter than what is written, one in JSON form is decoded.
      if (!written.includes('\n') && !written.startsWith('"')) assert.is(written, word)
    },
  )
  let last = 0
  for (const { span, keyword, keywordSpan } of ast.instructions) {
    assert.ok(span.start >= last, 'instructions overlap')
    last = span.end
    const written = text.slice(keywordSpan.start, keywordSpan.end)
    if (!written.includes('\n')) assert.is(written, keyword)
  }
  const errors = diagnostics.filter(({ severity }) => severity === 'error')
  assert.ok(ast.instructions.length > 0 || errors.length > 0, 'neither an instruction nor an error')
  printAst(ast)
}

const makers: Readonly<Record<string, (random: () => number, samples: readonly string[]) => string>> = {
  'random pieces of Dockerfiles': randomText,
  'random bytes': randomBytes,
  'damaged Dockerfiles': (random, samples) => damaged(random, pick(random, samples) ?? ''),
}

for (const [name, make] of Object.entries(makers)) {
  test(`${name} never crash the parser and give spans inside the file`, () => {
    const samples = readdirSync(root)
      .filter((entry) => entry !== 'README.md')
      .map((entry) => readFileSync(join(root, entry, 'Dockerfile'), 'utf8'))
    const random = randomFrom(seed)
    for (let round = 0; round < rounds; round++) {
      const text = make(random, samples)
      try {
        check(text)
      } catch (error) {
        throw new Error(`seed ${seed}, round ${round}, text ${JSON.stringify(text)}`, { cause: error })
      }
    }
  })
}

test('random words expand or give a problem inside the text, and a value is what its words join to', () => {
  const random = randomFrom(seed)
  const env = new Map([
    ['a', 'x y'],
    ['1', ''],
  ])
  for (let round = 0; round < rounds * 4; round++) {
    const text = randomText(random)
    for (const mode of ['word', 'heredoc', 'keep', 'keep-unset'] as const) {
      const split = expandWords(text, env, { mode, escape: random() < 0.5 ? '\\' : '`' })
      if (split.problem !== undefined) assert.ok(split.problem.offset <= text.length, `seed ${seed}, ${JSON.stringify(text)}`)
      else
        assert.ok(
          split.words.map((word) => word.text).join('').length <= split.value.length,
          `seed ${seed}, ${JSON.stringify(text)}`,
        )
    }
  }
})

test.run()
