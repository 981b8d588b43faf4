/** What rules about instructions look at: the stage so far, and words expanded in it with unknown variables reported. */
import type { Word } from '../../grammar/ast.js'
import { type ExpandOptions, expandWord, expandWords } from '../../grammar/words.js'
import { BuildEnv } from './env.js'
import type { LintInput } from './lint.js'
import type { Findings } from './lint-findings.js'
import { nearestOption } from './lint-nearest.js'
import type { Stage, Step } from './stages.js'

/** What is known at one point of a stage. */
export class StageKnowledge {
  env = new BuildEnv()
  /** Names of ARGs, with a value or without. */
  args = new Set<string>()
  workdirSet = false
  shellSet = false
  /** False when a base image could not be looked at: then any variable may be set. */
  isEnvKnown = true
  /** True when nothing but scratch is below: no image brings users or groups. */
  isFromScratch = false
  /** True when something that may bring /etc/passwd was copied. */
  hasUsers = false

  child(): StageKnowledge {
    return Object.assign(new StageKnowledge(), this, { env: this.env.copy(), args: new Set(this.args) })
  }
}

/** Everything a rule about one instruction may look at. */
export interface StepScope {
  readonly input: LintInput
  readonly stage: Stage
  readonly step: Step
  readonly known: StageKnowledge
  readonly findings: Findings
}

/** Expands a word and reports the variables in it that are set nowhere. Wrong words are left to the planner. */
export function expandChecked(scope: StepScope, word: Word, mode: NonNullable<ExpandOptions['mode']> = 'word'): string {
  const expanded = expandWord(word.text, scope.known.env, { escape: scope.input.analysis.escape, mode })
  if (expanded.problem !== undefined) return word.text
  for (const name of expanded.unset) reportUndefined(scope, name, word)
  return expanded.value
}

/** The words of an EXPOSE. */
export function expandPorts({ input, known }: StepScope, word: Word): readonly string[] {
  const expanded = expandWords(word.text, known.env, { escape: input.analysis.escape })
  return expanded.problem === undefined ? expanded.words.map(({ text }) => text) : []
}

const setByBuilder = ['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE']

function reportUndefined({ input, step, known, findings }: StepScope, name: string, word: Word): void {
  if (known.args.has(name) || setByBuilder.includes(name) || step.trigger !== undefined) return
  const nearest = nearestOption(name, [...input.analysis.globals.keys(), ...known.env.names()])
  // The base image may well set what we cannot see; only a likely slip of the pen is worth a word then.
  if (!known.isEnvKnown && nearest === undefined) return
  const suffix = nearest === undefined ? '' : ` (did you mean $${nearest}?)`
  const isGlobal = input.analysis.globals.has(name)
  const hint = isGlobal ? `add "ARG ${name}" to this stage: global arguments do not reach into it` : undefined
  findings.add('UndefinedVar', step.instruction, `Usage of undefined variable '$${name}'${suffix}`, {
    span: placeOf(word, name),
    ...(hint === undefined ? {} : { hint }),
  })
}

/** Where a variable stands in a word; the whole word where continuations make offsets unsure. */
function placeOf({ text, span }: Word, name: string): Word['span'] {
  if (span.end - span.start !== text.length) return span
  const at = text.search(new RegExp(`\\$\\{?${name.replace(/[^\w]/g, '\\$&')}(?!\\w)`))
  if (at < 0) return span
  const length = name.length + (text[at + 1] === '{' ? 2 : 1)
  return { start: span.start + at, end: span.start + at + length }
}
