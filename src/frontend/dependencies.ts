/** Which stages, images and contexts the instructions of a stage use besides its base. */
import type { Word } from '../../grammar/ast.js'
import { type Env, expandWord } from '../../grammar/words.js'
import type { Diagnostic } from '../core/diagnostic.js'
import { DockerfileError, type ErrorCode } from '../core/errors.js'
import type { Platform } from '../core/platform.js'
import { didYouMean } from '../core/suggest.js'
import { findFlag, findFlags, flagWord } from './expand.js'
import { splitMountFields } from './mount-fields.js'
import { errorAt, placeIn } from './problem.js'
import { findSource, type SourceMiss, type SourceTable } from './sources.js'
import type { Dependency, FileSource, Step } from './stages.js'

/** What the names in a stage's instructions are looked up with. */
export interface SourceScope extends SourceTable {
  readonly stage: number
  readonly platform: Platform
  /** Global arguments: the only variables that a stage's name may hold, since the graph must be known before anything runs. */
  readonly globals: Env
  readonly globalNames: Iterable<string>
  readonly escape: '\\' | '`'
}

/** What the instructions of a stage use. */
export interface FoundDependencies {
  readonly dependencies: readonly Dependency[]
  readonly problems: readonly Diagnostic[]
  /** Later stages that are used, so that circles can be told from mere wrong order. */
  readonly laterStages: readonly number[]
}

/** The dependencies of steps, and what is wrong with them. */
export function findDependencies(steps: readonly Step[], scope: SourceScope): FoundDependencies {
  const dependencies: Dependency[] = []
  const problems: Diagnostic[] = []
  const laterStages: number[] = []
  for (const step of steps) {
    for (const { word, numbers } of namesUsed(step)) {
      const found = lookUp(step, word, scope, numbers)
      if (!isMissing(found)) dependencies.push({ source: found, span: placeIn(step, word.span).span })
      else {
        problems.push(...found.diagnostics)
        if (found.later !== undefined) laterStages.push(found.later)
      }
    }
  }
  return { dependencies, problems, laterStages }
}

/** Words that name a source: `--from` of COPY, `from=` of each RUN mount. */
export function namesUsed(step: Step): { readonly word: Word; readonly numbers: boolean }[] {
  const { instruction } = step
  if (instruction.kind === 'copy') {
    const flag = findFlag(instruction, 'from')
    return flag === undefined ? [] : [{ word: flagWord(step.source, flag), numbers: true }]
  }
  if (instruction.kind !== 'run') return []
  return findFlags(instruction, 'mount').flatMap((flag) => {
    const from = splitMountFields(flag.value ?? '')?.findLast((field) => field.key === 'from')
    if (from?.value === undefined || from.value === '') return []
    return [{ word: partOf(flagWord(step.source, flag), from.value), numbers: false }]
  })
}

/** A part of a word with its own span, where the part is found in it. */
export function partOf(word: Word, part: string): Word {
  const at = word.text.indexOf(part)
  if (at < 0 || word.text.length !== word.span.end - word.span.start) return { text: part, span: word.span }
  return { text: part, span: { start: word.span.start + at, end: word.span.start + at + part.length } }
}

/** What a name in an instruction stands for. Throws DockerfileError. */
export function sourceOf(step: Step, word: Word, scope: SourceScope, numbers: boolean): FileSource {
  const found = lookUp(step, word, scope, numbers)
  if (isMissing(found)) throw new DockerfileError(found.diagnostics)
  return found
}

interface Missing {
  readonly diagnostics: readonly [Diagnostic, ...Diagnostic[]]
  readonly later: number | undefined
}

function isMissing(found: FileSource | Missing): found is Missing {
  return 'diagnostics' in found
}

function lookUp(step: Step, word: Word, scope: SourceScope, numbers: boolean): FileSource | Missing {
  const place = placeIn(step, word.span)
  const expansion = expandWord(word.text, scope.globals, { escape: scope.escape })
  if (expansion.problem !== undefined) {
    const { code, message, hint } = expansion.problem
    return { diagnostics: [errorAt(place, code, message, hint)], later: undefined }
  }
  const { value, unset } = expansion
  if (unset[0] !== undefined) {
    const message = `"$${unset[0]}" in "${word.text}" is no global argument`
    const hint = didYouMean(unset[0], scope.globalNames) ?? `declare it with "ARG ${unset[0]}" before the first FROM`
    return { diagnostics: [errorAt(place, 'DOCKERFILE_BAD_FLAG', message, hint)], later: undefined }
  }
  const found = findSource(value, scope, { from: scope.stage, platform: scope.platform, numbers, earlierOnly: false })
  if (found.kind !== 'miss') return found
  const error = errorAt(place, missCodes[found.reason], messageOf(found, value), hintOf(found, value, scope))
  return { diagnostics: [error], later: found.reason === 'later' ? found.index : undefined }
}

const missCodes: Readonly<Record<SourceMiss['reason'], ErrorCode>> = {
  empty: 'DOCKERFILE_BAD_FLAG',
  later: 'DOCKERFILE_STAGE_ORDER',
  self: 'DOCKERFILE_STAGE_ORDER',
  'no-such-index': 'DOCKERFILE_UNKNOWN_STAGE',
  'bad-name': 'DOCKERFILE_UNKNOWN_STAGE',
}

function messageOf(miss: SourceMiss, name: string): string {
  return miss.reason === 'bad-name' ? `"${name}" is neither a stage nor an image: ${miss.message}` : miss.message
}

function hintOf(miss: SourceMiss, name: string, scope: SourceScope): string | undefined {
  if (miss.reason === 'later') return `move the stage "${name}" before this one`
  if (miss.reason === 'self') return 'a stage can copy from earlier stages only'
  return didYouMean(
    name,
    scope.stageNames.filter((stage) => stage !== undefined),
  )
}
