/** Runs the conformance cases of the grammar when they are there (`../shared/vectors` beside the project). */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runSuite, type Suite, type Tally } from './frame.js'
import { suite as instructions } from './instructions.js'
import { suite as parser } from './parser.js'
import { suite as realworld } from './realworld.js'
import { formatTally } from './run.js'
import { suite as shell } from './shell.js'

const root = process.env.MILLE_VECTORS ?? join(import.meta.dirname, '../../../../shared/vectors')
const suites: Readonly<Record<string, Suite>> = { parser, shell, instructions, realworld }

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

test.run()
