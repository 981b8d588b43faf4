/** Walks of the graph: what a vertex needs, and an order in which inputs come before their users. */
import { BuildError } from '../core/errors.js'
import type { Vertex, VertexId } from './op.js'

/** The vertices of a list by their ids. */
export function indexVertices(vertices: readonly Vertex[]): ReadonlyMap<VertexId, Vertex> {
  return new Map(vertices.map((vertex) => [vertex.id, vertex]))
}

/**
 * The vertices that `roots` need, themselves included, inputs before users.
 *
 * Depth first in the order of inputs, so the same graph always gives the same order. No recursion: a stage with
 * thousands of instructions is a path of thousands of vertices.
 *
 * @throws BuildError SOLVE_CYCLE when a vertex needs itself
 * @throws Error when an input is not among `vertices`: a broken plan, not a user's mistake
 */
export function orderVertices(vertices: readonly Vertex[], roots: readonly VertexId[]): Vertex[] {
  const byId = indexVertices(vertices)
  const ordered: Vertex[] = []
  const state = new Map<VertexId, 'open' | 'done'>()
  const path: { readonly vertex: Vertex; next: number }[] = []
  const enter = (id: VertexId): void => {
    const vertex = byId.get(id)
    if (vertex === undefined) throw new Error(`the plan has no vertex ${id}`)
    state.set(id, 'open')
    path.push({ vertex, next: 0 })
  }
  for (const root of roots) {
    if (!state.has(root)) enter(root)
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const input = top.vertex.inputs[top.next++]
      if (input === undefined) {
        state.set(top.vertex.id, 'done')
        ordered.push(top.vertex)
        path.pop()
      } else if (!state.has(input)) enter(input)
      else if (state.get(input) === 'open') throw cycle(path.map((step) => step.vertex))
    }
  }
  return ordered
}

function cycle(path: readonly Vertex[]): BuildError {
  return new BuildError('SOLVE_CYCLE', `the steps depend on one another in a circle: ${path.map((v) => v.name).join(' → ')}`)
}

/** For each vertex the ones that have it as an input. */
export function usersOf(vertices: readonly Vertex[]): ReadonlyMap<VertexId, readonly VertexId[]> {
  const users = new Map<VertexId, VertexId[]>(vertices.map((vertex) => [vertex.id, []]))
  for (const vertex of vertices) {
    for (const input of new Set(vertex.inputs)) users.get(input)?.push(vertex.id)
  }
  return users
}
