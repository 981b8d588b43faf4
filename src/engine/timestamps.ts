/**
 * `rewrite-timestamp`: the layers that a build made, with no time later than SOURCE_DATE_EPOCH (semantics.md 110).
 *
 * A rewritten layer is another layer: it has its own DiffID. Nothing is copied for it; its record says of which layer it is
 * made, and blobs are packed from there. What it became is remembered, so that the next build only reads a record.
 */
import { canonicalJson } from '../core/canonical.js'
import { type DiffID, digestOf } from '../core/digest.js'
import type { LayerDigest } from '../layer/digest.js'
import type { DigestLayerTask } from '../layer/tasks.js'
import type { SolvedLayers } from '../solver/solution.js'
import { layerFiles } from '../store/layer-files.js'
import type { Engine } from './engine.js'
import { type EngineLayers, requireLayer } from './layers.js'

/**
 * The layers with those that are a build's own rewritten. Layers of the base stay as they are: they are not this build's to
 * change, and registries have them.
 *
 * @param epoch seconds since 1970
 */
export async function rewriteLayers(
  { diffIds, times }: SolvedLayers,
  epoch: number,
  engine: Engine,
  layers: EngineLayers,
): Promise<SolvedLayers> {
  const rewritten: DiffID[] = []
  for (const [i, diffId] of diffIds.entries()) {
    const isOfBase = (times[i] ?? 0) === 0
    rewritten.push(isOfBase ? diffId : await rewriteLayer(diffId, epoch, engine, layers))
  }
  return { diffIds: rewritten, times }
}

async function rewriteLayer(diffId: DiffID, epoch: number, engine: Engine, layers: EngineLayers): Promise<DiffID> {
  const { store, pool, ctx, settings } = engine
  const key = digestOf(canonicalJson({ version: 1, by: 'rewrite', diffId, epoch }))
  const [known] = store.records.find(key)?.layers ?? []
  if (known !== undefined && store.layers.arePresent([known])) return known
  await layers.unpack([diffId], 'rewrite', ctx)
  const upper = layerFiles(store, requireLayer(engine, diffId))
  if (upper === undefined) throw new Error(`layer ${diffId} was unpacked and has no files`)
  const task: DigestLayerTask = { upper, epoch }
  const found = await pool.run<LayerDigest>('digestLayerTask', task, ctx.signal)
  if (found.diffId !== diffId) {
    const { contentId, size } = found
    store.layers.save({ diffId: found.diffId, contentId, size, blobs: [], sources: [], rewriteOf: { diffId, epoch } })
  }
  const createdAt = settings.now()
  store.records.save({
    ...{ key, by: 'definition', layers: [found.diffId], layerTimes: [createdAt], createdAt },
    ...{ size: 0, components: {}, name: 'rewritten layer' },
  })
  return found.diffId
}
