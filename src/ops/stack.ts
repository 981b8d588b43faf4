/** From the DiffIDs of a stack to the directories of its layers in the store. */
import type { DiffID } from '../core/digest.js'
import { StoreError } from '../core/errors.js'
import type { VertexResult } from '../solver/ports.js'
import type { Store } from '../store/types.js'

/**
 * Absolute paths of the layers' directories, bottom first. All must be here: the solver sees to it.
 *
 * Of a layer that is there several times (two steps that changed nothing, say) only the topmost counts: it hides all that
 * the lower ones show, and the kernel refuses to mount a directory over itself.
 */
export function layerDirectories(store: Pick<Store, 'layers' | 'snapshots'>, diffIds: readonly DiffID[]): string[] {
  const topmost = diffIds.filter((diffId, i) => diffIds.indexOf(diffId, i + 1) < 0)
  return topmost.map((diffId) => {
    const snapshot = store.layers.find(diffId)?.snapshot
    if (snapshot === undefined) {
      throw new StoreError('STORE_SNAPSHOT_MISSING', `the files of layer ${diffId} are not in the store`, {
        hint: 'build again: what is missing is made or fetched anew',
      })
    }
    return store.snapshots.pathOf(snapshot)
  })
}

/** The layers of the input that a step starts from; none when it starts from nothing. */
export function baseLayers(inputs: readonly VertexResult[], base: number | undefined): readonly DiffID[] {
  if (base === undefined) return []
  const input = inputs[base]
  if (input?.kind !== 'layers') throw new Error(`input ${base} of a step is no root filesystem`)
  return input.diffIds
}

/** The input that a mount names. */
export function inputOf(inputs: readonly VertexResult[], index: number): VertexResult {
  const input = inputs[index]
  if (input === undefined) throw new Error(`a mount names input ${index}, which is not there`)
  return input
}
