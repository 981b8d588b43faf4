/** WORKDIR: makes a directory and its missing parents as a layer of its own, which is empty when all is there already. */
import type { Context } from '../core/context.js'
import { BuildError } from '../core/errors.js'
import type { FileView } from '../core/view.js'
import type { MkdirOp } from '../graph/op.js'
import type { WorkerPool } from '../io/pool.js'
import { resolvePath } from '../layer/stack.js'
import type { OpRunner } from '../solver/ports.js'
import { planEntries } from './copy-entries.js'
import { flushTree } from './copy-flush.js'
import { LayerTree } from './copy-tree.js'
import type { LayerPort } from './layer-port.js'
import { type Owner, resolveOwner } from './owner.js'

/** What the runner of WORKDIR needs; the same as that of COPY. */
export interface MkdirRunnerOptions {
  readonly layers: LayerPort
  readonly pool: WorkerPool
  readonly viewOf: (hostDirectories: readonly string[]) => FileView
  readonly nowMs: () => number
}

/** Makes the runner of WORKDIR. */
export function createMkdirRunner(options: MkdirRunnerOptions): OpRunner<MkdirOp> {
  return {
    async run(op, inputs, _vertex, ctx) {
      const input = op.base === undefined ? undefined : inputs[op.base]
      const base = input?.kind === 'layers' ? options.viewOf(await options.layers.directoriesOf(input.diffIds, ctx)) : undefined
      const nowNs = BigInt(options.nowMs()) * 1_000_000n
      const tree = new LayerTree(base, nowNs)
      const { path, entry } = resolvePath(tree, op.path, { followLast: true })
      if (entry?.type !== 'directory') {
        const { uid, gid } = ownerOf(op, base, ctx)
        tree.directory(path, { mode: op.mode, uid, gid, mtimeNs: nowNs, xattrsFrom: [] })
      }
      await using layer = await options.layers.begin()
      const flush = { plan: planEntries(tree), upper: layer.upper, pool: options.pool }
      return await options.layers.finish(layer, await flushTree(tree.root, false, flush, ctx), ctx)
    },
  }
}

/** A USER that the rootfs does not know is no error yet (it is only text), so its directory is root's, with a warning. */
function ownerOf(op: MkdirOp, base: FileView | undefined, ctx: Context): Owner {
  if (op.owner === undefined) return { uid: 0, gid: 0 }
  try {
    return resolveOwner(base, op.owner)
  } catch (error) {
    if (!(error instanceof BuildError) || error.code !== 'COPY_UNKNOWN_USER') throw error
    const message = `the directory "${op.path}" will belong to root: ${error.message}`
    ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: error.code, message } })
    return { uid: 0, gid: 0 }
  }
}
