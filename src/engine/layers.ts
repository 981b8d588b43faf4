/**
 * Layers for steps and exports: which are here as files, and how those that are only known as blobs get here.
 *
 * Each missing layer goes its own way, download then unpacking in a thread, so that the first are unpacked while the last
 * are still coming. A layer that several steps need at once is fetched once.
 */
import { rmSync } from 'node:fs'
import type { Context } from '../core/context.js'
import { type Descriptor, layerCompression, type Manifest } from '../core/descriptor.js'
import { type DiffID, type Digest, digestFromHex, hexOf, isDigest, shortHex } from '../core/digest.js'
import { BuildError, StoreError } from '../core/errors.js'
import type { AppliedLayer } from '../layer/apply.js'
import type { CompressLayerTask } from '../layer/compress-task.js'
import type { ApplyLayerTask } from '../layer/tasks.js'
import type { LayerFiles } from '../solver/ports.js'
import { type ClaimKind, type SharedWork, shareWork } from '../store/claims.js'
import { layerFiles } from '../store/layer-files.js'
import type { LayerRecord, LayerRewrite } from '../store/types.js'
import type { Engine } from './engine.js'

/** Layers of one engine. */
export interface EngineLayers extends LayerFiles {
  /** Makes the bytes of one of a layer's blobs be here. */
  bringBlob(record: LayerRecord, blob: Descriptor, progressId: string, ctx: Context): Promise<void>
  /** Unpacks a blob that came from outside; only when it is the layer it is said to be does the store know it. */
  adopt(diffId: DiffID, blob: Descriptor, progressId: string, ctx: Context): Promise<void>
  /** Notes an image that this operation builds on: what its own manifest says of its layers may go on to a registry. */
  vouch(image: PinnedImage): void
  /** The blob that all images of this operation with this layer name for it, never unpacked as it may be. */
  vouchedBlob(diffId: DiffID): Promise<Descriptor | undefined>
  /** Tells how blobs of a cache that is no registry are fetched: its name as it stands in claims. */
  addSource(source: string, fetch: FetchLayerBlob): void
  /** Asks caches of this operation for what the store does not know. */
  ask(caches: Pick<CacheKnowledge, 'contentIdOf' | 'blobOf'>): void
  /** Blobs that are being made of layers of this operation. */
  readonly making: Map<string, Promise<Descriptor>>
  /** The layers that could not be had since this was last asked. */
  takeFailed(): readonly DiffID[]
  /** The same as `bringHere` for commands that have no vertex. */
  unpack(diffIds: readonly DiffID[], progressId: string, ctx: Context): Promise<void>
}

/** Fetches a blob into the store. */
export type FetchLayerBlob = (blob: Descriptor, write: WriteBlob, progressId: string, ctx: Context) => Promise<void>
type WriteBlob = (bytes: AsyncIterable<Uint8Array>, blob: Descriptor, signal: AbortSignal) => Promise<unknown>

/** What caches of other machines say of a layer. */
export interface CacheKnowledge {
  contentIdOf(diffId: DiffID): Digest | undefined
  blobOf(diffId: DiffID): Descriptor | undefined
}

/** An image and the manifest that it came with. */
export interface PinnedImage {
  readonly manifest?: Digest
  readonly diffIds: readonly DiffID[]
}

/** The layers of `engine`. */
export function createLayers(engine: Engine): EngineLayers {
  const { store } = engine
  const unpacking = new Map<DiffID, Promise<void>>()
  const fetching = new Map<Digest, Promise<void>>()
  const pinned: PinnedImage[] = []
  const sources = new Map<string, FetchLayerBlob>()
  const failed = new Set<DiffID>()
  let caches: CacheKnowledge | undefined

  const bringBlob: EngineLayers['bringBlob'] = (record, blob, progressId, ctx) => {
    if (store.blobs.has(blob.digest)) return Promise.resolve()
    const fetch = async (): Promise<true> => {
      try {
        await fetchFromSources(engine, record, blob, sources, progressId, ctx)
        return true
      } catch (error) {
        failed.add(record.diffId)
        throw error
      }
    }
    const find = (): true | undefined => store.blobs.has(blob.digest) || undefined
    return shared(fetching, blob.digest, async () => {
      await shareWork(engine.claims, { ...claimOf('blob', blob.digest, progressId, engine), find, run: fetch }, ctx.signal)
    })
  }
  const unpackOne = async (diffId: DiffID, progressId: string, ctx: Context): Promise<void> => {
    if (requireLayer(engine, diffId).snapshot !== undefined) return
    const find = (): true | undefined => store.layers.refresh(diffId)?.snapshot !== undefined || undefined
    const run = async (): Promise<true> => {
      await unpackHere(diffId, progressId, ctx)
      return true
    }
    const claim = claimOf('layer', digestFromHex(hexOf(diffId)), progressId, engine)
    await shareWork(engine.claims, { ...claim, find, run }, ctx.signal)
  }
  const unpackHere = async (diffId: DiffID, progressId: string, ctx: Context): Promise<void> => {
    const record = requireLayer(engine, diffId)
    if (record.rewriteOf !== undefined) {
      await unpack([record.rewriteOf.diffId], progressId, ctx)
      return unpackRewrite(engine, record, record.rewriteOf, ctx)
    }
    let last: unknown = missingLayer(diffId)
    for (const { blob, sources } of candidatesOf(record, store)) {
      // Of a blob that only somebody says is this layer nothing is kept unless it is.
      const known = { ...record, sources, blobs: [blob] }
      const limitBytes = caches?.blobOf(diffId)?.digest === blob.digest ? tarLimit(record.size) : undefined
      try {
        if (isDigest(blob.digest)) await bringBlob(known, blob, progressId, ctx)
        const found = isDigest(blob.digest) ? blob : await bringRenamed(engine, known, blob, progressId, ctx)
        const named = found === blob ? known : { ...known, sources: [], blobs: [found] }
        await unpackBlob(engine, named, found, progressId, ctx, limitBytes)
        return
      } catch (error) {
        ctx.signal.throwIfAborted()
        if (!(error instanceof BuildError)) throw error
        last = error
      }
    }
    failed.add(diffId)
    throw last
  }
  const unpack: EngineLayers['unpack'] = async (diffIds, progressId, ctx) => {
    const distinct = [...new Set(diffIds)]
    const work = distinct.map((diffId) => shared(unpacking, diffId, () => unpackOne(diffId, progressId, ctx)))
    await settled(work)
  }
  return {
    bringBlob,
    unpack,
    vouch: (image) => pinned.push(image),
    vouchedBlob: async (diffId) => (await blobOfAll(diffId, pinned, engine)) ?? caches?.blobOf(diffId),
    addSource: (source, fetch) => sources.set(source, fetch),
    ask(knowledge) {
      caches = knowledge
    },
    making: new Map(),
    takeFailed() {
      const taken = [...failed]
      failed.clear()
      return taken
    },
    async adopt(diffId, blob, progressId, ctx) {
      const known = store.layers.find(diffId)
      if (known?.snapshot !== undefined) return
      await unpackBlob(engine, { diffId, size: 0, blobs: [blob], sources: [] }, blob, progressId, ctx)
    },
    contentIdOf(diffId) {
      const record = store.layers.find(diffId)
      return record?.contentId ?? caches?.contentIdOf(diffId) ?? record?.sameFilesAs
    },
    areHere: (diffIds) => diffIds.every((diffId) => store.layers.find(diffId)?.snapshot !== undefined),
    bringHere: (diffIds, vertex, ctx) => unpack(diffIds, vertex.id, ctx),
  }
}

/** A layer of a cache has as many bytes as its record says, and headers: more would be an archive that unpacks without end. */
function tarLimit(size: number): number {
  return size * 2 + (64 << 20)
}

/** Blobs to make a layer's files of: what was verified before, then what is only said; what is here before the rest. */
function candidatesOf(record: LayerRecord, store: Engine['store']): { blob: Descriptor; sources: readonly string[] }[] {
  const verified = record.blobs.map((blob) => ({ blob, sources: record.sources }))
  const claimed = (record.claims ?? []).map(({ blob, source }) => ({ blob, sources: [source] }))
  const isHere = ({ blob }: { blob: Descriptor }): boolean => store.blobs.has(blob.digest)
  return [verified, claimed].flatMap((list) => [...list.filter(isHere), ...list.filter((item) => !isHere(item))])
}

/** Images that do not agree say nothing. */
async function blobOfAll(diffId: DiffID, pinned: readonly PinnedImage[], { store }: Engine): Promise<Descriptor | undefined> {
  const blobs = new Map<Digest, Descriptor>()
  for (const { manifest: digest, diffIds } of pinned) {
    if (digest === undefined || !diffIds.includes(diffId) || !store.blobs.has(digest)) continue
    const { layers } = JSON.parse((await store.blobs.read({ digest })).toString('utf8')) as Manifest
    for (const [i, id] of diffIds.entries()) {
      const blob = layers[i]
      if (id === diffId && blob !== undefined) blobs.set(blob.digest, blob)
    }
  }
  const [blob, ...others] = blobs.values()
  if (blob === undefined || others.length > 0 || !isDigest(blob.digest)) return undefined
  const { mediaType, digest, size } = blob
  return { mediaType, digest, size }
}

/** Where a blob of a layer can be fetched, whether or not it was unpacked here. */
export function sourcesOf(record: LayerRecord, digest: Digest): readonly string[] {
  const claimed = (record.claims ?? []).flatMap((claim) => (claim.blob.digest === digest ? [claim.source] : []))
  return record.blobs.some((blob) => blob.digest === digest) ? [...record.sources, ...claimed] : claimed
}

/** The claim to fetch or unpack something, and how those that wait for it tell so. */
function claimOf(
  kind: Extract<ClaimKind, 'blob' | 'layer'>,
  name: Digest,
  progressId: string,
  { settings, ctx }: Engine,
): Pick<SharedWork<true>, 'kind' | 'name' | 'waiting'> {
  const work = `fetches ${kind} ${shortHex(name)}`
  return {
    kind,
    name,
    waiting(isOver, process) {
      const event = { type: 'waiting', id: progressId, name: progressId, atMs: settings.now(), isOver, work } as const
      ctx.emit(process === undefined ? event : { ...event, process })
    },
  }
}

/** Work by key, once while it runs. */
function shared<Key>(running: Map<Key, Promise<void>>, key: Key, start: () => Promise<void>): Promise<void> {
  const known = running.get(key)
  if (known !== undefined) return known
  const work = start().finally(() => running.delete(key))
  running.set(key, work)
  return work
}

/** Waits for all, so that nothing runs on when this rejects with the first error. */
async function settled(work: readonly Promise<void>[]): Promise<void> {
  const outcomes = await Promise.allSettled(work)
  const failed = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

/** What is known of a layer. Throws STORE_SNAPSHOT_MISSING. */
export function requireLayer({ store }: Pick<Engine, 'store'>, diffId: DiffID): LayerRecord {
  const record = store.layers.find(diffId)
  if (record === undefined) throw missingLayer(diffId)
  return record
}

function missingLayer(diffId: DiffID): StoreError {
  return new StoreError('STORE_SNAPSHOT_MISSING', `layer ${diffId} is not in the store any more`, {
    hint: 'build or pull the image again',
  })
}

async function unpackBlob(
  engine: Engine,
  record: LayerRecord,
  blob: Descriptor,
  progressId: string,
  ctx: Context,
  limitBytes?: number,
): Promise<void> {
  const { store, pool, settings } = engine
  const item = `extract ${shortHex(blob.digest)}`
  const report = (current: number, done: boolean): void =>
    ctx.emit({ type: 'progress', id: progressId, item, current, total: blob.size, done, atMs: settings.now() })
  report(0, false)
  await using active = await store.snapshots.prepare()
  const task: ApplyLayerTask = {
    path: store.blobs.pathOf(blob.digest),
    compression: layerCompression(blob.mediaType) ?? 'detect',
    target: active.upper,
    digest: blob.digest,
    diffId: record.diffId,
    ...(limitBytes === undefined ? {} : { limitBytes }),
  }
  const applied = await pool.run<AppliedLayer>('applyLayerTask', task, ctx.signal)
  const snapshot = await active.commit(applied.entries)
  store.layers.save({ ...record, snapshot, size: applied.size })
  const { findSameFiles } = await import('./same-files.js')
  await findSameFiles(engine, record.diffId, ctx)
  report(blob.size, true)
}

/** Makes the files of a rewritten layer: those of the other one with the times taken back. */
async function unpackRewrite(
  { store, pool }: Engine,
  record: LayerRecord,
  { diffId, epoch }: LayerRewrite,
  ctx: Context,
): Promise<void> {
  const upper = layerFiles(store, store.layers.find(diffId))
  if (upper === undefined) throw missingLayer(diffId)
  const output = store.blobs.temporaryPath()
  const pack: CompressLayerTask = { upper, epoch, compression: 'none', output, diffId: record.diffId }
  await pool.run('compressLayerTask', pack, ctx.signal)
  await using active = await store.snapshots.prepare()
  const task: ApplyLayerTask = { path: output, compression: 'none', target: active.upper, diffId: record.diffId }
  const applied = await pool.run<AppliedLayer>('applyLayerTask', task, ctx.signal)
  rmSync(output)
  store.layers.save({ ...record, snapshot: await active.commit(applied.entries), size: applied.size })
}

/** Asks one repository after the other; the error is that of the last. */
async function fetchFromSources(
  engine: Engine,
  record: LayerRecord,
  blob: Descriptor,
  known: ReadonlyMap<string, FetchLayerBlob>,
  progressId: string,
  ctx: Context,
): Promise<void> {
  let last: unknown = missingLayer(record.diffId)
  for (const source of record.sources) {
    try {
      const fetch = known.get(source) ?? (await openSource(source, engine))
      await fetch(blob, (bytes, wanted, signal) => engine.store.blobs.write(bytes, wanted, signal), progressId, ctx)
      return
    } catch (error) {
      ctx.signal.throwIfAborted()
      last = error
    }
  }
  throw last
}

/** Fetches a blob that is named by another digest than sha256. The store names it by that, and so does what is made of it. */
async function bringRenamed(
  engine: Engine,
  record: LayerRecord,
  blob: Descriptor,
  progressId: string,
  ctx: Context,
): Promise<Descriptor> {
  const { fetchBlob, verified } = await import('../registry/pull.js')
  const client = await engine.openRegistry()
  let last: unknown = missingLayer(record.diffId)
  for (const source of record.sources) {
    const place = placeOf(source)
    let digest: Digest | undefined
    const write: Parameters<typeof fetchBlob>[3] = async (bytes, _, signal) => {
      digest = (await engine.store.blobs.write(verified(bytes, blob, place.registry), undefined, signal)).digest
    }
    try {
      await client.transfer(() => fetchBlob(client, place, blob, write, progressId, ctx))
      if (digest !== undefined) return { mediaType: blob.mediaType, digest, size: blob.size }
    } catch (error) {
      ctx.signal.throwIfAborted()
      last = error
    }
  }
  throw last
}

function placeOf(source: string): { readonly registry: string; readonly repository: string } {
  const slash = source.indexOf('/')
  return { registry: source.slice(0, slash), repository: source.slice(slash + 1) }
}

/** A repository, or a cache that an earlier operation was told of: credentials are not kept, so that some cannot be opened. */
async function openSource(source: string, engine: Engine): Promise<FetchLayerBlob> {
  if (source.startsWith('cache+')) {
    const { reopenPlace } = await import('./cache-places.js')
    const place = await reopenPlace(source, engine)
    if (place !== undefined) {
      return async (blob, write, progressId, ctx) => {
        await using opened = place
        await opened.fetchBlob(blob, write, progressId, ctx)
      }
    }
    throw new StoreError('STORE_SNAPSHOT_MISSING', `the layer is in the cache ${source.slice('cache+'.length)}`, {
      hint: 'build again with the --cache-from that names it',
    })
  }
  const { fetchBlob } = await import('../registry/pull.js')
  const client = await engine.openRegistry()
  const place = placeOf(source)
  return (blob, write, progressId, ctx) => client.transfer(() => fetchBlob(client, place, blob, write, progressId, ctx))
}
