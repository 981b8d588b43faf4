/** Reads the cache that a place has: an artifact of its own, or an image that carries one in an annotation (inline). */
import { gunzipSync } from 'node:zlib'
import type { Context } from '../core/context.js'
import type { Descriptor, Manifest } from '../core/descriptor.js'
import { digestOf } from '../core/digest.js'
import { BuildError, systemCode } from '../core/errors.js'
import { isDescriptor } from '../store/layers.js'
import { isObject } from '../store/record-file.js'
import type { CacheBackend, FoundManifest } from './backend.js'
import { cacheConfigType, mergeDocuments, type ParsedDocument, parseDocument } from './document.js'

/** The annotation of an image's manifest with its cache: JSON, gzip, base64. */
export const inlineAnnotation = 'dev.mille.cache.v1'
/** More records than this are an attack, or a mistake. */
const documentLimitBytes = 64 << 20
/** For manifests that carry their records, in base64, and name their blobs. */
export const manifestLimitBytes = 2 * documentLimitBytes

/** A cache and the manifests that it came with. */
export interface ReadCache extends ParsedDocument {
  readonly manifests: readonly FoundManifest[]
  /** Why some of them are not used. */
  readonly problems: readonly string[]
}

/**
 * Reads a cache; undefined where there is nothing yet.
 *
 * @throws BuildError CACHE_BAD for what is there and is no cache that this mille can read; that of the place
 */
export async function readCache(backend: CacheBackend, ctx: Context): Promise<ReadCache | undefined> {
  const manifests = await findManifests(backend, ctx)
  if (manifests.length === 0) return undefined
  const read = await Promise.all(manifests.map((found) => parseOrProblem(backend, found, ctx)))
  const parsed = read.flatMap((each) => (each instanceof BuildError ? [] : [each]))
  const problems = read.flatMap((each) => (each instanceof BuildError ? [each] : []))
  if (parsed.length === 0) throw problems[0]
  return {
    manifests,
    problems: problems.map(({ message }) => message),
    document: parsed.map(({ document }) => document).reduce((a, b) => mergeDocuments(a, b, anyAge)),
    refused: parsed.reduce((sum, { refused }) => sum + refused, 0),
  }
}

/** Nothing is too old for a clock at its beginning: what a cache has is left out when it is written, not when it is read. */
const anyAge = 0

async function parseOrProblem(backend: CacheBackend, found: FoundManifest, ctx: Context): Promise<ParsedDocument | BuildError> {
  try {
    return await parseCache(backend, found, ctx)
  } catch (error) {
    if (error instanceof BuildError && error.code === 'CACHE_BAD') return error
    throw error
  }
}

/** BuildKit's caches are mostly indexes, without an image for any platform. */
async function findManifests(backend: CacheBackend, ctx: Context): Promise<readonly FoundManifest[]> {
  try {
    return await backend.readManifests(ctx)
  } catch (error) {
    if (!(error instanceof BuildError) || error.code !== 'IMAGE_NO_PLATFORM') throw error
    throw new BuildError('CACHE_BAD', 'it is an index without an image for this platform, or a cache of BuildKit', {
      cause: error,
    })
  }
}

/** True for the manifest of a cache, of mille's or BuildKit's: it may be replaced by another. */
export function isCache(bytes: Buffer): boolean {
  const { config } = parseManifest(bytes)
  return config.mediaType.startsWith('application/vnd.mille.cache.') || config.mediaType.startsWith(buildkitConfigType)
}

const buildkitConfigType = 'application/vnd.buildkit.cacheconfig'

/** Reads the cache that a manifest describes. @throws BuildError CACHE_BAD; that of the place */
export async function parseCache(backend: CacheBackend, found: FoundManifest, ctx: Context): Promise<ParsedDocument> {
  const manifest = parseManifest(found.bytes)
  const own = new Map(manifest.layers.map((blob) => [blob.digest, blob]))
  const isOwn = (blob: Descriptor): boolean => own.get(blob.digest)?.size === blob.size
  const inline = manifest.annotations?.[inlineAnnotation]
  const text = inline === undefined ? await readRecords(backend, manifest, ctx) : unpackInline(inline)
  return parseDocument(text, isOwn)
}

async function readRecords(backend: CacheBackend, { config, artifactType }: Manifest, ctx: Context): Promise<string> {
  if (config.mediaType !== cacheConfigType) throw noCache(artifactType ?? config.mediaType)
  if (config.size > documentLimitBytes)
    throw new BuildError('CACHE_BAD', `its records have ${config.size.toLocaleString('en')} bytes`)
  if (typeof config.data !== 'string') return (await backend.readBlob(config, documentLimitBytes, ctx)).toString('utf8')
  const bytes = Buffer.from(config.data, 'base64')
  if (bytes.length !== config.size || digestOf(bytes) !== config.digest)
    throw new BuildError('CACHE_BAD', 'the records in its manifest are damaged')
  return bytes.toString('utf8')
}

function noCache(type: string): BuildError {
  if (type.startsWith(buildkitConfigType)) {
    return new BuildError('CACHE_BAD', 'it is a cache of BuildKit, which mille cannot read', {
      hint: 'give mille a reference of its own',
    })
  }
  const isImage = /container\.image|image\.config/.test(type)
  return new BuildError(
    'CACHE_BAD',
    `it is ${isImage ? 'an image without a cache in it' : `an artifact of type ${JSON.stringify(type.slice(0, 100))}`}`,
  )
}

function parseManifest(bytes: Buffer): Manifest {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  if (isObject(value) && isDescriptor(value.config) && Array.isArray(value.layers) && value.layers.every(isDescriptor)) {
    return value as unknown as Manifest
  }
  throw new BuildError('CACHE_BAD', 'its manifest is no OCI image manifest')
}

/** Unpacks the text of an annotation, which a few bytes may claim to be gigabytes of. */
function unpackInline(annotation: string): string {
  try {
    return gunzipSync(Buffer.from(annotation, 'base64'), { maxOutputLength: documentLimitBytes }).toString('utf8')
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    throw new BuildError('CACHE_BAD', `its inline records cannot be unpacked (${code})`, { cause: error })
  }
}
