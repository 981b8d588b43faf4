/**
 * Syntax tree → stages: global arguments, the base of each stage, what stages use of one another, and which of them the
 * target needs. Pure; nothing is looked up. Semantics.md 31, 37, 40–47, 53, 54.
 */
import type { Dockerfile, FromInstruction, Instruction } from '../../grammar/ast.js'
import type { Diagnostic } from '../core/diagnostic.js'
import { formatPlatform, type Platform, parsePlatform } from '../core/platform.js'
import { didYouMean } from '../core/suggest.js'
import { unusedBuildArgs } from './args.js'
import { type FoundDependencies, findDependencies } from './dependencies.js'
import { sourceDateEpoch } from './epoch.js'
import { expand, findFlag, flagWord } from './expand.js'
import { type GlobalScope, readGlobals } from './globals.js'
import type { FrontendOptions } from './options.js'
import { lastStageName, predefinedArgs } from './platform-args.js'
import { collectProblems, errorAt, placeIn, problem } from './problem.js'
import { reachableStages } from './reachable.js'
import { findSource } from './sources.js'
import type { Analysis, FileSource, Stage, Step } from './stages.js'
import { checkSyntax } from './syntax.js'

/** Makes stages of a syntax tree. Never throws for what is wrong with the file: see `diagnostics`. */
export function analyze(ast: Dockerfile, options: FrontendOptions): Analysis {
  const diagnostics: Diagnostic[] = checkSyntax(ast, options.buildArgs)
  const platform = options.platform ?? options.buildPlatform
  const { globals: globalSteps, stages: groups } = groupByStage(ast, diagnostics)
  const predefined = predefinedArgs(options.buildPlatform, platform, options.target ?? lastStageName(ast), options.buildArgs)
  const globals = readGlobals(globalSteps, predefined, options.buildArgs, ast.escape, diagnostics)
  const stages = readStages(groups, { ast, options, platform, globals })
  const target = findTarget(stages, options.target, diagnostics)
  const reachable = target === undefined ? [] : reachableStages(stages, [target])
  for (const index of reachable) diagnostics.push(...(stages[index]?.problems ?? []))
  const epoch = sourceDateEpoch({ options, globals: globals.values, stages })
  const isBad = epoch !== undefined && 'problem' in epoch
  if (isBad) diagnostics.push(badEpoch(epoch.problem))
  diagnostics.push(...unusedBuildArgs(options.buildArgs, declaredArgs(ast.instructions), predefined.keys()))
  return {
    ...{ source: ast.source, escape: ast.escape, options, platform, globals: globals.values },
    ...{ epoch: isBad ? undefined : epoch, stages, target, reachable, diagnostics },
  }
}

function badEpoch(message: string): Diagnostic {
  return { severity: 'error', code: 'USAGE_BAD_ARGUMENT', message, hint: 'give it seconds since 1970, like 1700000000' }
}

interface StageGroup {
  readonly from: FromInstruction
  readonly steps: readonly Step[]
}

/** Splits the instructions at each FROM. Before the first one only ARG may stand. */
function groupByStage(
  ast: Dockerfile,
  diagnostics: Diagnostic[],
): { readonly globals: readonly Step[]; readonly stages: readonly StageGroup[] } {
  const globals: Step[] = []
  const stages: { from: FromInstruction; steps: Step[] }[] = []
  for (const instruction of ast.instructions) {
    // Only where nothing is built (fmt, lint --fix) a file is looked at without what it includes.
    if (instruction.kind === 'include') continue
    const step: Step = { instruction, source: ast.source, trigger: undefined }
    if (instruction.kind === 'from') stages.push({ from: instruction, steps: [] })
    else if (stages.length > 0) stages.at(-1)?.steps.push(step)
    else if (instruction.kind === 'arg') globals.push(step)
    else diagnostics.push(beforeFrom(step))
  }
  if (stages.length === 0 && diagnostics.length === 0) {
    const message = 'the dockerfile contains no stages to build: it has no FROM'
    diagnostics.push({ severity: 'error', code: 'DOCKERFILE_NO_STAGE', message, source: ast.source })
  }
  return { globals, stages }
}

function beforeFrom(step: Step): Diagnostic {
  const { keyword, keywordSpan } = step.instruction
  const message = `${keyword.toUpperCase()} stands before the first FROM, where only ARG may stand`
  return errorAt(placeIn(step, keywordSpan), 'DOCKERFILE_NO_STAGE', message, 'begin the stage with FROM')
}

interface StageScope {
  readonly ast: Dockerfile
  readonly options: FrontendOptions
  readonly platform: Platform
  readonly globals: GlobalScope
}

function readStages(groups: readonly StageGroup[], scope: StageScope): Stage[] {
  const stageNames = groups.map(({ from }) => from.name?.text.toLowerCase())
  const stages: Stage[] = []
  const later: (readonly number[])[] = []
  for (const [index, group] of groups.entries()) {
    const { stage, laterStages } = readStage(index, group, stageNames, stages, scope)
    stages.push(stage)
    later.push(laterStages)
  }
  return stages.map((stage) => nameCircles(stage, stages, later))
}

function readStage(
  index: number,
  { from, steps }: StageGroup,
  stageNames: readonly (string | undefined)[],
  earlier: readonly Stage[],
  scope: StageScope,
): { readonly stage: Stage; readonly laterStages: readonly number[] } {
  const { ast, options, globals } = scope
  const fromStep: Step = { instruction: from, source: ast.source, trigger: undefined }
  const problems: Diagnostic[] = []
  const own = collectProblems(problems, () => stagePlatform(fromStep, scope)) ?? scope.platform
  const found = collectProblems(problems, () => stageBase(index, fromStep, from, stageNames, own, scope))
  const { base, baseName } = found ?? { base: { kind: 'scratch' }, baseName: from.base.text }
  const parent = base.kind === 'stage' ? earlier[base.index] : undefined
  const platform = parent?.platform ?? own
  const all = [...(parent === undefined ? [] : triggersOf(parent)), ...steps]
  const dependencies = findDependencies(all, {
    ...{ stageNames, contexts: options.contexts, stage: index, platform },
    ...{ globals: globals.env, globalNames: globals.values.keys(), escape: ast.escape },
  })
  const name = stageNames[index]
  const ownLabel = name ?? (stageNames.length > 1 ? `stage-${index}` : '')
  const label = options.isOneOfSeveral ? `${formatPlatform(platform)} ${ownLabel}`.trimEnd() : ownLabel
  const stage: Stage = {
    ...{ index, name, label, base, baseName, baseSpan: from.base.span, platform, span: from.span },
    ...{ steps: all, dependencies: dependencies.dependencies, problems: [...problems, ...dependencies.problems] },
  }
  return { stage, laterStages: dependencies.laterStages }
}

function stagePlatform(step: Step, { globals, options, platform, ast }: StageScope): Platform {
  const flag = findFlag(step.instruction, 'platform')
  if (flag === undefined) return platform
  const word = flagWord(step.source, flag)
  const value = expand(step, word, { env: globals.env, escape: ast.escape })
  const parsed = value === '' ? undefined : parsePlatform(value, options.buildPlatform)
  if (parsed !== undefined) return parsed
  throw problem(
    placeIn(step, word.span),
    'DOCKERFILE_BAD_FLAG',
    value === '' ? `--platform=${word.text} is empty` : `"${value}" is no platform`,
    'a platform is written os/architecture, like linux/arm64',
  )
}

function stageBase(
  index: number,
  step: Step,
  from: FromInstruction,
  stageNames: readonly (string | undefined)[],
  platform: Platform,
  { globals, options, ast }: StageScope,
): { readonly base: FileSource; readonly baseName: string } {
  const value = expand(step, from.base, { env: globals.env, escape: ast.escape })
  const place = placeIn(step, from.base.span)
  if (value.trim() === '') {
    const hint = 'give its variable a default with ARG before the first FROM, or a value with --build-arg'
    throw problem(place, 'DOCKERFILE_BAD_BASE', `the base name "${from.base.text}" is blank`, hint)
  }
  const table = { stageNames, contexts: options.contexts }
  const found = findSource(value, table, { from: index, platform, numbers: false, earlierOnly: true })
  if (found.kind !== 'miss') return { base: found, baseName: value }
  throw problem(place, 'DOCKERFILE_BAD_BASE', `"${value}" cannot be a base: ${found.message}`)
}

/** The ONBUILD triggers that a stage leaves to the stages built on it. */
function triggersOf(parent: Stage): Step[] {
  return parent.steps.flatMap((step) =>
    step.instruction.kind === 'onbuild' ? [{ ...step, instruction: step.instruction.trigger }] : [],
  )
}

/** A stage that uses a later one which needs this one is part of a circle: moving stages would not help, so say so. */
function nameCircles(stage: Stage, stages: readonly Stage[], later: readonly FoundDependencies['laterStages'][]): Stage {
  const extra = stages.map((other) => ({ ...other, extra: later[other.index] ?? [] }))
  const circular = (later[stage.index] ?? []).some((index) => reachableStages(extra, [index]).includes(stage.index))
  if (!circular) return stage
  const message = `circular dependency detected on stage: ${stage.name ?? stage.index}`
  const problems = stage.problems.map((found) =>
    found.code === 'DOCKERFILE_STAGE_ORDER'
      ? { ...found, message, hint: 'break the circle: stages cannot need one another' }
      : found,
  )
  return { ...stage, problems }
}

/** The stage asked for: the last of that name, or of that number (names cannot be numbers), or the last one. */
function findTarget(stages: readonly Stage[], target: string | undefined, diagnostics: Diagnostic[]): number | undefined {
  if (stages.length === 0) return undefined
  if (target === undefined || target === '') return stages.length - 1
  const lower = target.toLowerCase()
  const named = stages.findLast((stage) => stage.name === lower)
  if (named !== undefined) return named.index
  if (/^\d+$/.test(target) && Number(target) < stages.length) return Number(target)
  const names = stages.flatMap((stage) => (stage.name === undefined ? [] : [stage.name]))
  const known = names.length === 0 ? 'no stage of the file has a name' : `the stages are ${names.join(', ')}`
  diagnostics.push({
    severity: 'error',
    code: 'DOCKERFILE_UNKNOWN_STAGE',
    message: `target stage "${target}" could not be found`,
    hint: didYouMean(target, names) ?? known,
  })
  return undefined
}

function declaredArgs(instructions: readonly Instruction[]): Set<string> {
  const names = instructions.flatMap((instruction): string[] => {
    if (instruction.kind === 'onbuild') return [...declaredArgs([instruction.trigger])]
    return instruction.kind === 'arg' ? instruction.pairs.map((pair) => pair.key.text) : []
  })
  return new Set(names)
}
