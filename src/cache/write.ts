/**
 * Writes a cache to its place: what is there already is read, united with what this build knows, and put back, as often as
 * it takes when others write at the same time.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import type { Context } from '../core/context.js'
import { type Descriptor, mediaTypes } from '../core/descriptor.js'
import { type Digest, digestOf } from '../core/digest.js'
import { BuildError, RegistryError } from '../core/errors.js'
import type { CacheBackend } from './backend.js'
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
import { isCache, parseCache, type ReadCache } from './read.js'

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
    const found: OldCache = backend.merges ? await readOld(backend, ctx) : {}
    replaced = found.problem ?? replaced
    let theirs = found.old?.document ?? emptyDocument
    if (isChecked) theirs = await onlyWhole(theirs, backend, ctx)
    const merged = mergeDocuments(theirs, own, nowMs)
    const { manifest, config, text } = printManifest(merged)
    const done = { records: countSteps(merged), ...(replaced === undefined ? {} : { replaced }) }
    if (found.old?.manifest.digest === digestOf(manifest)) return done
    try {
      await backend.putBlob(config, async () => bytesOf(text), [], progressId, ctx)
      if (await backend.swap(manifest, found.expected, ctx)) return done
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
  readonly old?: ReadCache | undefined
  readonly expected?: Digest | undefined
  readonly problem?: string
}

/** What is there already. A cache that cannot be read is replaced, an image is not: its name was given by mistake. */
async function readOld(backend: CacheBackend, ctx: Context): Promise<OldCache> {
  const found = await backend.readManifest(ctx)
  if (found === undefined) return {}
  try {
    return { old: await parseCache(backend, found, ctx), expected: found.digest }
  } catch (error) {
    if (!(error instanceof BuildError) || error.code !== 'CACHE_BAD') throw error
    if (isCache(found.bytes)) return { expected: found.digest, problem: error.message }
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

/** The manifest of a cache: `layers` are all blobs that its records name, so that a registry keeps them. */
export function printManifest(document: CacheDocument): {
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
    config,
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
