/**
 * Resolved stages → build plan. Pure: expands variables, turns instructions into vertices or into changes of the config.
 * Each kind of instruction has its own file; this one walks stages and steps and collects what is wrong.
 */
import { assertNever } from '../../grammar/ast.js'
import type { Diagnostic } from '../core/diagnostic.js'
import type { BuildPlan, VertexId } from '../graph/op.js'
import { orderVertices } from '../graph/walk.js'
import { lowerConfig } from './lower-config.js'
import { lowerCopy } from './lower-copy.js'
import { lowerRun } from './lower-run.js'
import { lowerWorkdir } from './lower-workdir.js'
import { PlanBuilder } from './plan-builder.js'
import { collectProblems, throwErrors } from './problem.js'
import type { Resolved } from './resolve.js'
import { sbomTargets } from './sbom-targets.js'
import { addNamedContext, countSteps, findImage, finishedStage, StageLowering, stepPrefix } from './stage-lowering.js'
import { imageState, type StageState, scratchState } from './stage-state.js'
import type { Stage, Step } from './stages.js'

/** A plan, and the warnings that came up on the way from the tree to it. */
export interface Lowered {
  readonly plan: BuildPlan
  readonly diagnostics: readonly Diagnostic[]
}

/**
 * Makes the plan for the target.
 *
 * @throws DockerfileError with everything that is wrong in the stages that the target needs
 */
export function lower(resolved: Resolved): Lowered {
  const { analysis, reachable, stages } = resolved
  const plan = new PlanBuilder()
  const diagnostics: Diagnostic[] = [...resolved.diagnostics]
  const finished = new Map<number, StageState>()
  for (const index of reachable) {
    const stage = stages[index]
    if (stage !== undefined) finished.set(index, lowerStage(resolved, stage, { plan, diagnostics, finished }))
  }
  throwErrors(diagnostics)
  const target = finishedStage(finished, analysis.target ?? stages.length - 1)
  addLabels(target, analysis.options.labels)
  const scans = analysis.options.sbom ? sbomTargets(resolved, finished, plan) : undefined
  const roots = [target.rootfs, ...(scans ?? []).map(({ vertex }) => vertex)].filter((id): id is VertexId => id !== undefined)
  const image = target.image(stages[analysis.target ?? 0]?.platform ?? analysis.platform)
  // The order in which they were made is the file's and has inputs first; the walk only says which are needed.
  const needed = new Set(orderVertices(plan.vertices(), roots))
  const vertices = plan.vertices().filter((vertex) => needed.has(vertex))
  return { plan: { version: 1, source: analysis.source, vertices, image, ...(scans && { scans }) }, diagnostics }
}

interface Shared {
  readonly plan: PlanBuilder
  readonly diagnostics: Diagnostic[]
  readonly finished: ReadonlyMap<number, StageState>
}

function lowerStage(resolved: Resolved, stage: Stage, shared: Shared): StageState {
  const state = startState(resolved, stage, shared)
  const stepNumber = stage.base.kind === 'image' ? 1 : 0
  const lowering = new StageLowering(resolved, stage, state, { ...shared, stepNumber })
  for (const step of stage.steps) collectProblems(shared.diagnostics, () => lowerStep(lowering, step))
  return state
}

function startState(resolved: Resolved, stage: Stage, { plan, finished }: Shared): StageState {
  const { base, platform } = stage
  switch (base.kind) {
    case 'scratch':
      return scratchState(platform)
    case 'stage':
      return finishedStage(finished, base.index).child()
    case 'image': {
      const image = findImage(resolved, base.reference, stage)
      const prefix = stepPrefix(stage, 1, countSteps(stage))
      return imageState(image.config, plan.addImage(image, platform, prefix, stage.span))
    }
    case 'context': {
      const state = scratchState(platform)
      const source = addNamedContext(plan, base.name, resolved)
      const all = { input: 0, path: '.', wildcard: false, unpack: 'never' as const, keepOwner: false }
      const op = { kind: 'copy' as const, sources: [all], destination: '/', exclude: [], parents: false }
      state.rootfs = plan.add(op, [source], { name: `FROM ${base.name}`, span: stage.span, ignoreCache: false })
      state.history.push({ createdBy: `FROM ${base.name}`, vertex: state.rootfs })
      return state
    }
    default:
      return assertNever(base)
  }
}

function lowerStep(lowering: StageLowering, step: Step): void {
  const { instruction } = step
  switch (instruction.kind) {
    case 'from':
      throw new Error('FROM is not a step of a stage')
    case 'run':
      lowerRun(lowering, step, instruction)
      break
    case 'copy':
    case 'add':
      lowerCopy(lowering, step, instruction)
      break
    case 'workdir':
      lowerWorkdir(lowering, step, instruction)
      break
    default:
      lowerConfig(lowering, step, instruction)
  }
}

/** `--label` comes last and is taken as it is (semantics.md 63). */
function addLabels(state: StageState, labels: Readonly<Record<string, string>>): void {
  if (Object.keys(labels).length > 0) state.config.Labels = { ...state.config.Labels, ...labels }
}
