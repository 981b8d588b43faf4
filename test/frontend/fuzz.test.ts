/** Random and damaged Dockerfiles through the whole frontend: a plan, or DockerfileError; `FUZZ_SEED=n` repeats a run. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { expandWords } from '../../grammar/words.js'
import { BuildError, DockerfileError } from '../../src/core/errors.js'
import { dockerfileOf } from '../differential/case.js'
import { everything, generateCase } from '../differential/generate.js'
import { planText } from '../helpers/plan.js'
import { type Random, randomFrom } from '../helpers/random.js'

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000)
const rounds = Number(process.env.FUZZ_ROUNDS ?? 300)
const samplesRoot = join(import.meta.dirname, '../../../fixtures/dockerfiles')
const pieces = [
  ...['FROM ', 'COPY --from=', 'RUN --mount=type=', 'RUN --network=', 'ARG ', 'ENV ', 'ONBUILD ', 'USER ', 'EXPOSE ', 'cache,'],
  ...[
    '\n',
    '\\\n',
    '"',
    "'",
    '${',
    '}',
    ':-',
    '//',
    '<<E\n',
    '\nE\n',
    '=',
    '[',
    ']',
    ' ',
    '0',
    '-',
    '/',
    '../',
    ',',
    '\u0000',
    'é',
  ],
]

process.stdout.write(`seed ${seed}, ${rounds} rounds\n`)

function damage(random: Random, text: string): string {
  let result = text
  for (let times = 1 + random.below(5); times > 0; times--) {
    const at = random.below(result.length + 1)
    result = result.slice(0, at) + (random.chance(0.7) ? random.pick(pieces) : '') + result.slice(at + random.below(12))
  }
  return result
}

/** Plans a text; true when there is a plan. Anything else than the errors of a wrong Dockerfile is thrown. */
async function plans(text: string): Promise<boolean> {
  try {
    await planText(text)
    return true
  } catch (error) {
    // A base that does not exist is the look-up's error; nothing else may come of a text.
    if (error instanceof BuildError && error.code === 'IMAGE_NOT_FOUND') return false
    if (!(error instanceof DockerfileError)) throw new Error(`seed ${seed}, text ${JSON.stringify(text)}`, { cause: error })
    for (const { span } of error.diagnostics) {
      if (span !== undefined)
        assert.ok(0 <= span.start && span.start <= span.end && span.end <= text.length, `span outside ${JSON.stringify(text)}`)
    }
    return false
  }
}

test('random valid Dockerfiles are planned or refused with a place', async () => {
  let planned = 0
  for (let round = 0; round < rounds; round++) {
    if (await plans(dockerfileOf(generateCase(seed + round, everything, 0.5)))) planned++
  }
  assert.ok(planned > rounds / 2, `only ${planned} of ${rounds} were planned`)
})

test('damaged Dockerfiles are planned or refused with a place', async () => {
  const random = randomFrom(seed)
  const samples = readdirSync(samplesRoot)
    .filter((entry) => entry !== 'README.md')
    .map((entry) => readFileSync(join(samplesRoot, entry, 'Dockerfile'), 'utf8'))
  for (let round = 0; round < rounds; round++) {
    await plans(damage(random, random.pick(samples)))
    await plans(damage(random, dockerfileOf(generateCase(seed + round, everything, 0.5))))
  }
})

test('ten thousand instructions and lines of 64 KiB go through the whole frontend', async () => {
  const long = 'x'.repeat(64 * 1024)
  assert.ok(await plans(`FROM scratch\n${'LABEL a=b\n'.repeat(10_000)}`))
  assert.ok(await plans(`FROM scratch\nENV A=${long.slice(100)}\nLABEL b=\${A%x*}\n`))
  assert.not(await plans(`FROM scratch\nENV A=${long}\n`))
})

test('nested substitutions take time in proportion to their depth', () => {
  const env = new Map<string, string>()
  const nested = (depth: number): string => `${'${a:-'.repeat(depth)}x${'}'.repeat(depth)}`
  const cpuOf = (text: string): number => {
    const before = process.cpuUsage()
    expandWords(text, env, { mode: 'word', escape: '\\' })
    return process.cpuUsage(before).user
  }
  const deep = expandWords(nested(5_000), env, { mode: 'word', escape: '\\' })
  assert.is(deep.problem === undefined && deep.value, 'x')
  const [small, large] = [nested(2_000), nested(16_000)]
  const ratio = Math.min(...[1, 2, 3].map(() => cpuOf(large) / Math.max(cpuOf(small), 1_000)))
  assert.ok(ratio < 32, `${ratio.toFixed(1)} times as long for 8 times the depth`)
})

test.run()
