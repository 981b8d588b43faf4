/**
 * One of two builds that are compared: nothing comes from the cache, and what could hide a difference is changed.
 *
 * Cache mounts start empty. The second build runs one step at a time and begins in another second, so that what depends on
 * order or time shows. Only the first leaves records behind.
 */
import { mkdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BuildEvent } from '../core/context.js'
import type { CacheRecords } from '../solver/ports.js'
import { noClaims } from '../store/claims.js'
import type { Engine } from './engine.js'
import type { BuildOptions } from './options.js'

/** What is different in a trial. */
export interface Trial {
  readonly engine: Engine
  readonly records: (records: CacheRecords) => CacheRecords
  readonly options: (options: BuildOptions) => BuildOptions
}

/** Opens the first or the second trial; the second when at least a second has passed since the first ended. */
export async function openTrial(which: 'first' | 'second', engine: Engine): Promise<Trial> {
  const { store, ctx } = engine
  const isSecond = which === 'second'
  // Times in layers are whole seconds.
  if (isSecond) await sleep(1000, undefined, { signal: ctx.signal })
  const mounts = store.blobs.temporaryPath()
  mkdirSync(mounts)
  return {
    engine: {
      ...engine,
      // What another build makes meanwhile proves nothing.
      claims: noClaims,
      ctx: isSecond ? { ...ctx, emit: (event) => ctx.emit(inSecond(event)) } : ctx,
      store: { ...store, directory: (name) => (name === 'cache-mounts' ? mounts : store.directory(name)) },
    },
    records: (records) => ({ find: () => undefined, save: isSecond ? () => undefined : (record) => records.save(record) }),
    options: (options) => (isSecond ? { ...options, jobs: 1 } : options),
  }
}

/** Steps of the second build are others than those of the first for whoever shows them. */
function inSecond(event: BuildEvent): BuildEvent {
  const renamed = <Item extends { readonly id: string }>(item: Item): Item => ({ ...item, id: `second ${item.id}` })
  const named = <Item extends { readonly id: string; readonly name: string }>(item: Item): Item => ({
    ...renamed(item),
    name: `[second build] ${item.name}`,
  })
  switch (event.type) {
    case 'plan':
      return { ...event, vertices: event.vertices.map(named) }
    case 'vertex-started':
    case 'vertex-done':
    case 'waiting':
      return named(event)
    case 'log':
    case 'progress':
      return renamed(event)
    default:
      return event
  }
}
