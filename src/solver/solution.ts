/** What solving gives: for each vertex whether it ran, and the layers of the target. */
import type { DiffID } from '../core/digest.js'
import type { StepReason } from '../core/reason.js'
import type { VertexId } from '../graph/op.js'
import type { CacheKey } from './ports.js'

/** A stack of layers, bottom first, and when each was made (ms since 1970; 0 for the layers of a base image). */
export interface SolvedLayers {
  readonly diffIds: readonly DiffID[]
  readonly times: readonly number[]
}

/**
 * How a vertex got its result.
 *
 * `ran`: it was carried out. `definition`, `content`: found under that key. `unneeded`: a later vertex was found, so
 * nobody looked. `known`: images and local files, which need no step.
 */
export type SolvedBy = 'ran' | 'definition' | 'content' | 'unneeded' | 'known'

/** One vertex that the target depends on. */
export interface SolvedVertex {
  readonly id: VertexId
  readonly name: string
  readonly key: CacheKey
  readonly by: SolvedBy
  /** Why it ran. */
  readonly reason?: StepReason
}

/** The solved plan. `vertices` are in the order of the plan, without those that the target does not need. */
export interface Solution {
  readonly rootfs: SolvedLayers
  readonly vertices: readonly SolvedVertex[]
}

/** An image of no layers. */
export const noLayers: SolvedLayers = { diffIds: [], times: [] }
