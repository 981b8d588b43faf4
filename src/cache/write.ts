/**
 * Writes a cache to its place: what is there already is read, united with what this build knows, and put back, as often as
 * it takes when others write at the same time.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import type { Context } from '../core/context.js'
import { type Descriptor, mediaTypes } from '../core/descriptor.js'
import { digestOf } from '../core/digest.js'
import { BuildError, RegistryError } from '../core/errors.js'
import type { CacheBackend, FoundManifest } from './backend.js'
import {
  blobsOf,
  type CacheDocument,
  cacheArtifactType,
  cacheConfigType,
  countSteps,
  emptyDocument,
  mergeDocuments,
  printDocument,
  withoutBlobs,
} from './document.js'
import { isCache, parseCache } from './read.js'

/** Writers that meet more often than this are too many for one reference. */
const mostTries = 12

/** What was written. */
export interface WrittenCache {
  /** Steps that the cache has now. */
  readonly records: number
  /** Set where something was there that is no cache, and was replaced. */
  readonly replaced?: string
}

/** Writes `own`, whose blobs are in the place. @throws BuildError CACHE_EXPORT_FAILED; that of the place */
export async function writeCache(
  backend: CacheBackend,
  own: CacheDocument,
  nowMs: number,
  progressId: string,
  ctx: Context,
): Promise<WrittenCache> {
  let replaced: string | undefined
  let isChecked = false
  for (let tries = 1; tries <= mostTries; tries++) {
    const found: OldCache = backend.merges ? await readOld(backend, nowMs, ctx) : { document: emptyDocument, read: [] }
    replaced = found.problem ?? replaced
    let theirs = found.document
    if (isChecked) theirs = await onlyWhole(theirs, backend, ctx)
    const merged = mergeDocuments(theirs, own, nowMs)
    const { manifest, config, text } = printManifest(merged, backend.isPrivate)
    const done = { records: countSteps(merged), ...(replaced === undefined ? {} : { replaced }) }
    if (found.read.length === 1 && found.read[0]?.digest === digestOf(manifest)) return done
    try {
      if (!backend.isPrivate) await backend.putBlob(config, async () => bytesOf(text), [], progressId, ctx)
      if (await backend.swap(manifest, found.read, ctx)) return done
    } catch (error) {
      // Somebody else's layers are gone from the registry: what names them goes too.
      if (isChecked || !(error instanceof RegistryError) || !error.errors.includes('MANIFEST_BLOB_UNKNOWN')) throw error
      isChecked = true
    }
    await sleep(Math.random() * 100 * tries, undefined, { signal: ctx.signal })
  }
  throw new BuildError('CACHE_EXPORT_FAILED', `others wrote ${backend.name} ${mostTries} times in the meantime`, {
    hint: 'give fewer builds the same reference',
  })
}

interface OldCache {
  readonly document: CacheDocument
  readonly read: readonly FoundManifest[]
  readonly problem?: string
}

/** What is there already, of all who wrote. */
async function readOld(backend: CacheBackend, nowMs: number, ctx: Context): Promise<OldCache> {
  let old: OldCache = { document: emptyDocument, read: await backend.readManifests(ctx) }
  for (const found of old.read) {
    const theirs = await parseOld(backend, found, ctx)
    if (theirs instanceof BuildError) old = { ...old, problem: theirs.message }
    else old = { ...old, document: mergeDocuments(old.document, theirs, nowMs) }
  }
  return old
}

/** A cache that cannot be read is replaced, an image is not: its name was given by mistake. */
async function parseOld(backend: CacheBackend, found: FoundManifest, ctx: Context): Promise<CacheDocument | BuildError> {
  try {
    return (await parseCache(backend, found, ctx)).document
  } catch (error) {
    if (!(error instanceof BuildError) || error.code !== 'CACHE_BAD') throw error
    if (backend.isPrivate || isCache(found.bytes)) return error
    throw new BuildError('CACHE_EXPORT_FAILED', `${backend.name} is there already and is no cache: ${error.message}`, {
      hint: 'give the cache a reference of its own',
    })
  }
}

/** What is named must be there, or the registry refuses the manifest. */
async function onlyWhole(document: CacheDocument, backend: CacheBackend, ctx: Context): Promise<CacheDocument> {
  const there = new Set<string>()
  for (const blob of blobsOf(document)) if (await backend.hasBlob(blob, ctx)) there.add(blob.digest)
  return withoutBlobs(document, ({ digest }) => there.has(digest))
}

/**
 * The manifest of a cache: `layers` are all blobs that its records name, so that a registry keeps them.
 *
 * @param hasRecords the records go into the manifest, as `data` of the config
 */
export function printManifest(
  document: CacheDocument,
  hasRecords: boolean,
): {
  readonly manifest: Buffer
  readonly config: Descriptor
  readonly text: Buffer
} {
  const text = Buffer.from(printDocument(document))
  const config: Descriptor = { mediaType: cacheConfigType, digest: digestOf(text), size: text.length }
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    artifactType: cacheArtifactType,
    config: hasRecords ? { ...config, data: text.toString('base64') } : config,
    layers: blobsOf(document),
  }
  return { manifest: Buffer.from(JSON.stringify(manifest)), config, text }
}

/** The annotation that carries a cache in an image's manifest. */
export function packInline(document: CacheDocument): string {
  return gzipSync(printDocument(document), { level: 9 }).toString('base64')
}

async function* bytesOf(bytes: Buffer): AsyncGenerator<Uint8Array, void, void> {
  yield bytes
}
