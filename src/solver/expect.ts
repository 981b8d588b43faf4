/**
 * What is about to run after a step: runners that take time to bring something up can do so while the step works.
 *
 * Only a guess: a step that runs may leave what it left before, and then nothing after it runs.
 */

import type { Vertex, VertexId } from '../graph/op.js'
import { runnerOf } from './lookup.js'
import type { Solving } from './step.js'

/** Tells the runners of `vertex` and of what depends on it and was not found. */
export function expectSteps(vertex: Vertex, { keyed, found, ports }: Pick<Solving, 'keyed' | 'found' | 'ports'>): void {
  const later = new Set<VertexId>([vertex.id])
  for (const { vertex: each } of keyed.values()) {
    if (each.inputs.some((id) => later.has(id))) later.add(each.id)
    if (later.has(each.id) && found.missing.has(each.id)) runnerOf(each, ports)?.expect?.(each.op)
  }
}
