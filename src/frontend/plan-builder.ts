/** Collects the vertices of a plan: equal ones become one, inputs come before users. */
import type { Platform } from '../core/platform.js'
import { formatReference, isReference, parseReference } from '../core/reference.js'
import type { Op, Vertex, VertexId } from '../graph/op.js'
import { makeVertex, type VertexDetails } from '../graph/vertex.js'
import type { ResolvedImage } from './resolve.js'

/** The vertices so far. */
export class PlanBuilder {
  readonly #vertices = new Map<VertexId, Vertex>()

  /** Adds a vertex, or finds the equal one; that keeps its first name, and is not taken from the cache if either asked so. */
  add(op: Op, inputs: readonly VertexId[], details: VertexDetails): VertexId {
    const vertex = makeVertex(op, inputs, details)
    const known = this.#vertices.get(vertex.id)
    if (known === undefined) this.#vertices.set(vertex.id, vertex)
    else if (details.ignoreCache && !known.ignoreCache) this.#vertices.set(vertex.id, { ...known, ignoreCache: true })
    return vertex.id
  }

  /** In the order in which they were added. */
  vertices(): Vertex[] {
    return [...this.#vertices.values()]
  }

  /** The layers of an image; undefined for an image without layers, which is like scratch. */
  addImage(image: ResolvedImage, platform: Platform, prefix: string, span?: Vertex['span']): VertexId | undefined {
    if (image.diffIds.length === 0) return undefined
    const { reference, manifest, configDigest: config, diffIds } = image
    const op = { kind: 'image' as const, reference, platform, config, diffIds }
    const name = `${prefix}FROM ${imageName(image)}`
    return this.add(manifest === undefined ? op : { ...op, manifest }, [], { name, span, ignoreCache: false })
  }

  /** Files handed to the build. */
  addContext(name: string, ignore: readonly string[]): VertexId {
    const title = name === 'context' ? '[internal] load build context' : `[context ${name}] load from client`
    return this.add({ kind: 'context', name, ignore }, [], { name: title, ignoreCache: false })
  }
}

/** The name of a pinned image with its digest. */
function imageName({ reference, manifest }: ResolvedImage): string {
  const parsed = parseReference(reference)
  const full = isReference(parsed) ? formatReference(parsed) : reference
  return manifest === undefined || full.includes('@') ? full : `${full}@${manifest}`
}

/** The inputs of one vertex: each id once; answers its number. */
export class InputList {
  readonly ids: VertexId[] = []

  add(id: VertexId): number {
    const at = this.ids.indexOf(id)
    return at >= 0 ? at : this.ids.push(id) - 1
  }

  /** The number of `id`, or undefined for no root filesystem. */
  addBase(id: VertexId | undefined): number | undefined {
    return id === undefined ? undefined : this.add(id)
  }
}
