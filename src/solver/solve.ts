/**
 * Solves a plan: finds or makes the layers of its target.
 *
 * First all definition keys and the records they lead to (lookup.ts); what is not found is then carried out, inputs
 * first, independent vertices at once, each once (step.ts). The first failure stops the others, and solving ends when the
 * last of them has ended. Reaches the world through `ports.ts` only.
 */
import type { Context } from '../core/context.js'
import { CancelledError } from '../core/errors.js'
import type { BuildPlan, Vertex, VertexId } from '../graph/op.js'
import { placeError } from './failure.js'
import { computeKeys, type Found, findRecords, type KeyedVertex, neededVertices } from './lookup.js'
import type { CacheRecord, SolverPorts, VertexResult } from './ports.js'
import { createReport, type Report } from './report.js'
import { openSchedule } from './schedule.js'
import { noLayers, type Solution, type SolvedLayers } from './solution.js'
import { type SolveOptions, type Solving, type StepOutcome, solveStep } from './step.js'

/**
 * Solves `plan` for the vertex that its image names.
 *
 * @throws the error of the step that failed first, with the step's place; the reason of `ctx.signal` when that aborted
 */
export async function solve(plan: BuildPlan, options: SolveOptions, ports: SolverPorts, ctx: Context): Promise<Solution> {
  const target = plan.image.rootfs
  const vertices = neededVertices(plan, target)
  ctx.emit({ type: 'plan', vertices: vertices.map(({ id, name }) => ({ id, name })) })
  const keyed = await computeKeys(plan, vertices, ports, ctx)
  const found = findRecords(target, keyed, ports)
  const report = createReport(options.now, ctx)
  reportFound(vertices, found, report)
  const rootfs = target === undefined ? noLayers : await solveTarget(target, { plan, options, ports, ctx, keyed, found, report })
  for (const vertex of vertices) if (!report.how.has(vertex.id)) report.done(vertex, 'known')
  return {
    rootfs,
    vertices: vertices.flatMap(({ id, name }) => {
      const item = keyed.get(id)
      if (item === undefined) return []
      const reason = report.reasons.get(id)
      return [{ id, name, key: item.key, by: report.how.get(id) ?? 'unneeded', ...(reason === undefined ? {} : { reason }) }]
    }),
  }
}

/** Records that were found, and what stands above them, are done before anything runs. */
function reportFound(vertices: readonly Vertex[], found: Found, report: Report): void {
  for (const vertex of vertices) {
    if (found.records.has(vertex.id)) report.done(vertex, 'definition')
    else if (!found.missing.has(vertex.id)) report.done(vertex, 'unneeded')
  }
}

type Prepared = Omit<Solving, 'schedule' | 'outcomes' | 'running' | 'fetched' | 'demand'>

async function solveTarget(target: VertexId, prepared: Prepared): Promise<SolvedLayers> {
  const record = prepared.found.records.get(target)
  if (record !== undefined) return layersOf(record)
  const item = prepared.keyed.get(target)
  if (item?.vertex.op.kind === 'image') return imageLayers(item.vertex.op.diffIds)
  return solveSteps(target, prepared)
}

/** Solves what is missing; after a failure waits for everything that was started. */
async function solveSteps(target: VertexId, prepared: Prepared): Promise<SolvedLayers> {
  const stop = new AbortController()
  const ctx: Context = { ...prepared.ctx, signal: AbortSignal.any([prepared.ctx.signal, stop.signal]) }
  const failures = new Map<VertexId, unknown>()
  const solving: Solving = {
    ...prepared,
    ctx,
    schedule: await openSchedule(prepared.options.jobs),
    outcomes: new Map(),
    running: new Map(),
    fetched: new Map(),
    demand: (id) => demand(id, solving),
    report: stoppingReport(prepared, failures, stop),
  }
  const { keyed, found, ports } = prepared
  ports.explainer?.begin([...keyed.values()].filter(({ vertex }) => !found.missing.has(vertex.id)))
  try {
    const outcome = await demand(target, solving)
    if (outcome.layers === undefined) throw new Error('the target of a plan is not a root filesystem')
    return outcome.layers
  } catch (error) {
    stop.abort(error)
    await Promise.allSettled([...solving.outcomes.values(), ...solving.fetched.values()])
    prepared.ctx.signal.throwIfAborted()
    throw firstFailure(prepared, failures) ?? error
  }
}

/** Collects the failures that are not the stop itself, and stops the others. */
function stoppingReport(prepared: Prepared, failures: Map<VertexId, unknown>, stop: AbortController): Report {
  return {
    ...prepared.report,
    failed(vertex, error) {
      if (!stop.signal.aborted || error !== stop.signal.reason) {
        const placed = placeError(error, vertex, prepared.plan.source)
        if (!isAbort(error)) failures.set(vertex.id, placed)
        stop.abort(placed)
        prepared.report.failed(vertex, placed)
      } else prepared.report.failed(vertex, new Error('stopped, because another step did not succeed'))
    },
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof CancelledError || (error instanceof Error && error.name === 'AbortError')
}

/** Of several failures the one that comes first in the plan, whichever was faster. */
function firstFailure(prepared: Prepared, failures: ReadonlyMap<VertexId, unknown>): unknown {
  const first = prepared.plan.vertices.find(({ id }) => failures.has(id))
  return first && failures.get(first.id)
}

/** The outcome of a vertex, solved with the first call. */
function demand(id: VertexId, solving: Solving): Promise<StepOutcome> {
  const known = solving.outcomes.get(id)
  if (known !== undefined) return known
  const item = solving.keyed.get(id)
  if (item === undefined) throw new Error(`vertex ${id} is not part of the plan`)
  const outcome = solveVertex(item, solving)
  solving.outcomes.set(id, outcome)
  return outcome
}

async function solveVertex(item: KeyedVertex, solving: Solving): Promise<StepOutcome> {
  const { vertex } = item
  const record = solving.found.records.get(vertex.id)
  if (record !== undefined) return { layers: layersOf(record), result: stackOf(record) }
  if (vertex.op.kind === 'image') {
    const layers = imageLayers(vertex.op.diffIds)
    return { layers, result: { kind: 'layers', diffIds: layers.diffIds } }
  }
  if (item.view !== undefined) {
    solving.report.done(vertex, 'known')
    return { layers: undefined, result: { kind: 'files', view: item.view } }
  }
  const same = solving.running.get(item.key.digest)
  if (same !== undefined) {
    const outcome = await same
    solving.report.done(vertex, 'definition')
    return outcome
  }
  const outcome = solveStep(item, solving)
  solving.running.set(item.key.digest, outcome)
  return outcome
}

/** Images have their own times in the history they bring. */
function imageLayers(diffIds: SolvedLayers['diffIds']): SolvedLayers {
  return { diffIds, times: diffIds.map(() => 0) }
}

function layersOf(record: CacheRecord): SolvedLayers {
  return { diffIds: record.layers, times: record.layerTimes }
}

function stackOf(record: CacheRecord): VertexResult {
  return { kind: 'layers', diffIds: record.layers }
}
