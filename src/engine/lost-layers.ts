/**
 * What a build does when a layer that a cache promised cannot be had: it forgets the layer, so that the steps that made it
 * are run, and builds again. Only for layers that are nobody's but the cache's; a base image that is gone is an error.
 */
import { BuildError } from '../core/errors.js'
import type { BuildPlan } from '../graph/op.js'
import type { Engine } from './engine.js'
import type { EngineLayers } from './layers.js'
import type { RemoteCache } from './remote-cache.js'

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
