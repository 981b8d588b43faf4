/**
 * What a build does when something that it relied on cannot be had: it forgets that, and builds again. What a cache promised is
 * forgotten for good, so that the steps that made it are run. What the store had and has no more, or has damaged, is made or
 * fetched anew.
 */
import { BuildError, type ErrorCode, StoreError } from '../core/errors.js'
import type { BuildPlan } from '../graph/op.js'
import type { BuildWork } from './build-work.js'
import type { Engine } from './engine.js'
import type { EngineLayers } from './layers.js'
import type { RemoteCache } from './remote-cache.js'

const losses: readonly ErrorCode[] = [
  'STORE_SNAPSHOT_MISSING',
  'STORE_BLOB_MISSING',
  'STORE_DIGEST_MISMATCH',
  'STORE_SIZE_MISMATCH',
]

/**
 * True when a build failed because something is gone from the store, or was damaged and is moved aside now: a prune was faster,
 * or a disk lost it. Then the next try does not find it.
 */
export function startOver(error: unknown, { engine, layers }: Pick<BuildWork, 'engine' | 'layers'>): boolean {
  if (!(error instanceof StoreError) || !losses.includes(error.code) || engine.ctx.signal.aborted) return false
  layers.making.clear()
  const message = `the build starts again: ${error.message}`
  engine.ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: error.code, message } })
  return true
}

/** Forgets the layers that made a build fail. False when there are none: the error is about something else. */
export function forgetLostLayers(
  error: unknown,
  plans: readonly BuildPlan[],
  engine: Engine,
  layers: EngineLayers,
  cache: Pick<RemoteCache, 'distrust'> | undefined,
): boolean {
  const failed = layers.takeFailed()
  const ofBases = new Set(plans.flatMap(({ vertices }) => vertices.flatMap(({ op }) => (op.kind === 'image' ? op.diffIds : []))))
  const lost = failed.filter((diffId) => !ofBases.has(diffId))
  if (engine.ctx.signal.aborted || !(error instanceof BuildError) || lost.length === 0) return false
  for (const diffId of lost) {
    cache?.distrust(diffId)
    engine.store.layers.forget(diffId)
    const message = `layer ${diffId} of a cache cannot be had, its steps are run: ${error.message}`
    engine.ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: error.code, message } })
  }
  return true
}
