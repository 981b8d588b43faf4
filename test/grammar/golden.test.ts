/** Golden folders: `fixtures/dockerfiles/<case>/Dockerfile` against `ast.txt` and `diagnostics.txt` beside it. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Parsed } from '../../grammar/ast.js'
import { parse } from '../../grammar/parse.js'
import { printAst } from '../../grammar/print.js'
import { positionAt } from '../../src/core/span.js'

const root = join(import.meta.dirname, '../../../fixtures/dockerfiles')
const isUpdate = process.env.UPDATE_GOLDEN === '1'
const cases = readdirSync(root).filter((entry) => entry !== 'README.md')

const printers: Readonly<Record<string, (parsed: Parsed) => string>> = {
  'ast.txt': ({ ast }) => printAst(ast),
  'diagnostics.txt': printDiagnostics,
}

/** Files that the golden test of the front end reads. */
const filesOfTheFrontend = ['graph.txt', 'options.json']

function printDiagnostics({ ast, diagnostics }: Parsed): string {
  const { text } = ast.source
  return diagnostics
    .map(({ severity, code, message, hint, span = { start: 0, end: 0 } }) => {
      const { line, column } = positionAt(text, span.start)
      const found = JSON.stringify(text.slice(span.start, span.end))
      return `${line}:${column} ${severity} ${code} ${message}\n    at ${found}\n    hint: ${hint ?? 'none'}\n`
    })
    .join('')
}

for (const name of cases) {
  test(`the Dockerfile of ${name} gives the tree and the messages in its golden files`, () => {
    const folder = join(root, name)
    const parsed = parse({ name: 'Dockerfile', text: readFileSync(join(folder, 'Dockerfile'), 'utf8') })
    for (const [file, print] of Object.entries(printers)) {
      const path = join(folder, file)
      if (isUpdate) writeFileSync(path, print(parsed))
      assert.ok(existsSync(path), `${path} is missing; run with UPDATE_GOLDEN=1`)
      assert.fixture(print(parsed), readFileSync(path, 'utf8'), `${name}/${file}`)
    }
  })
}

test('there is no golden file without a test', () => {
  const known = ['Dockerfile', ...Object.keys(printers), ...filesOfTheFrontend]
  for (const name of cases) {
    for (const file of readdirSync(join(root, name))) assert.ok(known.includes(file), `${name}/${file} is read by no test`)
  }
})

test.run()
