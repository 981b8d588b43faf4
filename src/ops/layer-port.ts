/** What ops that write a layer need of the store: `build.ts` plugs in the real one. */
import type { Context } from '../core/context.js'
import type { DiffID } from '../core/digest.js'
import type { LayerDigest } from '../layer/digest.js'
import type { OpResult } from '../solver/ports.js'
import type { ActiveSnapshot } from '../store/types.js'

/** Layers as directories. */
export interface LayerPort {
  /** The directories of layers, in the same order; fetches and unpacks what is not here yet. */
  directoriesOf(diffIds: readonly DiffID[], ctx: Context): Promise<readonly string[]>
  /** A new, empty layer. */
  begin(): Promise<ActiveSnapshot>
  /** True when all files of the layer are here in a directory of their own. */
  isWhole(diffId: DiffID): boolean
  /**
   * Finds the identities of what was written to `layer.upper`, commits it and records the layer.
   */
  finish(layer: ActiveSnapshot, written: WrittenLayer, ctx: Context): Promise<LayerResult>
}

/** What is known of a layer when its files have been written. */
export interface WrittenLayer {
  /** sha256 (hex) of files by path relative to the layer, where they are known. */
  readonly knownContent: ReadonlyMap<string, string>
  /** Its identities, where they were found on the way. */
  readonly digest?: LayerDigest | undefined
  /** Where only what is other than in an earlier layer was written: that layer, and the list of what was written. */
  readonly difference?: { readonly over: DiffID; readonly entries: string } | undefined
}

/** The result of an op that made one layer. */
export type LayerResult = Extract<OpResult, { readonly kind: 'layer' }>
