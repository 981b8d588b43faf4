/**
 * A cache in the cache service of GitHub Actions.
 *
 * Entries never change, so the records are a row of entries whose keys end in growing numbers, one row for each branch: the
 * newest counts, and who reserves the next number first has written. Blobs are entries named by their digests. A job reads
 * the rows of all branches that its token opens, and writes that of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import { digestOf, hexOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { collect, limited } from '../io/stream.js'
import { defaultRetryPolicy, type RetryPolicy, retrying } from '../registry/retry.js'
import type { Transport } from '../registry/transport.js'
import { defaultBlockBytes, readAzureBlob, writeAzureBlob } from './azure-blob.js'
import type { CacheBackend, FoundManifest, OpenBytes, PutOutcome } from './backend.js'
import { openQueue, skipBlob, type TransferQueue, uploadBlob } from './blob-transfer.js'
import { oneBlock } from './blocks.js'
import { fewChunkSizes } from './chunker.js'
import { type CacheService, openCacheService, scopesOf, type TokenScope } from './gha-service.js'
import { PlaceHttp } from './place-http.js'
import type { GhaCacheSettings } from './places.js'
import { manifestLimitBytes } from './read.js'
import { fetchInto, type ObjectReader, readVerified } from './resume.js'

/** What tests change. */
export interface GhaBackendOptions {
  readonly blockBytes?: number
  /** How long somebody may take between reserving the next number and finishing it. */
  readonly patienceMs?: number
  readonly firstDelayMs?: number
}

const transfers = 4
/** Names for one blob, should jobs that were killed have reserved some and never written them. */
const mostNames = 5
const defaultPatienceMs = 15_000
const defaultTimeoutMs = 600_000
/** The service's own field against mixing what differs: one value for all entries of this format. */
const version = hexOf(digestOf('mille cache 1'))

/** The cache in the service. `transport` is its own, and closed with it. */
export function ghaBackend(settings: GhaCacheSettings, transport: Transport, options: GhaBackendOptions): CacheBackend {
  return new GhaBackend(settings, transport, options)
}

class GhaBackend implements CacheBackend {
  readonly name: string
  readonly source: string
  readonly merges = true
  readonly isPrivate = true
  readonly mountChunkSizes = fewChunkSizes
  readonly #scope: string
  readonly #scopes: readonly TokenScope[]
  readonly #transport: Transport
  readonly #http: PlaceHttp
  readonly #retry: RetryPolicy
  readonly #service: CacheService
  readonly #options: GhaBackendOptions
  readonly #reader: ObjectReader
  #queue: TransferQueue | undefined

  constructor({ url, token, scope = 'mille', timeoutMs }: GhaCacheSettings, transport: Transport, options: GhaBackendOptions) {
    this.name = `gha:${scope}`
    this.source = ghaSource(url)
    this.#scope = scope
    const inToken = scopesOf(token)
    this.#scopes = inToken.length === 0 ? [{ scope: '', mayRead: true, mayWrite: true }] : inToken
    this.#transport = transport
    this.#http = new PlaceHttp(transport)
    // The service lets only so many requests through in a minute, so there are many tries within the time.
    const { firstDelayMs = 1000 } = options
    this.#retry = { ...defaultRetryPolicy, tries: 40, firstDelayMs, totalDelayMs: timeoutMs ?? defaultTimeoutMs }
    this.#service = openCacheService(url, token, version, this.#retry, this.#http)
    this.#options = options
    this.#reader = {
      name: this.name,
      retry: this.#retry,
      open: async (blob, from, ctx) => {
        // Anew for each try: addresses are good for some minutes only.
        const found = await this.#service.find(keyOf(blob), true, ctx)
        if (found === undefined) throw new BuildError('CACHE_BAD', `blob ${blob.digest} is not in ${this.name}`)
        return readAzureBlob(this.#http, found.url, from, { retry: this.#retry, subject: `blob ${blob.digest}` }, ctx)
      },
    }
  }

  async readManifests(ctx: Context): Promise<readonly FoundManifest[]> {
    const readable = this.#scopes.filter(({ mayRead }) => mayRead)
    const found = await Promise.all(readable.map(({ scope }) => this.#readRow(this.#rowOf(scope), ctx)))
    return found.flatMap((manifest) => manifest ?? [])
  }

  readBlob(blob: Descriptor, limitBytes: number, ctx: Context): Promise<Buffer> {
    return readVerified(this.#reader, blob, limitBytes, ctx)
  }

  async fetchBlob(...[blob, write, progressId, ctx]: Parameters<CacheBackend['fetchBlob']>): Promise<void> {
    this.#queue ??= openQueue(transfers)
    await (await this.#queue).add(() => fetchInto(this.#reader, blob, write, progressId, ctx))
  }

  /** To be looked for keeps an entry from being removed as unused. */
  async hasBlob(blob: Descriptor, ctx: Context): Promise<boolean> {
    return (await this.#service.find(keyOf(blob), true, ctx)) !== undefined
  }

  async putBlob(
    blob: Descriptor,
    open: OpenBytes,
    _mountSources: readonly string[],
    progressId: string,
    ctx: Context,
  ): Promise<PutOutcome> {
    this.#queue ??= openQueue(transfers)
    return (await this.#queue).add(async () => {
      for (let number = 1; number <= mostNames; number++) {
        if (await this.hasBlob(blob, ctx)) return skipBlob(blob, progressId, ctx)
        const key = number === 1 ? keyOf(blob) : `${keyOf(blob)}.${number}`
        const address = await this.#service.create(key, ctx)
        if (address === undefined) continue
        const send = (bytes: AsyncIterable<Uint8Array>): Promise<void> => this.#fill(address, key, blob.size, bytes, ctx)
        return uploadBlob(blob, open, progressId, send, ctx)
      }
      throw new BuildError('CACHE_EXPORT_FAILED', `others reserved blob ${blob.digest} in ${this.name} and did not write it`)
    })
  }

  async swap(manifest: Buffer, read: readonly FoundManifest[], ctx: Context): Promise<boolean> {
    const own = this.#scopes.find(({ mayWrite }) => mayWrite)
    if (own === undefined) {
      throw new BuildError('CACHE_DENIED', `the job's token may not write to ${this.name}`, {
        hint: 'jobs for pull requests from forks may only read caches: write them on branches of the repository',
      })
    }
    const row = this.#rowOf(own.scope)
    const newest = Math.max(0, ...read.map(({ name }) => numberIn(row, name ?? '') ?? 0))
    const startedAt = performance.now()
    for (let number = newest + 1; ; ) {
      const address = await this.#service.create(`${row}${number}`, ctx)
      if (address !== undefined) {
        await this.#fill(address, `${row}${number}`, manifest.length, oneBlock(manifest), ctx)
        return true
      }
      const found = await this.#service.find(row, true, ctx)
      if ((numberIn(row, found?.key ?? '') ?? 0) >= number) return false
      // Reserved and not there: somebody writes it just now, or was killed before it was written.
      const { patienceMs = defaultPatienceMs } = this.#options
      if (performance.now() - startedAt > patienceMs) number += 1
      else await sleep(Math.min(1000, patienceMs / 4), undefined, { signal: ctx.signal })
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#transport.close()
  }

  async #fill(address: URL, key: string, size: number, bytes: AsyncIterable<Uint8Array>, ctx: Context): Promise<void> {
    const options = { blockBytes: this.#options.blockBytes ?? defaultBlockBytes, retry: this.#retry, subject: `the entry ${key}` }
    await writeAzureBlob(this.#http, address, size, bytes, options, ctx)
    await this.#service.finish(key, size, ctx)
  }

  async #readRow(row: string, ctx: Context): Promise<FoundManifest | undefined> {
    const found = await this.#service.find(row, true, ctx)
    if (found === undefined || numberIn(row, found.key) === undefined) return undefined
    const whole = await retrying(this.#retry, ctx, async () => {
      const bytes = await readAzureBlob(this.#http, found.url, 0, { retry: this.#retry, subject: `the entry ${found.key}` }, ctx)
      return collect(limited(bytes, manifestLimitBytes, 'CACHE_BAD', `the entry ${found.key} of ${this.name}`))
    })
    return { bytes: whole, digest: digestOf(whole), name: found.key }
  }

  /** The keys of a branch without their numbers. The branch is hashed: it may have characters that keys must not. */
  #rowOf(branch: string): string {
    return `mille-index-1-${encodeURIComponent(this.#scope)}-${hexOf(digestOf(branch)).slice(0, 8)}#`
  }
}

/** What the keys of a blob's entries begin with: that of the first has nothing more. */
function keyOf({ digest }: Descriptor): string {
  return `mille-blob-1-${hexOf(digest)}`
}

function numberIn(row: string, key: string): number | undefined {
  const text = key.startsWith(row) ? key.slice(row.length) : ''
  return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined
}

/** How sources of layers in the service begin. */
export const ghaSourcePrefix = 'cache+gha:'

/** Enough to find blobs again for a job with a token. */
function ghaSource(url: string): string {
  return `${ghaSourcePrefix}${url}`
}
