/** Expansion of words and flag values with errors at the exact place. */
import type { Flag, Instruction, Word } from '../../grammar/ast.js'
import { type Env, type ExpandOptions, type Expansion, expandWord, expandWords } from '../../grammar/words.js'
import type { SourceFile, Span } from '../core/span.js'
import { placeIn, problem } from './problem.js'
import type { Step } from './stages.js'

/** What expansion needs to know of its surroundings. */
export interface ExpandScope {
  readonly env: Env
  readonly escape: '\\' | '`'
}

/** Expands one word. Throws DockerfileError at the spot in the word that is wrong. */
export function expand(step: Step, word: Word, scope: ExpandScope, mode: ExpandOptions['mode'] = 'word'): string {
  return expandDetailed(step, word, scope, mode).value
}

/** As `expand`, with the names of the variables that were used and that were not set. */
export function expandDetailed(
  step: Step,
  word: Word,
  scope: ExpandScope,
  mode: NonNullable<ExpandOptions['mode']> = 'word',
): Expansion {
  const expanded = expandWord(word.text, scope.env, { escape: scope.escape, mode })
  if (expanded.problem === undefined) return expanded
  const { code, message, hint, offset } = expanded.problem
  throw problem(placeIn(step, spanInside(step.source, word, offset)), code, message, hint)
}

/** Expands a word that may become several (EXPOSE). */
export function expandSplit(step: Step, word: Word, scope: ExpandScope): string[] {
  const expanded = expandWords(word.text, scope.env, { escape: scope.escape })
  if (expanded.problem === undefined) return expanded.words.map((part) => part.text)
  const { code, message, hint, offset } = expanded.problem
  throw problem(placeIn(step, spanInside(step.source, word, offset)), code, message, hint)
}

/** From `offset` to the end of the word; the whole word where continuations make offsets unsure. */
function spanInside(source: SourceFile, word: Word, offset: number): Span {
  const { start, end } = word.span
  const exact = source.text.slice(start, end) === word.text && offset < word.text.length
  return exact ? { start: start + offset, end } : word.span
}

/** The first flag of a name. */
export function findFlag(instruction: Instruction, name: string): Flag | undefined {
  return instruction.flags.find((flag) => flag.name === name)
}

/** All flags of a name, in order. */
export function findFlags(instruction: Instruction, name: string): readonly Flag[] {
  return instruction.flags.filter((flag) => flag.name === name)
}

/** The value of a flag as a word. */
export function flagWord(source: SourceFile, flag: Flag): Word {
  const text = flag.value ?? ''
  const start = flag.span.end - text.length
  const exact = text !== '' && source.text.slice(start, flag.span.end) === text
  return { text, span: exact ? { start, end: flag.span.end } : flag.span }
}

/** `--name`, `--name=true`, `--name=false`; undefined when the flag is not there. */
export function boolFlag(step: Step, name: string): boolean | undefined {
  const flag = findFlag(step.instruction, name)
  if (flag === undefined) return undefined
  const value = flag.value?.toLowerCase() ?? 'true'
  if (value === 'true' || value === 'false') return value === 'true'
  throw problem(
    placeIn(step, flag.span),
    'DOCKERFILE_BAD_FLAG',
    `--${name} is true or false, not "${flag.value}"`,
    `write --${name} or --${name}=false`,
  )
}

/** The expanded value of a flag; undefined when it is not there or expands to nothing. */
export function expandFlag(step: Step, name: string, scope: ExpandScope): string | undefined {
  const flag = findFlag(step.instruction, name)
  if (flag === undefined) return undefined
  const value = expand(step, flagWord(step.source, flag), scope)
  return value === '' ? undefined : value
}
