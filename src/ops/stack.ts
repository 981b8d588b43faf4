/** From the DiffIDs of a stack to the directories of its layers in the store. */
import type { DiffID } from '../core/digest.js'
import { StoreError } from '../core/errors.js'
import type { VertexResult } from '../solver/ports.js'
import { layerFiles, uncovered } from '../store/layer-files.js'
import type { Store } from '../store/types.js'

/**
 * Absolute paths of the layers' directories, bottom first. All must be here: the solver sees to it. No directory is there
 * twice.
 */
export function layerDirectories(store: Pick<Store, 'layers' | 'snapshots'>, diffIds: readonly DiffID[]): string[] {
  const directories = diffIds.flatMap((diffId) => {
    const files = layerFiles(store, store.layers.find(diffId))
    if (files !== undefined) return files
    throw new StoreError('STORE_SNAPSHOT_MISSING', `the files of layer ${diffId} are not in the store`, {
      hint: 'build again: what is missing is made or fetched anew',
    })
  })
  return uncovered(directories)
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
