/**
 * Cache mounts of RUN go from machine to machine: a new one starts with what a cache has of it, and with `mounts=true` those
 * that a build used are written to a cache, as chunks of which only the new ones move.
 */

import { createReadStream, existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { CacheBackend } from '../cache/backend.js'
import { largestChunkBytes } from '../cache/chunker.js'
import { type CacheDocument, type CachedMount, type MountChunk, mostBytes } from '../cache/document.js'
import type { ChunkMountTask, CutChunk } from '../cache/mount-chunks.js'
import { readCache } from '../cache/read.js'
import { awaitedLater } from '../core/awaited.js'
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import { type Digest, digestOf, hexOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { BuildPlan } from '../graph/op.js'
import { removeFiles } from '../io/remove-files.js'
import { applyLayer } from '../layer/apply.js'
import { type CacheMount, type CacheTravel, cacheDirectory, cacheIdentity, shareCache } from '../ops/cache-mounts.js'
import type { Imports } from './cache-import.js'
import type { Engine } from './engine.js'

/** The media type of a chunk. */
const chunkType = 'application/vnd.mille.cache.mount.chunk.v1+gzip'
/** gzip can make a chunk a little larger, never twice as large. */
const chunkLimitBytes = largestChunkBytes * 2
/** Chunks that are fetched, or sent, at once. */
const window = 4
/** Chunks that are asked for at once. */
const askWindow = 16

/** The travel of the cache mounts of one build. */
export interface MountTravel extends CacheTravel {
  /** Writes the cache mounts of the plans to a place. */
  save(plans: readonly BuildPlan[], backend: CacheBackend, progressId: string, ctx: Context): Promise<readonly CachedMount[]>
  /** How many were filled from caches. */
  readonly restored: () => number
}

/** Cache mounts that come from `imports`. */
export function openMountTravel(imports: Pick<Imports, 'mountOf'>, engine: Engine): MountTravel {
  const used = new Map<string, { readonly id: string; readonly path: string }>()
  let restored = 0
  return {
    restored: () => restored,
    used(key, id, path) {
      used.set(key, { id, path })
    },
    async restore(key, id, path, ctx) {
      const found = imports.mountOf(key)
      if (found === undefined) return false
      const isWhole = await restoreMount(found.mount, found.backend, id, path, ctx)
      if (isWhole) restored += 1
      return isWhole
    },
    async save(plans, backend, progressId, ctx) {
      const old = await oldMounts(backend, ctx)
      const saved: CachedMount[] = []
      for (const [key, mount] of mountsOf(plans, used, engine)) {
        const known = old.get(key) ?? imports.mountOf(key)?.mount
        // What no step of this build changed goes along as it is.
        const isFresh = used.has(key) || known === undefined
        const made = isFresh
          ? await packMount(key, mount, known, backend, engine, progressId, ctx)
          : await carryMount(known, imports.mountOf(key)?.backend, backend, progressId, ctx)
        if (made !== undefined) saved.push(made)
      }
      return saved
    },
  }
}

/** The cache mounts of all steps: those that were used, and those of steps that were cached, as far as their names tell. */
function mountsOf(
  plans: readonly BuildPlan[],
  used: ReadonlyMap<string, { readonly id: string; readonly path: string }>,
  { store }: Engine,
): ReadonlyMap<string, { readonly id: string; readonly path: string }> {
  const all = new Map(used)
  const root = store.directory('cache-mounts')
  const mounts = plans.flatMap(({ vertices }) => vertices.flatMap(({ op }) => (op.kind === 'exec' ? op.mounts : [])))
  for (const mount of mounts.filter((each): each is CacheMount => each.kind === 'cache' && each.input === undefined)) {
    const key = cacheIdentity(mount, '')
    if (!all.has(key)) all.set(key, { id: mount.id, path: cacheDirectory(root, key) })
  }
  return all
}

/** What the place has already. One that cannot be read has nothing; writing the records says why. */
async function oldMounts(backend: CacheBackend, ctx: Context): Promise<CacheDocument['mounts']> {
  try {
    return (await readCache(backend, ctx))?.document.mounts ?? new Map()
  } catch (error) {
    ctx.signal.throwIfAborted()
    if (error instanceof BuildError) return new Map()
    throw error
  }
}

async function restoreMount(mount: CachedMount, backend: CacheBackend, id: string, path: string, ctx: Context): Promise<boolean> {
  try {
    const limitBytes = mount.chunks.reduce((sum, { blob }) => sum + Math.min(largestChunkBytes, mostBytes(blob)), 0)
    await applyLayer(chunkBytes(mount.chunks, backend, ctx), path, { form: 'plain', limitBytes }, ctx.signal)
    return true
  } catch (error) {
    ctx.signal.throwIfAborted()
    if (!(error instanceof BuildError)) throw error
    const message = `the cache mount ${id} starts empty, what ${backend.name} has of it cannot be used: ${error.message}`
    ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: error.code, message } })
    await removeFiles(path)
    mkdirSync(path)
    return false
  }
}

/** The bytes of the tar, each chunk verified; some are fetched ahead. */
async function* chunkBytes(
  chunks: readonly MountChunk[],
  backend: CacheBackend,
  ctx: Context,
): AsyncGenerator<Uint8Array, void, void> {
  const ahead: Promise<Buffer>[] = []
  let next = 0
  try {
    for (let i = 0; i < chunks.length; i++) {
      while (next < chunks.length && next < i + window) {
        const chunk = chunks[next++]
        if (chunk === undefined) continue
        ahead.push(awaitedLater(fetchChunk(chunk, backend, ctx)))
      }
      const bytes = await ahead.shift()
      if (bytes !== undefined) yield bytes
    }
  } finally {
    await Promise.allSettled(ahead)
  }
}

async function fetchChunk({ raw, blob }: MountChunk, backend: CacheBackend, ctx: Context): Promise<Buffer> {
  const bytes = unzip(await backend.readBlob(blob, chunkLimitBytes, ctx), blob)
  if (digestOf(bytes) !== raw)
    throw new BuildError('CACHE_BAD', `the chunk ${blob.digest} unpacks to other bytes than its cache says`)
  return bytes
}

function unzip(bytes: Buffer, { digest }: Descriptor): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: largestChunkBytes })
  } catch (error) {
    throw new BuildError('CACHE_BAD', `the chunk ${digest} cannot be unpacked`, { cause: error })
  }
}

/** Cuts the directory, and sends the chunks that the place has not. */
async function packMount(
  key: string,
  { id, path }: { readonly id: string; readonly path: string },
  old: CachedMount | undefined,
  backend: CacheBackend,
  { store, pool, settings }: Engine,
  progressId: string,
  ctx: Context,
): Promise<CachedMount | undefined> {
  if (!existsSync(path)) return undefined
  const known = new Map<Digest, Descriptor>()
  await inWindows(old?.chunks ?? [], askWindow, async ({ raw, blob }) => {
    if (await backend.hasBlob(blob, ctx)) known.set(raw, blob)
  })
  const output = store.blobs.temporaryPath()
  mkdirSync(output)
  try {
    using _held = await shareCache(path, ctx)
    const task: ChunkMountTask = { path, sizes: backend.mountChunkSizes, output, known: new Set(known.keys()) }
    const cut = await pool.run<CutChunk[]>('chunkMountTask', task, ctx.signal)
    for (const { raw, blob } of cut) {
      if (blob !== undefined) known.set(raw, { mediaType: chunkType, digest: blob.digest, size: blob.size })
    }
    await sendChunks(cut, output, backend, progressId, ctx)
    return { key, id, savedAt: settings.now(), chunks: cut.flatMap(({ raw }) => withBlob(raw, known.get(raw))) }
  } catch (error) {
    ctx.signal.throwIfAborted()
    // Files of a cache may change while they are read: another build uses it.
    if (!(error instanceof BuildError) || !error.code.startsWith('LAYER_')) throw error
    const message = `the cache mount ${id} does not travel this time: ${error.message}`
    ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: error.code, message } })
    return undefined
  } finally {
    rmSync(output, { recursive: true, force: true })
  }
}

function withBlob(raw: Digest, blob: Descriptor | undefined): MountChunk[] {
  return blob === undefined ? [] : [{ raw, blob }]
}

async function sendChunks(
  cut: readonly CutChunk[],
  output: string,
  backend: CacheBackend,
  progressId: string,
  ctx: Context,
): Promise<void> {
  const blobs = [...new Map(cut.flatMap(({ blob }) => (blob === undefined ? [] : [[blob.digest, blob]]))).values()]
  await inWindows(blobs, window, async ({ digest, size }) => {
    const open = async (): Promise<AsyncIterable<Uint8Array>> => createReadStream(join(output, hexOf(digest)))
    await backend.putBlob({ mediaType: chunkType, digest, size }, open, [], progressId, ctx)
  })
}

/** A mount that no step used: its chunks go from the one place to the other where they are not there yet. */
async function carryMount(
  mount: CachedMount,
  from: CacheBackend | undefined,
  to: CacheBackend,
  progressId: string,
  ctx: Context,
): Promise<CachedMount | undefined> {
  let isWhole = true
  await inWindows(mount.chunks, window, async ({ blob }) => {
    if (!isWhole || (await to.hasBlob(blob, ctx))) return
    if (from === undefined) {
      isWhole = false
      return
    }
    const bytes = await from.readBlob(blob, chunkLimitBytes, ctx)
    const open = async (): Promise<AsyncIterable<Uint8Array>> => oneChunk(bytes)
    await to.putBlob(blob, open, from.source.startsWith('cache+') ? [] : [from.source], progressId, ctx)
  })
  return isWhole ? mount : undefined
}

async function* oneChunk(bytes: Buffer): AsyncGenerator<Uint8Array, void, void> {
  yield bytes
}

/** Works on the items, some at once. Nothing runs on when it rejects. */
async function inWindows<Item>(items: readonly Item[], size: number, work: (item: Item) => Promise<void>): Promise<void> {
  for (let i = 0; i < items.length; i += size) {
    const outcomes = await Promise.allSettled(items.slice(i, i + size).map(work))
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }
}
