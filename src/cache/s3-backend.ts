/**
 * A cache in an S3 bucket.
 *
 * Blobs are objects named by their digests. The records are an object for each writer: who writes puts the union of what it
 * read and what it knows beside the others, and then removes those it read, all of which is in the new one. So nothing that
 * is known is ever in no object, whoever writes at the same moment and whatever the server makes of conditional requests.
 * Readers take the union of what they find.
 */
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import { digestOf, hexOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { collect, limited } from '../io/stream.js'
import { defaultRetryPolicy } from '../registry/retry.js'
import type { Transport } from '../registry/transport.js'
import type { CacheBackend, FoundManifest, OpenBytes, PutOutcome } from './backend.js'
import { openQueue, skipBlob, type TransferQueue, uploadBlob } from './blob-transfer.js'
import { oneBlock } from './blocks.js'
import { mountChunkSizes } from './chunker.js'
import type { S3CacheSettings } from './places.js'
import { manifestLimitBytes } from './read.js'
import { fetchInto, type ObjectReader, readVerified } from './resume.js'
import { defaultPartBytes, type S3Object, S3Objects } from './s3-objects.js'

/** What tests change. */
export interface S3BackendOptions {
  readonly now: () => number
  readonly partBytes?: number
}

const downloads = 4
/** S3 copies no larger object in one request: it is sent again. */
const largestCopyBytes = 5 * 2 ** 30
const dayMs = 86_400_000
/** More writers than this at once, or that could not remove what they replaced, are read the newest first. */
const mostManifests = 100
/** Objects that vanish while they are read were replaced by others: then the list is read anew, this often. */
const listTries = 5

/** The cache in a bucket. `transport` is its own, and closed with it. */
export function s3Backend(settings: S3CacheSettings, transport: Transport, options: S3BackendOptions): CacheBackend {
  return new S3Backend(settings, new S3Objects(settings, transport, options.partBytes ?? defaultPartBytes), options.now)
}

class S3Backend implements CacheBackend {
  readonly name: string
  readonly source: string
  readonly merges = true
  readonly isPrivate = true
  readonly mountChunkSizes = mountChunkSizes
  readonly #settings: S3CacheSettings
  readonly #objects: S3Objects
  readonly #now: () => number
  readonly #reader: ObjectReader
  #uploads: TransferQueue | undefined
  #downloads: TransferQueue | undefined

  constructor(settings: S3CacheSettings, objects: S3Objects, now: () => number) {
    this.#settings = settings
    this.#objects = objects
    this.#now = now
    this.name = `s3://${settings.bucket}/${settings.prefix ?? ''}${namesOf(settings).join(';')}`
    this.source = s3Source(settings)
    this.#reader = {
      name: this.name,
      retry: defaultRetryPolicy,
      open: async (blob, from, ctx) => {
        const bytes = await objects.get(this.#keyOf(blob), from, ctx)
        if (bytes === undefined) throw new BuildError('CACHE_BAD', `blob ${blob.digest} is not in s3://${settings.bucket}`)
        return bytes
      },
    }
  }

  async readManifests(ctx: Context): Promise<readonly FoundManifest[]> {
    for (let tries = 1; ; tries++) {
      const listed = await Promise.all(namesOf(this.#settings).map((name) => this.#listManifests(name, ctx)))
      const newest = listed.flat().sort((a, b) => b.modifiedAtMs - a.modifiedAtMs || (a.key < b.key ? -1 : 1))
      const found = await Promise.all(newest.slice(0, mostManifests).map((object) => this.#readManifest(object, ctx)))
      const whole = found.flatMap((manifest) => manifest ?? [])
      if (whole.length === found.length || tries === listTries) return whole
    }
  }

  readBlob(blob: Descriptor, limitBytes: number, ctx: Context): Promise<Buffer> {
    return readVerified(this.#reader, blob, limitBytes, ctx)
  }

  async fetchBlob(...[blob, write, progressId, ctx]: Parameters<CacheBackend['fetchBlob']>): Promise<void> {
    this.#downloads ??= openQueue(downloads)
    await (await this.#downloads).add(() => fetchInto(this.#reader, blob, write, progressId, ctx))
  }

  async hasBlob(blob: Descriptor, ctx: Context): Promise<boolean> {
    const found = await this.#objects.head(this.#keyOf(blob), ctx)
    // One of another size is an upload that somebody else cut short, on a server that keeps such things.
    if (found === undefined || found.size !== blob.size) return false
    const now = this.#now()
    const { touchRefreshMs = dayMs } = this.#settings
    if (now - found.modifiedAtMs <= touchRefreshMs) return true
    if (found.size > largestCopyBytes) return false
    await this.#objects.touch(found.key, now, ctx)
    return true
  }

  async putBlob(
    blob: Descriptor,
    open: OpenBytes,
    _mountSources: readonly string[],
    progressId: string,
    ctx: Context,
  ): Promise<PutOutcome> {
    this.#uploads ??= openQueue(this.#settings.uploadParallelism ?? 4)
    return (await this.#uploads).add(async () => {
      if (await this.hasBlob(blob, ctx)) return skipBlob(blob, progressId, ctx)
      const send = (bytes: AsyncIterable<Uint8Array>): Promise<void> =>
        this.#objects.put(this.#keyOf(blob), blob.size, bytes, ctx)
      return uploadBlob(blob, open, progressId, send, ctx)
    })
  }

  async swap(manifest: Buffer, read: readonly FoundManifest[], ctx: Context): Promise<boolean> {
    const names = namesOf(this.#settings)
    const keys = names.map((name) => `${this.#folderOf(name)}${hexOf(digestOf(manifest))}.json`)
    for (const key of keys) await this.#objects.put(key, manifest.length, oneBlock(manifest), ctx)
    const old = read.flatMap(({ name }) => (name === undefined || keys.includes(name) ? [] : [name]))
    const removed = await Promise.all(old.map((key) => this.#objects.remove(key, ctx)))
    if (removed.includes(false)) {
      const message = `records that are replaced stay in ${this.name}: the credentials may not remove them`
      const hint = 'allow s3:DeleteObject, or let a rule of the bucket expire them'
      ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: 'CACHE_DENIED', message, hint } })
    }
    return true
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#objects[Symbol.asyncDispose]()
  }

  async #listManifests(name: string, ctx: Context): Promise<readonly S3Object[]> {
    const listed = await this.#objects.list(this.#folderOf(name), mostManifests, ctx)
    return listed.filter(({ key }) => /\/[0-9a-f]{64}\.json$/.test(key))
  }

  /** Undefined when it is gone. One that is not what its name says is empty here: it cannot be read, and is replaced. */
  async #readManifest({ key, size }: S3Object, ctx: Context): Promise<FoundManifest | undefined> {
    const damaged = { bytes: Buffer.alloc(0), digest: digestOf(''), name: key }
    if (size > manifestLimitBytes) return damaged
    const bytes = await this.#objects.get(key, 0, ctx)
    if (bytes === undefined) return undefined
    const whole = await collect(limited(bytes, manifestLimitBytes, 'CACHE_BAD', `${key} in s3://${this.#settings.bucket}`))
    const digest = digestOf(whole)
    return key.endsWith(`/${hexOf(digest)}.json`) ? { bytes: whole, digest, name: key } : damaged
  }

  #folderOf(name: string): string {
    return `${this.#settings.prefix ?? ''}${this.#settings.manifestsPrefix ?? 'manifests/'}mille/${name}/`
  }

  #keyOf({ digest }: Descriptor): string {
    return `${this.#settings.prefix ?? ''}${this.#settings.blobsPrefix ?? 'blobs/'}${digest}`
  }
}

function namesOf({ names = [] }: S3CacheSettings): readonly string[] {
  return names.length === 0 ? ['mille'] : names
}

/** How sources of layers in buckets begin. */
export const s3SourcePrefix = 'cache+s3:'

/** What is needed to find blobs again, without credentials. */
function s3Source(settings: S3CacheSettings): string {
  const { bucket, region, endpointUrl, usePathStyle, prefix, blobsPrefix } = settings
  const fields = { bucket, region, endpointUrl, usePathStyle: usePathStyle === true ? 'true' : undefined, prefix, blobsPrefix }
  const known = Object.entries(fields).flatMap(([key, value]): [string, string][] => (value === undefined ? [] : [[key, value]]))
  return `${s3SourcePrefix}${new URLSearchParams(known)}`
}

/** The settings that `source` of a cache in a bucket stands for; undefined when it is none. */
export function parseS3Source(source: string): S3CacheSettings | undefined {
  const fields = new URLSearchParams(source.slice(s3SourcePrefix.length))
  const bucket = fields.get('bucket')
  if (!source.startsWith(s3SourcePrefix) || bucket === null) return undefined
  return {
    bucket,
    region: fields.get('region') ?? undefined,
    endpointUrl: fields.get('endpointUrl') ?? undefined,
    usePathStyle: fields.get('usePathStyle') === 'true',
    prefix: fields.get('prefix') ?? undefined,
    blobsPrefix: fields.get('blobsPrefix') ?? undefined,
  }
}
