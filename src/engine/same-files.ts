/**
 * Finds out whether a layer from outside is one that was here before, with other times: a base that was built anew. Steps
 * on it are then those on the earlier one.
 *
 * The content id of a layer from outside is not known, and to find it out the files would be read once more. So only
 * layers of the very same number of bytes are looked at, which is next to none.
 */
import type { Context } from '../core/context.js'
import { type DiffID, digestFromHex, hexOf } from '../core/digest.js'
import { readBytesIfExists } from '../io/fs.js'
import type { LayerDigest } from '../layer/digest.js'
import type { DigestLayerTask } from '../layer/tasks.js'
import type { LayerRecord } from '../store/types.js'
import type { Engine } from './engine.js'

/** Notes with the layer `diffId`, whose files are here, which earlier layer has the same files. */
export async function findSameFiles(engine: Engine, diffId: DiffID, ctx: Context): Promise<void> {
  const { store } = engine
  const own = store.layers.find(diffId)
  if (own === undefined || own.contentId !== undefined || own.sameFilesAs !== undefined || own.size === 0) return
  for (const candidate of store.layers.ofSize(own.size)) {
    const other = candidate === diffId ? undefined : store.layers.find(candidate)
    if (other === undefined || !(await haveSameFiles(engine, own, other, ctx))) continue
    store.layers.save({ ...own, sameFilesAs: other.contentId ?? other.sameFilesAs ?? digestFromHex(hexOf(candidate)) })
    return
  }
}

async function haveSameFiles(engine: Engine, own: LayerRecord, other: LayerRecord, ctx: Context): Promise<boolean> {
  const lists = [own, other].map(({ snapshot }) => snapshot && listOf(engine, snapshot))
  if (lists[0] === undefined || lists[0] !== lists[1]) return false
  const [one, two] = await Promise.all([contentOf(engine, own, ctx), contentOf(engine, other, ctx)])
  return one !== undefined && one === two
}

/** The names, types and sizes of what is in a snapshot, sorted. */
function listOf({ store }: Engine, snapshot: string): string | undefined {
  const bytes = readBytesIfExists(`${store.snapshots.pathOf(snapshot)}.entries`)
  return bytes?.toString('latin1').split('\n').sort().join('\n')
}

async function contentOf(
  { store, pool }: Engine,
  { contentId, snapshot }: LayerRecord,
  ctx: Context,
): Promise<string | undefined> {
  if (contentId !== undefined || snapshot === undefined) return contentId
  const task: DigestLayerTask = { upper: store.snapshots.pathOf(snapshot) }
  return (await pool.run<LayerDigest>('digestLayerTask', task, ctx.signal)).contentId
}
