/**
 * COPY and ADD: selects files of contexts, stages and downloads, and writes them as one new layer, without a mount.
 *
 * What is selected from a context is in the key by content (copy-key.ts). What carries the copy out (copy-run.ts) is loaded
 * with the first copy that is not cached. Rules of selection are in context/select.ts, those of the destination in
 * copy-place.ts, archives in copy-unpack.ts.
 */
import type { FileView } from '../core/view.js'
import type { CopyOp } from '../graph/op.js'
import type { WorkerPool } from '../io/pool.js'
import type { OpRunner, VertexResult } from '../solver/ports.js'
import { copyKey, selectedCopyKey } from './copy-key.js'
import type { LayerPort } from './layer-port.js'

/** What the runner of COPY needs. */
export interface CopyRunnerOptions {
  readonly layers: LayerPort
  readonly pool: WorkerPool
  /** A view of layer directories, bottom first (`layerStack`). */
  readonly viewOf: (hostDirectories: readonly string[]) => FileView
  /** Time of directories that no source gave, ms since 1970. */
  readonly nowMs: () => number
  /** Where it is kept what copies of contexts wrote, so that the next writes only what is other; undefined: nowhere. */
  readonly memoDirectory?: string | undefined
}

/** Makes the runner of COPY and ADD. */
export function createCopyRunner(options: CopyRunnerOptions): OpRunner<CopyOp> {
  return {
    key: (op, inputs, _vertex, ctx) => copyKey(op, inputs, ctx),
    async selected(op, inputs, parts, _vertex, ctx) {
      const { viewOfInput } = await import('./copy-run.js')
      const viewOf = (input: VertexResult): Promise<FileView> => viewOfInput(input, options, ctx)
      return selectedCopyKey(op, inputs, parts, { pool: options.pool, viewOf }, ctx)
    },
    async run(op, inputs, _vertex, ctx) {
      const { runCopy } = await import('./copy-run.js')
      return runCopy(op, inputs, options, ctx)
    },
  }
}
