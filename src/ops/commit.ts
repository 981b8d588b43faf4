/**
 * The end of a step: what it wrote gets its identities and becomes a layer of the store.
 *
 * The layer is digested where it lies and moved only when the store lacks it. A small one is digested at once, which is
 * quicker than handing it to a thread.
 */
import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Context } from '../core/context.js'
import { fsPath, isLossy } from '../core/path-bytes.js'
import type { WorkerPool } from '../io/pool.js'
import { digestLayer, type LayerDigest } from '../layer/digest.js'
import type { DigestLayerTask } from '../layer/tasks.js'
import type { OpResult } from '../solver/ports.js'
import type { ActiveSnapshot, Store } from '../store/types.js'
import type { WrittenLayer } from './layer-port.js'

/** What `commitLayer` needs. */
export interface CommitPorts {
  readonly store: Pick<Store, 'layers' | 'snapshots'>
  readonly pool: WorkerPool
}

const smallEntries = 256
const smallBytes = 4 << 20

/**
 * Makes `active` a layer. Its record is saved after its files are in place.
 *
 * The layers below are not looked at: overlayfs makes a whiteout only for a name that is there, and the tar that is packed
 * later must be the one that is digested now, whatever then lies below.
 */
export async function commitLayer(
  active: ActiveSnapshot,
  written: WrittenLayer,
  { store, pool }: CommitPorts,
  ctx: Context,
): Promise<Extract<OpResult, { readonly kind: 'layer' }>> {
  const { difference } = written
  if (difference !== undefined && written.digest === undefined)
    throw new Error('a part of a layer does not say what the layer is')
  const digest = written.digest ?? (await digestUpper(active.upper, written.knownContent, pool, ctx))
  const { diffId, contentId, size } = digest
  const known = store.layers.find(diffId)
  if (known?.snapshot === undefined) {
    const snapshot = await active.commit(difference?.entries ?? digest.entries)
    const over = difference === undefined ? {} : { over: difference.over }
    store.layers.save({ diffId, snapshot, ...over, contentId, size, blobs: [], sources: [] })
  } else if (known.contentId === undefined) store.layers.save({ ...known, contentId })
  return { kind: 'layer', diffId, contentId, size }
}

async function digestUpper(
  upper: string,
  knownContent: ReadonlyMap<string, string>,
  pool: WorkerPool,
  ctx: Context,
): Promise<LayerDigest> {
  if (isSmall(upper)) return digestLayer(upper, { knownContent })
  const task: DigestLayerTask = { upper, knownContent }
  return await pool.run<LayerDigest>('digestLayerTask', task, ctx.signal)
}

/** Counts entries and bytes, and stops counting when they are many. */
function isSmall(directory: string): boolean {
  let entries = 0
  let bytes = 0
  const directories = [directory]
  for (let path = directories.pop(); path !== undefined; path = directories.pop()) {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      // A name that is not UTF-8 cannot be looked up by this text: let the worker see.
      if (++entries > smallEntries || isLossy(entry.name)) return false
      const child = join(path, entry.name)
      if (entry.isDirectory()) directories.push(child)
      else if (entry.isFile()) bytes += lstatSync(fsPath(child)).size
      if (bytes > smallBytes) return false
    }
  }
  return true
}
