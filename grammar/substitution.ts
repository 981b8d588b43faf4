/** What `${NAME…}` stands for, once its parts are known: defaults, errors, patterns (semantics.md 24–26). */
import { parsePattern, replacePattern, trimPrefix, trimSuffix } from './patterns.js'

/** Why a word cannot be expanded; whoever knows its place makes a `Diagnostic` of it. */
export interface ExpansionProblem {
  readonly code: 'DOCKERFILE_SYNTAX' | 'DOCKERFILE_BAD_SUBSTITUTION' | 'DOCKERFILE_VARIABLE_REQUIRED'
  readonly message: string
  readonly hint?: string
  /** The offset in the given text where the trouble starts. */
  readonly offset: number
}

/** What to do with the text of a `${NAME…` once its end is found. */
export interface Substitution {
  readonly name: string
  /** `-`, `+`, `?`, `#`, `%`, `/` or something that is not supported. */
  readonly operator: string
  readonly nullIsUnset: boolean
  readonly start: number
  /** For `/`: true when all matches are replaced. */
  readonly all: boolean
  /** For `/`: the pattern, once it is complete. */
  pattern: string | undefined
}

/** Carries a problem out of the reading, apart from any value. */
export class Problem {
  readonly problem: ExpansionProblem
  constructor(code: ExpansionProblem['code'], message: string, offset: number, hint?: string) {
    this.problem = hint === undefined ? { code, message, offset } : { code, message, offset, hint }
  }
}

/** The problem of a modifier that is not known. */
export function unsupported(modifier: string, offset: number): Problem {
  return new Problem(
    'DOCKERFILE_BAD_SUBSTITUTION',
    `unsupported modifier "${modifier}" in a substitution`,
    offset,
    'supported are :- - :+ + :? ? # ## % %% / and //',
  )
}

/** The text that takes the place of a `${NAME…}`. `value` is undefined when the variable is unset. */
export function substitute(substitution: Substitution, value: string | undefined, text: string): string | Problem {
  const { name, operator, nullIsUnset, start, pattern, all } = substitution
  const missing = value === undefined || (nullIsUnset && value === '')
  if (operator === '-') return missing ? text : value
  if (operator === '+') return missing ? '' : text
  if (operator === '?') {
    if (!missing) return value
    const reason = text !== '' ? text : value === undefined ? 'is not allowed to be unset' : 'is not allowed to be empty'
    const hint = `give the variable ${name} a value with ENV, ARG or --build-arg`
    return new Problem('DOCKERFILE_VARIABLE_REQUIRED', `${name}: ${reason}`, start, hint)
  }
  if (nullIsUnset) return unsupported(`:${operator}`, start)
  const longest = pattern === undefined && text.startsWith(operator)
  const written = pattern ?? (longest ? text.slice(1) : text)
  const tokens = parsePattern(written)
  if (tokens === undefined) {
    const hint = 'in a pattern a backslash may stand before * ? \\ / and } only'
    return new Problem('DOCKERFILE_BAD_SUBSTITUTION', `the pattern "${written}" has an unknown escape`, start, hint)
  }
  if (pattern !== undefined) return replacePattern(value ?? '', tokens, text, all)
  return operator === '#' ? trimPrefix(value ?? '', tokens, longest) : trimSuffix(value ?? '', tokens, longest)
}
