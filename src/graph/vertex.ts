/** Vertices and their ids: equal ops on equal inputs are one vertex, on every machine. */
import { type CanonicalValue, canonicalJson } from '../core/canonical.js'
import { digestOf } from '../core/digest.js'
import type { Span } from '../core/span.js'
import type { Op, Vertex, VertexId } from './op.js'

/** What a vertex has besides its op and inputs; none of it is in the id. */
export interface VertexDetails {
  readonly name: string
  readonly span?: Span | undefined
  readonly ignoreCache: boolean
}

/** The text that a vertex id is the digest of. */
export function canonicalVertex(op: Op, inputs: readonly VertexId[]): string {
  // Ops are plain JSON by contract; interfaces have no index signature, so the compiler cannot see it.
  return canonicalJson({ op: op as unknown as CanonicalValue, inputs })
}

/** sha256 of the canonical form of `{op, inputs}`. */
export function vertexId(op: Op, inputs: readonly VertexId[]): VertexId {
  return digestOf(canonicalVertex(op, inputs)) as string as VertexId
}

/** Makes a vertex with its id. */
export function makeVertex(op: Op, inputs: readonly VertexId[], details: VertexDetails): Vertex {
  const { name, span, ignoreCache } = details
  const vertex = { id: vertexId(op, inputs), op, inputs, name, ignoreCache }
  return span === undefined ? vertex : { ...vertex, span }
}
