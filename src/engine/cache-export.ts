/**
 * Writes what a build knows into caches for other machines.
 *
 * With `mode=max` the layers of a step go up as soon as its record is saved, while later steps run; with `mode=min` only the
 * layers of the result, once it is known. Layers of base images stay where their image is. The records come last.
 */

import type { CacheBackend } from '../cache/backend.js'
import { type CacheDocument, type CachedMount, type CacheEntry, type CacheLayer, countSteps } from '../cache/document.js'
import { writeCache } from '../cache/write.js'
import { awaitedLater } from '../core/awaited.js'
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import type { DiffID, Digest } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { Platform } from '../core/platform.js'
import { provideBlob } from '../exporter/blobs.js'
import { resultKey, stackContent } from '../solver/key.js'
import type { CacheRecord } from '../solver/ports.js'
import { openPlace } from './cache-places.js'
import type { Engine } from './engine.js'
import { type EngineLayers, sourcesOf } from './layers.js'
import type { CacheSummary, CacheTo } from './options.js'
import { blobPorts } from './outputs.js'

/** A cache target that is a place; `inline` is none. */
export type PlacedCacheTo = Exclude<CacheTo, { type: 'inline' }>

/** What a finished build has for caches. */
export interface BuiltRecords {
  /** Of all steps that the build needed, by definition. */
  readonly steps: readonly CacheRecord[]
  /** Of the images: when they were first made. */
  readonly images: readonly CacheRecord[]
  /** The layers of the result. */
  readonly result: readonly DiffID[]
  readonly recordOf: (key: Digest) => CacheRecord | undefined
}

/** The caches that a build writes. */
export interface Exports {
  /** A step ended: with `mode=max` its layers go up now. */
  note(record: CacheRecord): void
  /** Waits for the layers. @throws the error of a cache without `ignore-error` */
  upload(built: BuiltRecords, mounts: MountSaver): Promise<void>
  /** Writes the records. */
  publish(): Promise<readonly CacheSummary[]>
  /** Ends what is still going up. */
  stop(): Promise<void>
}

/** Puts the cache mounts of a build into a place. */
export type MountSaver = (backend: CacheBackend, progressId: string, ctx: Context) => Promise<readonly CachedMount[]>

/** Opens the places; nothing is asked yet. */
export async function openExports(
  tos: readonly PlacedCacheTo[],
  platform: Platform,
  engine: Engine,
  layers: EngineLayers,
): Promise<Exports> {
  const stopping = new AbortController()
  const signal = AbortSignal.any([engine.ctx.signal, stopping.signal])
  const inner: Engine = { ...engine, ctx: { ...engine.ctx, signal } }
  const targets = await Promise.all(tos.map(async (to) => new Target(to, await openPlace(to, platform, engine), inner, layers)))
  return {
    note: (record) => {
      for (const target of targets) target.note(record)
    },
    async upload(built, mounts) {
      for (const target of targets) await target.upload(built, mounts)
    },
    async publish() {
      const summaries: CacheSummary[] = []
      for (const target of targets) summaries.push(await target.publish())
      return summaries
    },
    async stop() {
      stopping.abort(new Error('the build has ended'))
      for (const target of targets) await target.close()
    },
  }
}

/** One cache that is written. */
class Target {
  readonly #to: PlacedCacheTo
  readonly #backend: CacheBackend
  readonly #engine: Engine
  readonly #layers: EngineLayers
  readonly #uploads = new Map<DiffID, Promise<Descriptor>>()
  readonly #event: { readonly id: string; readonly name: string }
  #sent = { blobs: 0, bytes: 0, known: 0 }
  #begun = false
  #document: CacheDocument | undefined
  #failure: BuildError | undefined

  constructor(to: PlacedCacheTo, backend: CacheBackend, engine: Engine, layers: EngineLayers) {
    this.#to = to
    this.#backend = backend
    this.#engine = engine
    this.#layers = layers
    this.#event = { id: `cache-export:${backend.name}`, name: `exporting cache to ${backend.name}` }
  }

  note(record: CacheRecord): void {
    if (this.#to.mode !== 'max' || record.by !== 'definition') return
    for (const diffId of ownLayers(record)) this.#start(diffId)
  }

  #start(diffId: DiffID): Promise<Descriptor> {
    const known = this.#uploads.get(diffId)
    if (known !== undefined) return known
    const upload = awaitedLater(this.#send(diffId))
    this.#uploads.set(diffId, upload)
    return upload
  }

  /** The first that is sent starts the line in the progress. */
  #begin(): void {
    if (this.#begun) return
    this.#begun = true
    this.#engine.ctx.emit({ type: 'vertex-started', ...this.#event, atMs: this.#engine.settings.now() })
  }

  async #send(diffId: DiffID): Promise<Descriptor> {
    this.#begin()
    const { store, ctx } = this.#engine
    const { id } = this.#event
    const choice = { compression: this.#to.compression ?? 'gzip', force: this.#to.forceCompression ?? false }
    const ports = { ...blobPorts(this.#engine, this.#layers), vouchedBlob: this.#layers.vouchedBlob }
    const blob = await provideBlob(diffId, choice, ports, id, ctx)
    const record = store.layers.find(diffId)
    const sources = record === undefined ? [] : sourcesOf(record, blob.digest)
    const open = async (): Promise<AsyncIterable<Uint8Array>> => {
      if (record !== undefined) await this.#layers.bringBlob({ ...record, sources }, blob, id, ctx)
      return store.blobs.open(blob)
    }
    const outcome = await this.#backend.putBlob(blob, open, sources, id, ctx)
    if (outcome === 'uploaded') this.#sent = { ...this.#sent, blobs: this.#sent.blobs + 1, bytes: this.#sent.bytes + blob.size }
    else this.#sent = { ...this.#sent, known: this.#sent.known + 1 }
    return blob
  }

  async upload(built: BuiltRecords, mounts: MountSaver): Promise<void> {
    const { ctx } = this.#engine
    this.#begin()
    await this.#guarded(async () => {
      const document = await this.#describe(built)
      const saved = this.#to.mounts === true ? await mounts(this.#backend, this.#event.id, ctx) : []
      this.#document = { ...document, mounts: new Map(saved.map((mount) => [mount.key, mount])) }
    })
  }

  async publish(): Promise<CacheSummary> {
    const { ctx, settings } = this.#engine
    const { name } = this.#backend
    let text = `exported nothing to ${name}`
    await this.#guarded(async () => {
      if (this.#document === undefined) return
      const { records, replaced } = await writeCache(this.#backend, this.#document, settings.now(), this.#event.id, ctx)
      if (replaced !== undefined) warn(`what was at ${name} is replaced: ${replaced}`, 'CACHE_BAD', ctx)
      text = `exported ${countSteps(this.#document)} records to ${name} (${records} there now), ${this.#sentText()}`
      ctx.emit({ type: 'vertex-done', ...this.#event, atMs: settings.now(), cached: false })
    })
    await this.#backend[Symbol.asyncDispose]()
    return { name, text }
  }

  #sentText(): string {
    const { blobs, bytes, known } = this.#sent
    return `${blobs} ${blobs === 1 ? 'layer' : 'layers'} uploaded (${bytes.toLocaleString('en')} bytes), ${known} known`
  }

  /** With `ignore-error` a failure is a warning, once. */
  async #guarded(work: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) return
    const { ctx, settings } = this.#engine
    try {
      await work()
    } catch (error) {
      ctx.signal.throwIfAborted()
      const text = error instanceof Error ? error.message : String(error)
      ctx.emit({ type: 'vertex-done', ...this.#event, atMs: settings.now(), cached: false, error: text })
      if (!(error instanceof BuildError) || this.#to.ignoreError !== true) throw error
      this.#failure = error
      warn(`the cache ${this.#backend.name} was not written: ${error.message}`, error.code, ctx)
    }
  }

  async #describe(built: BuiltRecords): Promise<CacheDocument> {
    const records = recordsOf(built, this.#to.mode ?? 'min', this.#layers)
    const own = new Set(records.flatMap(ownLayers))
    const blobs = new Map(await Promise.all([...own].map(async (diffId) => [diffId, await this.#start(diffId)] as const)))
    return describeRecords(records, (diffId) => blobs.get(diffId), this.#layers, this.#engine)
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#uploads.values())
    await this.#backend[Symbol.asyncDispose]()
  }
}

/** All records of the steps: by definition, by content, by what they took, by result; with `min` only those of the result's layers. */
export function recordsOf(built: BuiltRecords, mode: 'min' | 'max', layers: EngineLayers): readonly CacheRecord[] {
  const result = new Set(built.result)
  const steps = built.steps.filter((record) => mode === 'max' || record.layers.every((diffId) => result.has(diffId)))
  const more = steps.flatMap((record) => {
    const keys = [record.contentKey, record.selectedKey].filter((key) => key !== undefined)
    return [...keys.map(built.recordOf), resultRecord(record, layers, built)].filter((found) => found !== undefined)
  })
  return [...steps, ...more, ...built.images]
}

/** The record that finds a step's layer by its files, for steps that add one layer to those of their base. */
function resultRecord(
  { layers: diffIds, contentId }: CacheRecord,
  layers: EngineLayers,
  built: BuiltRecords,
): CacheRecord | undefined {
  if (contentId === undefined) return undefined
  const below = diffIds.slice(0, -1)
  const bases = below.length === 0 ? [undefined, below] : [below]
  for (const base of bases) {
    const record = built.recordOf(resultKey(base && stackContent(base, layers.contentIdOf), contentId))
    if (record !== undefined) return record
  }
  return undefined
}

/** Records and their layers as a cache has them; `blobOf` says which blob has a layer. */
export function describeRecords(
  records: readonly CacheRecord[],
  blobOf: (diffId: DiffID) => Descriptor | undefined,
  layers: EngineLayers,
  { settings, store }: Engine,
): CacheDocument {
  const usedAt = settings.now()
  const entries = new Map<Digest, CacheEntry>(records.map((record) => [record.key, { record, usedAt }]))
  const named = [...new Set(records.flatMap(({ layers }) => layers))].map((diffId): CacheLayer => {
    const blob = blobOf(diffId)
    const contentId = layers.contentIdOf(diffId)
    return {
      diffId,
      size: store.layers.find(diffId)?.size ?? 0,
      ...(blob === undefined ? {} : { blob: { mediaType: blob.mediaType, digest: blob.digest, size: blob.size } }),
      ...(contentId === undefined ? {} : { contentId }),
    }
  })
  return { entries, layers: new Map(named.map((layer) => [layer.diffId, layer])), mounts: new Map() }
}

/** The layers of a record that steps made: those of base images have no time. */
function ownLayers(record: CacheRecord): readonly DiffID[] {
  return record.layers.filter((_, i) => (record.layerTimes[i] ?? 0) > 0)
}

function warn(message: string, code: string, ctx: Context): void {
  ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code, message } })
}
