/** Runs the conformance cases of the grammar when they are there (`../shared/vectors` beside the project). */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { passed, runSuite, type Suite, skip, type Tally } from './frame.js'
import { suite as instructions } from './instructions.js'
import { suite as lint } from './lint.js'
import { suite as parser } from './parser.js'
import { suite as realworld } from './realworld.js'
import { formatTally, runVectors } from './runner.js'
import { suite as shell } from './shell.js'

const root = process.env.MILLE_VECTORS ?? join(import.meta.dirname, '../../../../shared/vectors')
const suites: Readonly<Record<string, Suite>> = { parser, shell, instructions, realworld, lint }

for (const [name, suite] of Object.entries(suites)) {
  test(`the conformance cases of ${name} pass`, async () => {
    const folder = join(root, name)
    if (!existsSync(folder)) {
      process.stdout.write(`SKIP: the conformance cases are not in ${folder}\n`)
      return
    }
    const tally: Tally = await runSuite(suite, folder)
    assert.ok(tally.passed > 0, 'no case was judged')
    assert.equal(tally.failures, [], formatTally(name, tally))
  })
}

test('the runner counts what passes, fails, throws and is skipped', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mille-vectors-'))
  try {
    writeFileSync(join(folder, 'cases.json'), JSON.stringify({ cases: [{ id: 'a' }, { id: 'b' }, { id: 'c' }, { id: 'd' }] }))
    const tally = await runSuite(
      {
        files: {
          'cases.json': ({ id }) => {
            if (id === 'a') return passed
            if (id === 'b') return [passed, { status: 'failed', detail: 'is wrong' }]
            if (id === 'c') return skip('no time')
            throw new TypeError('broken')
          },
        },
      },
      folder,
    )
    assert.is(tally.passed, 2)
    assert.is(tally.failures.length, 2)
    assert.is(tally.failures[0], 'b: is wrong')
    assert.match(tally.failures[1] ?? '', /^d: threw TypeError: broken/)
    assert.is(formatTally('suite', tally), 'suite: 2 passed, 2 failed, 1 skipped (1: no time)')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the runner says that suites were skipped without a folder, and refuses a wrong command line', async () => {
  assert.is(await runVectors(['/nowhere/at/all']), 0)
  assert.is(await runVectors([]), 2)
  assert.is(await runVectors([import.meta.dirname, '--only', 'parsr']), 2)
})

test.run()
