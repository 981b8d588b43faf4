/**
 * Caches of other machines, as records for the solver.
 *
 * Opening one reads its manifest and its records, no layer. A record that is asked for and found becomes one of the store,
 * and what the cache says of its layers becomes claims there (`LayerClaim`): believed by nobody until the files are
 * unpacked and hash to what they are said to be. A layer that cannot be had makes its records misses again.
 */
import type { CacheBackend } from '../cache/backend.js'
import { type CacheDocument, type CachedMount, type CacheLayer, countSteps } from '../cache/document.js'
import { type ReadCache, readCache } from '../cache/read.js'
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import type { DiffID, Digest } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { Platform } from '../core/platform.js'
import type { CacheRecord } from '../solver/ports.js'
import type { SolvedVertex } from '../solver/solution.js'
import { openPlace } from './cache-places.js'
import { missReason } from './cache-reasons.js'
import type { Engine } from './engine.js'
import type { EngineLayers } from './layers.js'
import type { CacheFrom, CacheSummary } from './options.js'

/** The caches that a build looks into. */
export interface Imports extends AsyncDisposable {
  /** The record of a key in the first cache that has it, with its layers made known to the store. */
  find(key: Digest): CacheRecord | undefined
  contentIdOf(diffId: DiffID): Digest | undefined
  /** The blob that a cache names for a layer. */
  blobOf(diffId: DiffID): Descriptor | undefined
  /** Takes the word of no cache for this layer any more. False when none said anything. */
  distrust(diffId: DiffID): boolean
  /** The newest files of a cache mount, and where they are. */
  mountOf(key: string): { readonly mount: CachedMount; readonly backend: CacheBackend } | undefined
  /** Which of these steps each cache has. */
  foreseen(steps: readonly Digest[]): readonly CacheSummary[]
  /** What came of it, once the build is done; warns of results that are not what a cache with `trust=verify` says. */
  summaries(
    steps: readonly SolvedVertex[],
    recordOf: (key: Digest) => CacheRecord | undefined,
    ctx: Context,
    restoredMounts: number,
  ): readonly CacheSummary[]
}

/** One cache that was read. */
export interface Imported {
  readonly backend: CacheBackend
  readonly from: CacheFrom
  readonly document: CacheDocument
  readonly usedKeys: Set<Digest>
  readonly lost: Set<DiffID>
}

/** Reads all caches at once. One that cannot be read is a warning. */
export async function openImports(
  froms: readonly CacheFrom[],
  platforms: readonly Platform[],
  engine: Engine,
  layers: EngineLayers,
): Promise<Imports> {
  const opened = distinct(await Promise.all(froms.flatMap((from) => placesOf(from, platforms, engine))))
  const imported = opened.flatMap(({ cache }) => cache ?? [])
  for (const { backend } of imported) layers.addSource(backend.source, (...asked) => backend.fetchBlob(...asked))
  const trusted = imported.filter(({ from }) => from.trust !== 'verify')
  const layerOf = (diffId: DiffID): CacheLayer | undefined => {
    for (const { document, lost } of trusted) {
      const layer = lost.has(diffId) ? undefined : document.layers.get(diffId)
      if (layer !== undefined) return layer
    }
    return undefined
  }
  return {
    find(key) {
      for (const cache of trusted) {
        const record = cache.document.entries.get(key)?.record
        if (record === undefined || !canHave(record, cache, engine)) continue
        cache.usedKeys.add(key)
        adopt(record, cache, engine)
        return record
      }
      return undefined
    },
    contentIdOf: (diffId) => layerOf(diffId)?.contentId,
    blobOf: (diffId) => layerOf(diffId)?.blob,
    distrust(diffId) {
      const believers = imported.filter(
        ({ document, lost }) => document.layers.get(diffId)?.blob !== undefined && !lost.has(diffId),
      )
      for (const { lost } of believers) lost.add(diffId)
      return believers.length > 0
    },
    mountOf(key) {
      for (const { backend, document, from } of trusted) {
        const mount = from.mounts === false ? undefined : document.mounts.get(key)
        if (mount !== undefined) return { mount, backend }
      }
      return undefined
    },
    foreseen: (steps) => [
      ...opened.flatMap(({ nothing }) => nothing ?? []),
      ...imported.map(({ backend: { name }, document, from }) => {
        const found = from.trust === 'verify' ? [] : steps.filter((key) => document.entries.has(key))
        const records = count(countSteps(document), 'record', 'records')
        return { name, text: `${records} in ${name}, ${found.length} hit` }
      }),
    ],
    summaries: (steps, recordOf, ctx, restoredMounts) => [
      ...opened.flatMap(({ nothing }) => nothing ?? []),
      ...imported.map((cache) => summaryOf(cache, steps, recordOf, ctx)),
      ...(restoredMounts === 0
        ? []
        : [{ name: 'cache mounts', text: `${count(restoredMounts, 'cache mount', 'cache mounts')} filled from caches` }]),
    ],
    [Symbol.asyncDispose]: async () => {
      for (const { backend } of imported) await backend[Symbol.asyncDispose]()
    },
  }
}

/** An image for several platforms has an inline cache for each; everything else is one cache. */
function placesOf(from: CacheFrom, platforms: readonly Platform[], engine: Engine): readonly Promise<Opened>[] {
  const asked = from.type === 'registry' ? platforms : platforms.slice(0, 1)
  return asked.map((platform) => openOne(from, platform, engine))
}

/** The same manifest for two platforms is one cache. */
function distinct(opened: readonly Opened[]): readonly Opened[] {
  const seen = new Set<string>()
  return opened.filter(({ identity }) => !seen.has(identity) && seen.add(identity))
}

interface Opened {
  readonly identity: string
  readonly cache?: Imported
  readonly nothing?: CacheSummary
}

async function openOne(from: CacheFrom, platform: Platform, engine: Engine): Promise<Opened> {
  const { ctx, settings } = engine
  const backend = await openPlace(from, platform, engine)
  const event = { id: `import:${backend.source}:${backend.name}`, name: `importing cache manifest from ${backend.name}` }
  ctx.emit({ type: 'vertex-started', ...event, atMs: settings.now() })
  const done = (error?: string): void =>
    ctx.emit({ type: 'vertex-done', ...event, atMs: settings.now(), cached: false, ...(error === undefined ? {} : { error }) })
  try {
    const read = await readCache(backend, ctx)
    done()
    if (read === undefined)
      return { identity: backend.name, nothing: { name: backend.name, text: `there is no cache at ${backend.name} yet` } }
    warnOfRefused(read, backend, ctx)
    return {
      identity: `${backend.name} ${read.manifests.map(({ digest }) => digest).join(' ')}`,
      cache: { backend, from, document: read.document, usedKeys: new Set(), lost: new Set() },
    }
  } catch (error) {
    ctx.signal.throwIfAborted()
    if (!(error instanceof BuildError)) throw error
    done(error.message)
    const message = `the cache ${backend.name} is not used: ${error.message}`
    const hint = error.hint === undefined ? {} : { hint: error.hint }
    ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: error.code, message, ...hint } })
    return {
      identity: backend.name,
      nothing: { name: backend.name, text: `imported nothing from ${backend.name}: ${error.message}` },
    }
  }
}

function warnOfRefused({ refused, problems }: ReadCache, { name }: CacheBackend, ctx: Context): void {
  for (const problem of new Set(problems)) {
    const message = `a part of the cache ${name} is not used: ${problem}`
    ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: 'CACHE_BAD', message } })
  }
  if (refused === 0) return
  const message = `${refused === 1 ? 'a record' : `${refused} records`} of the cache ${name} ${refused === 1 ? 'is' : 'are'} not used: damaged, or naming blobs that the cache does not have`
  ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: 'CACHE_BAD', message } })
}

/** Each layer has a blob there, or is known here: those of base images are, the build has just resolved them. */
function canHave(record: CacheRecord, { document, lost }: Imported, { store }: Engine): boolean {
  return record.layers.every((diffId) => {
    const layer = document.layers.get(diffId)
    if (store.layers.find(diffId) !== undefined) return true
    return layer?.blob !== undefined && !lost.has(diffId)
  })
}

function adopt(record: CacheRecord, { document, backend }: Imported, { store }: Engine): void {
  for (const diffId of new Set(record.layers)) {
    const layer = document.layers.get(diffId)
    if (layer?.blob === undefined || store.layers.find(diffId)?.snapshot !== undefined) continue
    store.layers.save({
      diffId,
      size: layer.size,
      blobs: [],
      sources: [],
      claims: [{ blob: layer.blob, source: backend.source }],
    })
  }
  store.records.save(record)
}

function summaryOf(
  { backend, document, usedKeys, lost, from }: Imported,
  steps: readonly SolvedVertex[],
  recordOf: (key: Digest) => CacheRecord | undefined,
  ctx: Context,
): CacheSummary {
  const contentKeyOf = (key: Digest): Digest | undefined => recordOf(key)?.contentKey
  const isUsed = (key: Digest | undefined): boolean => key !== undefined && usedKeys.has(key)
  const missed = steps.filter(({ by }) => by === 'ran')
  const hit = steps.filter(
    ({ by, key }) => by !== 'ran' && (document.entries.has(key.digest) || isUsed(contentKeyOf(key.digest))),
  )
  const records = countSteps(document)
  const parts = [`imported ${count(records, 'record', 'records')} from ${backend.name}`]
  if (from.trust === 'verify') {
    const different = missed.filter(({ key }) => {
      const said = document.entries.get(key.digest)?.record
      const made = recordOf(key.digest)
      return said?.contentId !== undefined && made?.contentId !== undefined && said.contentId !== made.contentId
    })
    for (const { name } of different) {
      const message = `"${name}" made other files here than the cache ${backend.name} says`
      ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: 'CacheDiffers', message } })
    }
    const compared = missed.filter(({ key }) => document.entries.has(key.digest)).length
    return { name: backend.name, text: [...parts, `${compared} compared`, `${different.length} different`].join(', ') }
  }
  parts.push(`${hit.length} hit`)
  if (missed.length > 0) {
    const reasons = [...new Set(missed.flatMap((vertex) => missReason(vertex, document) ?? []))]
    const why = reasons.length === 0 ? '' : ` (${reasons.slice(0, 3).join('; ')}${reasons.length > 3 ? '; …' : ''})`
    parts.push(`${count(missed.length, 'miss', 'misses')}${why}`)
  }
  if (lost.size > 0) parts.push(`${count(lost.size, 'blob', 'blobs')} missing`)
  return { name: backend.name, text: parts.join(', ') }
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`
}
