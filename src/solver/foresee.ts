/**
 * What solving a plan would do, without doing it: the first half of solving, and then, step by step, whether a step whose
 * definition was not found would be found by content. What a step leaves is not known before it ran, so steps after one
 * that would run may be found after all.
 */
import type { Context } from '../core/context.js'
import type { DiffID, Digest } from '../core/digest.js'
import type { StepReason } from '../core/reason.js'
import type { BuildPlan, Vertex, VertexId } from '../graph/op.js'
import { contentKey, stackContent } from './key.js'
import { computeKeys, type Found, findRecords, type KeyedVertex, neededVertices } from './lookup.js'
import type { Explainer, SolverPorts } from './ports.js'

/** One vertex of a plan and what would be done about it. */
export interface ForeseenVertex {
  readonly vertex: Vertex
  readonly key: Digest
  /** `may-run`: unless a step before it that would run leaves the same files as the last time. */
  readonly status: 'would-run' | 'may-run' | 'cached'
  readonly reason?: StepReason
}

interface Foreseeing {
  readonly keyed: ReadonlyMap<VertexId, KeyedVertex>
  readonly found: Found
  readonly ports: SolverPorts
  readonly explainer: Explainer
  readonly ctx: Context
  /** The layers that each vertex would have, where they are known. */
  readonly layers: Map<VertexId, readonly DiffID[] | undefined>
}

/** Foresees the build of the plans of one Dockerfile, in their order; what they share once. */
export async function foresee(
  plans: readonly BuildPlan[],
  ports: SolverPorts,
  explainer: Explainer,
  ctx: Context,
): Promise<readonly ForeseenVertex[]> {
  const [plan] = plans
  if (plan === undefined) return []
  const seen = new Set<VertexId>()
  const vertices = plans
    .flatMap((each) => neededVertices(each, each.image.rootfs))
    .filter(({ id }) => !seen.has(id) && seen.add(id))
  const keyed = await computeKeys(plan, vertices, ports, ctx)
  const targets = plans.map(({ image }) => image.rootfs)
  const found = findRecords(targets, keyed, ports)
  const foreseeing: Foreseeing = { keyed, found, ports, explainer, ctx, layers: new Map() }
  const foreseen: ForeseenVertex[] = []
  for (const vertex of vertices) {
    const item = keyed.get(vertex.id)
    if (item !== undefined) foreseen.push(await foreseeVertex(item, foreseeing))
  }
  return foreseen
}

async function foreseeVertex(item: KeyedVertex, foreseeing: Foreseeing): Promise<ForeseenVertex> {
  const { vertex, key } = item
  const { found, layers } = foreseeing
  const cached: ForeseenVertex = { vertex, key: key.digest, status: 'cached' }
  const record = found.records.get(vertex.id)
  if (record !== undefined) layers.set(vertex.id, record.layers)
  if (record !== undefined || !found.missing.has(vertex.id)) return cached
  const { op } = vertex
  if (op.kind === 'image') layers.set(vertex.id, op.diffIds)
  if (op.kind === 'merge') layers.set(vertex.id, mergedLayers(vertex, foreseeing))
  if (op.kind === 'exec' || op.kind === 'copy' || op.kind === 'mkdir') return foreseeStep(item, foreseeing)
  return cached
}

function mergedLayers({ op, inputs }: Vertex, { layers }: Foreseeing): readonly DiffID[] | undefined {
  if (op.kind !== 'merge') return undefined
  const stacks = [...(op.base === undefined ? [] : [op.base]), ...op.layers].map((i) => {
    const id = inputs[i]
    return id === undefined ? undefined : layers.get(id)
  })
  return stacks.some((stack) => stack === undefined) ? undefined : stacks.flatMap((stack) => stack ?? [])
}

async function foreseeStep(item: KeyedVertex, foreseeing: Foreseeing): Promise<ForeseenVertex> {
  const { vertex, key, parts, stale } = item
  const { ports, explainer, layers, keyed, ctx } = foreseeing
  let isOpen = false
  const contents = vertex.inputs.map((id): Digest => {
    const input = keyed.get(id)
    const stack = layers.get(id)
    if (stack !== undefined) {
      // An image that was never unpacked here may have the files of one that was.
      isOpen ||= stack.some((diffId) => ports.layers.contentIdOf(diffId) === undefined) && !ports.layers.areHere(stack)
      return stackContent(stack, ports.layers.contentIdOf)
    }
    if (input === undefined) throw new Error(`an input of ${vertex.name} has no key`)
    // Files have no layers; of a step that would run nobody knows what it leaves.
    const isStep = ['exec', 'copy', 'mkdir', 'merge'].includes(input.vertex.op.kind)
    isOpen ||= isStep
    return isStep ? unknownContent : input.key.digest
  })
  const content = contentKey(vertex, contents, parts)
  const record = isOpen || vertex.ignoreCache ? undefined : ports.records.find(content.digest)
  if (record !== undefined) {
    layers.set(vertex.id, record.layers)
    return { vertex, key: key.digest, status: 'cached' }
  }
  const reason = await explainer.explain({ vertex, key, content, parts, stale }, ctx)
  const depends = reason.kind === 'changed' && reason.changes?.every(({ kind }) => kind === 'input')
  return { vertex, key: key.digest, status: isOpen && depends ? 'may-run' : 'would-run', reason }
}

/** Equal to the digest of nothing that is. */
const unknownContent = `sha256:${'0'.repeat(64)}` as Digest
