/**
 * FROM: the layers of a pinned image. Its key is the stack of layers, so the same image by another name, or rebuilt with
 * another config, is the same. The files are fetched and unpacked only when a step needs them.
 */
import { chainIdOf } from '../core/digest.js'
import type { ImageOp } from '../graph/op.js'
import type { LayerFiles, OpRunner } from '../solver/ports.js'

/** The runner of image ops. */
export function createImageRunner(layers: LayerFiles): OpRunner<ImageOp> {
  return {
    key: async ({ diffIds }) => ({
      fields: { kind: 'image', chain: chainIdOf(diffIds) ?? null },
      components: {},
      coveredInputs: [],
    }),
    async run({ diffIds }, _inputs, vertex, ctx) {
      await layers.bringHere(diffIds, vertex, ctx)
      return { kind: 'layers', diffIds }
    },
  }
}
