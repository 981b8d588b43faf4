/**
 * The steps of a build for `mode=max`: the graph in BuildKit's form, where in the Dockerfile each step stands, and the layers
 * that it gave. Pure.
 */
import type { Descriptor } from '../core/descriptor.js'
import type { DiffID } from '../core/digest.js'
import { positionAt } from '../core/span.js'
import type { BuildPlan, Vertex, VertexId } from '../graph/op.js'
import { type LlbOp, llbOp } from './llb-op.js'

/** One step; `inputs` are `stepN:0`. */
export interface BuildStep {
  readonly id: string
  readonly op: LlbOp
  readonly inputs?: readonly string[]
}

/** The layers of a step, bottom first; undefined where they are not known as blobs. */
export type LayersOf = (vertex: Vertex) => readonly DiffID[] | undefined

/** Numbers of steps by vertex. */
function stepNames({ vertices }: BuildPlan): ReadonlyMap<VertexId, string> {
  return new Map(vertices.map(({ id }, i) => [id, `step${i}`]))
}

/** The graph; the last step is the result and has no op of its own. */
export function buildConfigOf(plan: BuildPlan): object {
  const names = stepNames(plan)
  const output = (id: VertexId): string[] => [`${names.get(id)}:0`]
  const steps: BuildStep[] = plan.vertices.map(({ op, inputs }, i) => ({
    id: `step${i}`,
    op: llbOp(op, inputs.length, plan.image.platform),
    ...(inputs.length === 0 ? {} : { inputs: inputs.flatMap(output) }),
  }))
  const { rootfs } = plan.image
  if (rootfs !== undefined) steps.push({ id: `step${steps.length}`, op: {}, inputs: output(rootfs) })
  return { llbDefinition: steps, digestMapping: Object.fromEntries(names) }
}

/** The Dockerfile's text and the lines of each step. */
export function sourceOf(plan: BuildPlan, fileName: string): object {
  const { text } = plan.source
  const locations = plan.vertices.flatMap(({ span }, i) => {
    if (span === undefined) return []
    const start = { line: positionAt(text, span.start).line }
    const end = { line: positionAt(text, Math.max(span.start, span.end - 1)).line }
    return [[`step${i}`, { locations: [{ ranges: [{ start, end }] }] }] as const]
  })
  const info = { filename: fileName, language: 'Dockerfile', data: Buffer.from(text).toString('base64') }
  return { locations: Object.fromEntries(locations), infos: [info] }
}

/** `stepN:0` → its layers; a step is left out when one of its layers has no blob. */
export function layersOf(plan: BuildPlan, of: LayersOf, blobOf: (diffId: DiffID) => Descriptor | undefined): object {
  const entries = plan.vertices.flatMap((vertex, i) => {
    const diffIds = of(vertex)
    const blobs = diffIds?.map(blobOf)
    if (blobs === undefined || blobs.length === 0 || blobs.includes(undefined)) return []
    return [[`step${i}:0`, [blobs]] as const]
  })
  return Object.fromEntries(entries)
}
