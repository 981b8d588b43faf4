/**
 * SOURCE_DATE_EPOCH as a build argument: seconds since 1970, `context` for the time of the build context, the name of a
 * build context, or of a stage that holds nothing but one source (ADD of a URL), whose time counts.
 */
import type { Analysis, GlobalArgs, Stage } from './stages.js'

/** Where the time comes from. */
export type SourceDateEpoch =
  | { readonly kind: 'seconds'; readonly seconds: number }
  | { readonly kind: 'context'; readonly name: string }
  | { readonly kind: 'stage'; readonly index: number }

/** What is wrong with a value; a sentence. */
export interface EpochProblem {
  readonly problem: string
}

/** The time that the build arguments, or a global ARG's default, ask for; undefined: none. */
export function sourceDateEpoch({
  options,
  globals,
  stages,
}: Pick<Analysis, 'options' | 'stages'> & { readonly globals: GlobalArgs }): SourceDateEpoch | EpochProblem | undefined {
  const value = options.buildArgs.SOURCE_DATE_EPOCH ?? globals.get('SOURCE_DATE_EPOCH')
  return value === undefined || value === '' ? undefined : parseEpoch(value, stages, Object.keys(options.contexts))
}

/**
 * Reads a value of SOURCE_DATE_EPOCH.
 *
 * @param contexts names of build contexts
 */
export function parseEpoch(
  value: string,
  stages: readonly Stage[],
  contexts: readonly string[] = [],
): SourceDateEpoch | EpochProblem {
  if (/^\d{1,12}$/.test(value)) return { kind: 'seconds', seconds: Number(value) }
  if (value === 'context' || contexts.includes(value)) return { kind: 'context', name: value }
  const stage = stages.findLast(({ name }) => name === value.toLowerCase())
  if (stage === undefined) return { problem: `invalid SOURCE_DATE_EPOCH: ${value}` }
  return checkSourceStage(stage) ?? { kind: 'stage', index: stage.index }
}

/** Why a stage cannot lend its time; undefined when it can. */
export function checkSourceStage(stage: Stage): EpochProblem | undefined {
  const [only, second] = stage.steps.filter(({ instruction }) => instruction.kind !== 'arg')
  const { base } = stage
  if (base.kind !== 'scratch') return notSourceOnly(stage, 'SOURCE_DATE_EPOCH stage must use FROM scratch')
  if (second !== undefined || only?.instruction.kind !== 'add' || !only.instruction.sources.every(isRemote)) {
    return notSourceOnly(stage, 'it must have one ADD of a URL and nothing else')
  }
  return undefined
}

function isRemote({ text }: { readonly text: string }): boolean {
  return /^(https?|git|ssh):\/\/|^git@/.test(text)
}

function notSourceOnly({ name, index }: Stage, reason: string): EpochProblem {
  return { problem: `SOURCE_DATE_EPOCH stage does not meet source-only requirements: ${reason} (stage ${name ?? index})` }
}
