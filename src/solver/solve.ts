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
import { computeKeys, type Found, findRecords, isSource, type KeyedVertex, neededVertices } from './lookup.js'
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
  const [solution] = await solveAll([plan], options, ports, ctx)
  if (solution === undefined) throw new Error('a plan that was solved has a solution')
  return solution
}

/**
 * Solves the plans of one Dockerfile for several platforms at once. What they share (equal ids) is solved once.
 *
 * @returns the solutions in the order of the plans
 */
export async function solveAll(
  plans: readonly BuildPlan[],
  options: SolveOptions,
  ports: SolverPorts,
  ctx: Context,
): Promise<Solution[]> {
  const [first] = plans
  if (first === undefined) return []
  const needed = plans.map((each) => neededVertices(each, each.image.rootfs))
  const vertices = distinct(needed.flat())
  const plan = { ...first, vertices }
  ctx.emit({ type: 'plan', vertices: vertices.map(({ id, name }) => ({ id, name })) })
  const keyed = await computeKeys(plan, vertices, ports, ctx)
  const targets = plans.map(({ image }) => image.rootfs)
  const found = findHeld(targets, keyed, ports)
  const report = createReport(options.now, ctx)
  reportFound(vertices, found, report)
  const rootfs = await solveTargets(targets, { plan, options, ports, ctx, keyed, found, report })
  ports.runners.exec.rest?.()
  for (const vertex of vertices) if (!report.how.has(vertex.id)) report.done(vertex, 'known')
  return needed.map((own, i) => ({
    rootfs: rootfs[i] ?? noLayers,
    vertices: own.flatMap(({ id, name }) => {
      const item = keyed.get(id)
      if (item === undefined) return []
      const reason = report.reasons.get(id)
      return [{ id, name, key: item.key, by: report.how.get(id) ?? 'unneeded', ...(reason === undefined ? {} : { reason }) }]
    }),
  }))
}

/** What was found when it turned out that something must run may be pruned by then: it is looked for again. */
function findHeld(targets: Targets, keyed: ReadonlyMap<VertexId, KeyedVertex>, ports: SolverPorts): Found {
  const found = findRecords(targets, keyed, ports)
  const mustRun = [...found.missing].some((id) => {
    const item = keyed.get(id)
    return item !== undefined && !isSource(item.vertex)
  })
  if (!mustRun || ports.hold === undefined) return found
  ports.hold()
  return findRecords(targets, keyed, ports)
}

type Targets = Parameters<typeof findRecords>[0]

/** Equal vertices once, under their first names. */
function distinct(vertices: readonly Vertex[]): Vertex[] {
  const seen = new Set<VertexId>()
  return vertices.filter(({ id }) => !seen.has(id) && seen.add(id))
}

/** Records that were found, and what stands above them, are done before anything runs. */
function reportFound(vertices: readonly Vertex[], found: Found, report: Report): void {
  for (const vertex of vertices) {
    if (found.records.has(vertex.id)) report.done(vertex, 'definition')
    else if (!found.missing.has(vertex.id)) report.done(vertex, 'unneeded')
  }
}

type Prepared = Omit<Solving, 'schedule' | 'outcomes' | 'running' | 'fetched' | 'demand'>

async function solveTargets(targets: readonly (VertexId | undefined)[], prepared: Prepared): Promise<SolvedLayers[]> {
  const known = targets.map((target) => (target === undefined ? noLayers : knownLayers(target, prepared)))
  const open = targets.flatMap((target, i) => (target === undefined || known[i] !== undefined ? [] : [target]))
  const solved = open.length === 0 ? new Map<VertexId, SolvedLayers>() : await solveSteps(open, prepared)
  return targets.map((target, i) => known[i] ?? (target && solved.get(target)) ?? noLayers)
}

/** The layers of a target for which no step has to run. */
function knownLayers(target: VertexId, { found, keyed }: Prepared): SolvedLayers | undefined {
  const record = found.records.get(target)
  if (record !== undefined) return layersOf(record)
  const op = keyed.get(target)?.vertex.op
  return op?.kind === 'image' ? imageLayers(op.diffIds) : undefined
}

/** Solves what is missing; after a failure waits for everything that was started. */
async function solveSteps(targets: readonly VertexId[], prepared: Prepared): Promise<ReadonlyMap<VertexId, SolvedLayers>> {
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
    const outcomes = await Promise.all(targets.map(async (target) => [target, await demand(target, solving)] as const))
    return new Map(
      outcomes.map(([target, { layers }]) => {
        if (layers === undefined) throw new Error('the target of a plan is not a root filesystem')
        return [target, layers]
      }),
    )
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
