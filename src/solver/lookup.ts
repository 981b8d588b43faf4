/**
 * The first half of solving: the definition key of every needed vertex, and from the target backwards which of them are
 * found. It runs no step. Where all is found this is all that solving does, so it touches as little as it can.
 */
import type { Context } from '../core/context.js'
import type { FileView } from '../core/view.js'
import type { BuildPlan, Op, Vertex, VertexId } from '../graph/op.js'
import { placeError } from './failure.js'
import { definitionKey } from './key.js'
import type { CacheKey, CacheRecord, KeyParts, OpRunner, SolverPorts, VertexInput } from './ports.js'

/** A needed vertex with what was found out about it. */
export interface KeyedVertex {
  readonly vertex: Vertex
  readonly key: CacheKey
  readonly parts: KeyParts | undefined
  /** Set for files that are here without any step: contexts. */
  readonly view: FileView | undefined
  /** It or something it depends on must run, so that its definition says nothing about its result. */
  readonly stale: boolean
}

/** The vertices that `target` depends on and itself, in the order of the plan. */
export function neededVertices(plan: BuildPlan, target: VertexId | undefined): readonly Vertex[] {
  const needed = new Set<VertexId>(target === undefined ? [] : [target])
  for (const vertex of [...plan.vertices].reverse()) {
    if (needed.has(vertex.id)) for (const input of vertex.inputs) needed.add(input)
  }
  const seen = new Set<VertexId>()
  return plan.vertices.filter((vertex) => needed.has(vertex.id) && !seen.has(vertex.id) && seen.add(vertex.id))
}

/**
 * Computes all definition keys, independent ones at once (a download's key may need the network).
 *
 * @throws the error of the earliest vertex in the plan that has one, so that the same mistake gives the same message
 */
export async function computeKeys(
  plan: BuildPlan,
  vertices: readonly Vertex[],
  ports: SolverPorts,
  ctx: Context,
): Promise<ReadonlyMap<VertexId, KeyedVertex>> {
  const pending = new Map<VertexId, Promise<KeyedVertex>>()
  for (const vertex of vertices) {
    const inputs = vertex.inputs.map((id) => pending.get(id))
    pending.set(vertex.id, keyVertex(vertex, inputs, ports, ctx))
  }
  const keyed = new Map<VertexId, KeyedVertex>()
  const settled = await Promise.allSettled(pending.values())
  for (const [i, outcome] of settled.entries()) {
    const vertex = vertices[i]
    if (vertex === undefined) continue
    if (outcome.status === 'rejected') throw placeError(outcome.reason, vertex, plan.source)
    keyed.set(vertex.id, outcome.value)
  }
  return keyed
}

async function keyVertex(
  vertex: Vertex,
  pendingInputs: readonly (Promise<KeyedVertex> | undefined)[],
  ports: SolverPorts,
  ctx: Context,
): Promise<KeyedVertex> {
  const inputs = await Promise.all(pendingInputs.map(requireInput))
  const runner = runnerOf(vertex, ports)
  const parts = await runner?.key?.(vertex.op, inputs.map(asInput), vertex, ctx)
  refuseUncoveredContext(vertex, inputs, parts)
  const key = definitionKey(
    vertex,
    inputs.map((input) => input.key),
    parts,
  )
  const stale = vertex.ignoreCache || inputs.some((input) => input.stale)
  return { vertex, key, parts, view: await localFiles(vertex, runner, ctx), stale }
}

async function localFiles(vertex: Vertex, runner: OpRunner<Op> | undefined, ctx: Context): Promise<FileView | undefined> {
  if (runner === undefined || vertex.op.kind !== 'context') return undefined
  const result = await runner.run(vertex.op, [], vertex, ctx)
  return result.kind === 'files' ? result.view : undefined
}

/** The runner of a vertex; a merge has none. */
export function runnerOf({ op }: Vertex, ports: SolverPorts): OpRunner<Op> | undefined {
  return op.kind === 'merge' ? undefined : (ports.runners[op.kind] as OpRunner<Op>)
}

function asInput({ vertex, key, view }: KeyedVertex): VertexInput {
  return view === undefined ? { vertex, key } : { vertex, key, view }
}

function requireInput(pending: Promise<KeyedVertex> | undefined): Promise<KeyedVertex> {
  if (pending === undefined) throw new Error('a vertex comes before one of its inputs in the plan')
  return pending
}

/** The key of a context says which patterns it has and nothing of its files: whoever uses it must have hashed them. */
function refuseUncoveredContext(vertex: Vertex, inputs: readonly KeyedVertex[], parts: KeyParts | undefined): void {
  for (const [i, input] of inputs.entries()) {
    if (input.vertex.op.kind === 'context' && !parts?.coveredInputs.includes(i))
      throw new Error(`the key of ${vertex.name} does not cover the files of its context`)
  }
}

/** What the first half found: a record for some vertices, and those that nothing asked for. */
export interface Found {
  readonly records: ReadonlyMap<VertexId, CacheRecord>
  /** Vertices that have to be solved: the target's way down to records and sources. */
  readonly missing: ReadonlySet<VertexId>
}

/** Looks for records from the targets backwards: what stands above a hit is not looked for at all. */
export function findRecords(
  targets: readonly (VertexId | undefined)[],
  keyed: ReadonlyMap<VertexId, KeyedVertex>,
  ports: SolverPorts,
): Found {
  const records = new Map<VertexId, CacheRecord>()
  const missing = new Set<VertexId>()
  const visit = (id: VertexId): void => {
    const item = keyed.get(id)
    if (item === undefined || records.has(id) || missing.has(id)) return
    const record = item.stale || isSource(item.vertex) ? undefined : ports.records.find(item.key.digest)
    if (record !== undefined) records.set(id, record)
    else {
      missing.add(id)
      for (const input of item.vertex.inputs) visit(input)
    }
  }
  for (const target of targets) if (target !== undefined) visit(target)
  return { records, missing }
}

/** True for vertices that bring files in; they have no records, the store of images or their runner remembers them. */
export function isSource(vertex: Vertex): boolean {
  return !['copy', 'exec', 'mkdir', 'merge'].includes(vertex.op.kind)
}
