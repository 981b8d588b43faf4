/** Suite `shell`: word expansion, see the README.md beside the cases. */
import { type Expanded, type Expansion, expandWord, expandWords } from '../../grammar/words.js'
import { claim, type Judge, type Outcome, type Suite, same, skip, textOf, type VectorCase } from './frame.js'

/** `envs` is a list of KEY=VALUE, where the last one wins and a bare KEY is empty, or an object. */
function envOf(vector: VectorCase): ReadonlyMap<string, string> {
  const { envs } = vector
  if (!Array.isArray(envs)) return new Map(Object.entries(envs ?? {}).map(([key, value]) => [key, String(value)]))
  return new Map(
    envs.map((entry: unknown) => {
      const text = String(entry)
      const equals = text.indexOf('=')
      return equals < 0 ? [text, ''] : [text.slice(0, equals), text.slice(equals + 1)]
    }),
  )
}

function judgeExpansion<T extends Expansion>(vector: VectorCase, expanded: Expanded<T>, show: (value: T) => unknown): Outcome {
  if (vector.expectError === true) {
    const problem = expanded.problem?.message
    const wanted = typeof vector.errorContains === 'string' ? vector.errorContains : ''
    return claim(problem?.includes(wanted) ?? false, `the problem is ${JSON.stringify(problem)}, expected one with "${wanted}"`)
  }
  if (expanded.problem !== undefined) return same(expanded.problem.message, vector.expect)
  return same(show(expanded), vector.expect)
}

const judgeWord: Judge = (vector) => {
  if (vector.platform === 'W') return skip('variable names ignore case on Windows only')
  return judgeExpansion(vector, expandWord(textOf(vector, 'input'), envOf(vector)), ({ value }) => value)
}

const judgeWords: Judge = (vector) => {
  const split = expandWords(textOf(vector, 'input'), envOf(vector))
  return judgeExpansion(vector, split, ({ words }) => words.map(({ text }) => text))
}

const kinds: Readonly<Record<string, Judge>> = {
  processWord: judgeWord,
  processWords: judgeWords,
  processWordWithMatches: (vector) => {
    const expanded = expandWord(textOf(vector, 'input'), envOf(vector))
    const outcome = judgeExpansion(vector, expanded, ({ value }) => value)
    if (outcome.status !== 'passed' || expanded.problem !== undefined) return outcome
    const { used, unset } = expanded
    return same(
      { matched: [...used].sort(), unmatched: [...unset].sort() },
      { matched: vector.matched, unmatched: vector.unmatched },
    )
  },
  getEnv: (vector) =>
    same(expandWord(`\${${textOf(vector, 'name')}}`, envOf(vector)), { value: vector.expect, ...usage(vector) }),
  patternToRegex: () => skip('patterns are matched without regular expressions'),
  reverseString: () => skip('nothing is reversed to match a suffix'),
  reversePattern: () => skip('nothing is reversed to match a suffix'),
}

function usage(vector: VectorCase): { readonly used: readonly string[]; readonly unset: readonly string[] } {
  const name = textOf(vector, 'name')
  return envOf(vector).has(name) ? { used: [name], unset: [] } : { used: [], unset: [name] }
}

const judgeUnit: Judge = (vector, folder) => {
  const kind = textOf(vector, 'kind')
  return kinds[kind]?.(vector, folder) ?? skip(`the kind ${kind} is not known to the runner`)
}

/** The suite. */
export const suite: Suite = {
  files: { 'envVarTest.json': judgeUnit, 'wordsTest.json': judgeUnit, 'lex.json': judgeUnit },
}
