/**
 * `--squash`: layers of a finished image as one. The result is remembered by the layers it was made of, so a build in which all
 * is cached squashes nothing again.
 */
import { canonicalJson } from '../core/canonical.js'
import type { DiffID } from '../core/digest.js'
import { digestOf } from '../core/digest.js'
import { matchLayers } from '../exporter/assemble.js'
import type { PlannedHistory, PlannedImage } from '../graph/op.js'
import type { LayerDigest } from '../layer/digest.js'
import type { SquashLayerTask } from '../layer/tasks.js'
import { layerDirectories } from '../ops/stack.js'
import type { SolvedLayers } from '../solver/solution.js'
import type { SolvedPlan } from './assembled.js'
import type { Engine } from './engine.js'
import type { EngineLayers } from './layers.js'
import type { Squash } from './options.js'

/** Squashes as `squash` says; what is fewer than two layers stays as it is. */
export async function squashImage(solved: SolvedPlan, squash: Squash, engine: Engine, layers: EngineLayers): Promise<SolvedPlan> {
  const { plan, solution } = solved
  const { rootfs } = solution
  const planned = plan.image
  const history = matchLayers(planned.history, rootfs)
  const count = Math.min(countOf(squash, history, rootfs), rootfs.diffIds.length)
  if (count < 2) return solved
  const { settings, ctx } = engine
  const event = { id: `squash:${planned.rootfs ?? ''}`, name: `squashing ${count} layers` }
  ctx.emit({ type: 'vertex-started', ...event, atMs: settings.now() })
  const { diffId, time, cached } = await squashedLayer(rootfs, count, event.id, engine, layers)
  ctx.emit({ type: 'vertex-done', ...event, atMs: settings.now(), cached })
  const keep = rootfs.diffIds.length - count
  const squashed = { diffIds: [...rootfs.diffIds.slice(0, keep), diffId], times: [...rootfs.times.slice(0, keep), time] }
  return {
    plan: { ...plan, image: { ...planned, history: squashHistory(history, count, planned) } },
    solution: { ...solution, rootfs: squashed },
  }
}

/** `stage`: all that this build made on its base image. */
function countOf(squash: Squash, history: readonly PlannedHistory[], { diffIds }: SolvedLayers): number {
  if (squash === 'all') return diffIds.length
  return squash === 'stage' ? history.filter(({ vertex }) => vertex !== undefined).length : squash
}

async function squashedLayer(
  { diffIds, times }: SolvedLayers,
  count: number,
  progressId: string,
  engine: Engine,
  layers: EngineLayers,
): Promise<{ readonly diffId: DiffID; readonly time: number; readonly cached: boolean }> {
  const { store, pool, settings, ctx } = engine
  const [below, above] = [diffIds.slice(0, -count), diffIds.slice(-count)]
  const key = digestOf(canonicalJson({ version: 1, by: 'squash', below, above }))
  const known = store.records.find(key)
  const knownId = known?.layers.at(-1)
  if (known !== undefined && knownId !== undefined && store.layers.arePresent(known.layers)) {
    return { diffId: knownId, time: known.layerTimes.at(-1) ?? known.createdAt, cached: true }
  }
  await layers.unpack(diffIds, progressId, ctx)
  await using active = await store.snapshots.prepare()
  const task: SquashLayerTask = {
    uppers: layerDirectories(store, above),
    hostLowers: layerDirectories(store, below),
    target: active.upper,
  }
  const { diffId, contentId, size, entries } = await pool.run<LayerDigest>('squashLayerTask', task, ctx.signal)
  if (store.layers.find(diffId)?.snapshot === undefined) {
    store.layers.save({ diffId, snapshot: await active.commit(entries), contentId, size, blobs: [], sources: [] })
  }
  const createdAt = settings.now()
  const time = Math.max(0, ...times.slice(-count)) || createdAt
  const record = { layers: [...below, diffId], layerTimes: [...times.slice(0, -count), time], createdAt, size, contentId }
  store.records.save({ ...record, key, by: 'definition', components: {}, name: 'squash' })
  return { diffId, time, cached: false }
}

/** As docker writes it: the entries stay, now without a layer, and one more has the layer. */
function squashHistory(history: readonly PlannedHistory[], count: number, { rootfs }: PlannedImage): PlannedHistory[] {
  let left = count
  const squashed = [...history].reverse().map((entry) => {
    const { vertex, inherited, ...rest } = entry
    const hasLayer = inherited === undefined ? vertex !== undefined : !inherited.emptyLayer
    if (!hasLayer || left === 0) return entry
    left--
    return inherited === undefined ? rest : { ...rest, inherited: { ...inherited, emptyLayer: true } }
  })
  const merged = { createdBy: '', comment: `squashed ${count} layers` }
  return [...squashed.reverse(), rootfs === undefined ? merged : { ...merged, vertex: rootfs }]
}
