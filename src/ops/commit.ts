/**
 * The end of a step: what it wrote gets its identities and becomes a layer of the store.
 *
 * The layer is digested where it lies and moved only when the store lacks it. A small one is digested at once, which is
 * quicker than handing it to a thread.
 */
import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Context } from '../core/context.js'
import { systemCode } from '../core/errors.js'
import type { WorkerPool } from '../io/pool.js'
import { digestLayer, type LayerDigest } from '../layer/digest.js'
import { layerStack } from '../layer/stack.js'
import type { OpResult } from '../solver/ports.js'
import type { ActiveSnapshot, Store } from '../store/types.js'

/** What `commitLayer` needs. */
export interface CommitPorts {
  readonly store: Store
  readonly pool: WorkerPool
}

/** The argument of the worker's `digestLayer`. */
export interface DigestRequest {
  readonly upper: string
  /** Directories of the layers below, bottom first. */
  readonly lowers: readonly string[]
}

const smallEntries = 256
const smallBytes = 4 << 20

/** Makes `active` a layer. Its record is saved after its files are in place. */
export async function commitLayer(
  active: ActiveSnapshot,
  lowers: readonly string[],
  { store, pool }: CommitPorts,
  ctx: Context,
): Promise<OpResult> {
  const request: DigestRequest = { upper: active.upper, lowers }
  const digest = isSmall(active.upper) ? digestRequest(request) : await pool.run<LayerDigest>('digestLayer', request, ctx.signal)
  const { diffId, contentId, size } = digest
  const known = store.layers.find(diffId)
  if (known?.snapshot !== undefined && store.snapshots.has(known.snapshot)) {
    if (known.contentId === undefined) store.layers.save({ ...known, contentId })
  } else {
    const snapshot = await active.commit(digest.entries)
    store.layers.save({ diffId, snapshot, contentId, size, blobs: [], sources: [] })
  }
  return { kind: 'layer', diffId, contentId, size }
}

/** Digests a layer; also what the worker calls. */
export function digestRequest({ upper, lowers }: DigestRequest): LayerDigest {
  return digestLayer(upper, { lowers: layerStack(lowers) })
}

/** Counts entries and bytes, and stops counting when they are many. */
function isSmall(directory: string): boolean {
  let entries = 0
  let bytes = 0
  const directories = [directory]
  for (let path = directories.pop(); path !== undefined; path = directories.pop()) {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (++entries > smallEntries) return false
      const child = join(path, entry.name)
      if (entry.isDirectory()) directories.push(child)
      else if (entry.isFile()) bytes += sizeOf(child)
      if (bytes > smallBytes) return false
    }
  }
  return true
}

/** A name that is not UTF-8 cannot be looked up by this text: it counts as large. */
function sizeOf(path: string): number {
  try {
    return lstatSync(path).size
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return smallBytes + 1
    throw error
  }
}
