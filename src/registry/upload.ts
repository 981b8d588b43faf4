/**
 * Brings one blob into a repository: not at all when it is there, by mounting it from a neighbour, else by upload.
 *
 * An upload is one POST and one PUT. A large blob goes in chunks (PATCH), so that a cut connection costs one chunk and
 * not gigabytes; a registry that cannot go on gets the whole again in one piece. Spec: distribution-spec, "Pushing blobs".
 */
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import { contradicts } from '../core/digest.js'
import { RegistryError } from '../core/errors.js'
import { familiarRepository } from '../core/reference.js'
import { collect } from '../io/stream.js'
import { repositoryScope } from './auth.js'
import { type BlobSource, blobRequest } from './blob-request.js'
import { discard, type RegistryClient, type RegistryRequest } from './client.js'
import { TransientRegistryError } from './errors.js'
import { blobItem, reportSkipped, TransferProgress } from './progress.js'
import { Retries } from './retry.js'
import { bodyInMemory, type WireBody, type WireResponse } from './transport.js'

/**
 * The bytes of a blob from the start. They need not be verified: the registry checks the digest, the size is checked
 * here. It is called again for another try.
 */
export type OpenBlob = (blob: Descriptor) => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>

/** What an upload needs besides the blob. */
export interface UploadOptions {
  readonly openBlob: OpenBlob
  /** Repositories that may have the blob (`registry/repository`); those of other registries are passed over. */
  readonly mountSources: readonly string[]
  /** Nobody is known to have it, and it is small: sent without asking first, which is as right and one round trip less. */
  readonly isNew?: boolean
  /** For a new blob: where `openEmptyUpload` has opened an upload for it. */
  readonly opened?: Promise<URL> | undefined
  /** Called when the bytes are on their way. */
  readonly onSending?: () => void
  readonly chunks: ChunkPolicy
  readonly progressId: string
}

/** Blobs above `fromBytes` are sent in chunks of `chunkBytes`. */
export interface ChunkPolicy {
  readonly fromBytes: number
  readonly chunkBytes: number
}

/** A chunk costs a round trip and a flush in the registry, so small blobs have none. */
export const defaultChunkPolicy: ChunkPolicy = { fromBytes: 256 * 1024 * 1024, chunkBytes: 64 * 1024 * 1024 }

/** How a blob came to be in the repository. */
export type UploadOutcome = 'existed' | 'mounted' | 'uploaded'

/** Makes sure that `target` has the blob. Settles when the registry has confirmed it. */
export async function uploadBlob(
  client: RegistryClient,
  target: BlobSource,
  blob: Descriptor,
  options: UploadOptions,
  ctx: Context,
): Promise<UploadOutcome> {
  if (!options.isNew && (await hasBlob(client, target, blob, ctx))) {
    reportSkipped(ctx, options.progressId, blob, 'already exists')
    return 'existed'
  }
  const send = async (): Promise<UploadOutcome> => {
    ctx.signal.throwIfAborted()
    const opened: OpenedUpload =
      options.opened === undefined
        ? await openUpload(client, target, blob, options.mountSources, ctx)
        : { location: await options.opened }
    if (opened.mountedFrom !== undefined) {
      reportSkipped(ctx, options.progressId, blob, `mounted from ${opened.mountedFrom}`)
      return 'mounted'
    }
    const progress = new TransferProgress(ctx, options.progressId, blobItem(blob), blob.size)
    await new Upload(client, target, blob, options, progress, ctx).run(opened.location)
    progress.done()
    return 'uploaded'
  }
  return blob.size <= smallBlobBytes ? send() : client.transfer(send)
}

/** Blobs up to this size wait for no place among the transfers, may be sent without a question, and are read whole. */
export const smallBlobBytes = 64 * 1024

/** Opens an upload before it is known what will be in it. An upload that gets nothing is forgotten by the registry. */
export async function openEmptyUpload(client: RegistryClient, target: BlobSource, ctx: Context): Promise<URL> {
  const subject = `an upload to ${familiarRepository({ registry: target.registry, repository: target.repository })}`
  const request = { ...uploadRequest(target, subject, 'POST', `/v2/${target.repository}/blobs/uploads/`), accept: [202] }
  return locationOf(target, (await client.fetch(request, answerLimitBytes, ctx)).answer)
}

/** Asks whether a repository has a blob: one HEAD. */
export async function hasBlob(client: RegistryClient, target: BlobSource, blob: Descriptor, ctx: Context): Promise<boolean> {
  const request = { ...blobRequest(target, blob, 'HEAD', [200, 404]), scopes: [repositoryScope(target.repository, 'pull,push')] }
  const { answer } = await client.fetch(request, 0, ctx)
  return answer.status === 200
}

interface OpenedUpload {
  readonly mountedFrom?: string
  readonly location: URL
}

/** Starts an upload, or has the blob mounted. A registry that will not mount opens an upload in the same answer (202). */
async function openUpload(
  client: RegistryClient,
  target: BlobSource,
  blob: Descriptor,
  mountSources: readonly string[],
  ctx: Context,
): Promise<OpenedUpload> {
  const prefix = `${target.registry}/`
  const from = mountSources.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length))
  for (const repository of from.filter((name) => name !== target.repository).slice(0, 3)) {
    const answer = await postUpload(client, target, blob, repository, ctx)
    const location = locationOf(target, answer)
    if (answer.status === 201) return { mountedFrom: repository, location }
    if (answer.status === 202) return { location }
  }
  return { location: locationOf(target, await postUpload(client, target, blob, undefined, ctx)) }
}

async function postUpload(
  client: RegistryClient,
  target: BlobSource,
  blob: Descriptor,
  from: string | undefined,
  ctx: Context,
): Promise<WireResponse> {
  const base = uploadRequest(target, nameOf(target, blob), 'POST', `/v2/${target.repository}/blobs/uploads/`)
  if (from === undefined) return (await client.fetch({ ...base, accept: [202] }, answerLimitBytes, ctx)).answer
  const query = new URLSearchParams({ mount: blob.digest, from })
  const scopes = [...base.scopes, repositoryScope(from, 'pull')]
  const mount = { ...base, target: `${base.target}?${query}`, scopes, accept: [201, 202] }
  try {
    return (await client.fetch(mount, answerLimitBytes, ctx)).answer
  } catch (error) {
    // No right to read the neighbour, or no such thing as mounting: an ordinary upload does it.
    const isRefusal = error instanceof RegistryError && error.status !== undefined && error.status >= 400 && error.status < 500
    if (!isRefusal || error.status === 429) throw error
    return postUpload(client, target, blob, undefined, ctx)
  }
}

const answerLimitBytes = 64 * 1024

function nameOf({ registry, repository }: BlobSource, blob: Descriptor): string {
  return `blob ${blob.digest} of ${familiarRepository({ registry, repository })}`
}

function uploadRequest(
  { registry, repository }: BlobSource,
  subject: string,
  method: string,
  to: string | URL,
): Omit<RegistryRequest, 'accept'> {
  return { registry, repository, method, target: to, scopes: [repositoryScope(repository, 'pull,push')], subject }
}

/** The upload URL of an answer; it may be relative. */
function locationOf(target: BlobSource, answer: WireResponse): URL {
  const { location } = answer.headers
  if (location === undefined || !URL.canParse(location, answer.url.href)) {
    throw new RegistryError('REGISTRY_PROTOCOL', `${target.registry} answered ${answer.status} without a Location for the upload`)
  }
  return new URL(location, answer.url)
}

/** The sending of one blob, over all its tries. */
class Upload {
  readonly #client: RegistryClient
  readonly #target: BlobSource
  readonly #blob: Descriptor
  readonly #options: UploadOptions
  readonly #progress: TransferProgress
  readonly #ctx: Context

  constructor(
    client: RegistryClient,
    target: BlobSource,
    blob: Descriptor,
    options: UploadOptions,
    progress: TransferProgress,
    ctx: Context,
  ) {
    this.#client = client
    this.#target = target
    this.#blob = blob
    this.#options = options
    this.#progress = progress
    this.#ctx = ctx
  }

  async run(first: URL): Promise<void> {
    const retries = new Retries(this.#client.retry, this.#ctx)
    let location: URL | undefined = first
    let inChunks = this.#blob.size > this.#options.chunks.fromBytes
    for (;;) {
      try {
        location ??= locationOf(this.#target, await postUpload(this.#client, this.#target, this.#blob, undefined, this.#ctx))
        if (inChunks) await this.#sendChunks(location, retries)
        else await this.#sendWhole(location)
        return
      } catch (error) {
        if (inChunks && error instanceof RegistryError && isChunkRefusal(error)) inChunks = false
        else await retries.pause(asPassing(error))
        // A gateway may have lost patience while the registry went on and finished.
        if (await hasBlob(this.#client, this.#target, this.#blob, this.#ctx)) return
        // The session is of no more use: a new one is opened, and the old one times out in the registry.
        location = undefined
      }
    }
  }

  async #sendWhole(location: URL): Promise<void> {
    await this.#put(location, { start: 0, size: this.#blob.size })
  }

  /** Each chunk is tried again from where the registry says it got to; the last PUT has no body. */
  async #sendChunks(start: URL, retries: Retries): Promise<void> {
    let location = start
    let at = 0
    for (let gaps = 0; ; ) {
      const size = Math.min(this.#options.chunks.chunkBytes, this.#blob.size - at)
      try {
        if (size === 0) return await this.#put(location, { start: at, size })
        const answer = await this.#send('PATCH', location, { start: at, size }, [202])
        location = locationOf(this.#target, answer)
        at += size
        retries.progressed()
      } catch (error) {
        // A registry that lost a part of what it took says 416 to the next.
        const isGap = error instanceof RegistryError && error.status === 416 && ++gaps < this.#client.retry.tries
        if (!isGap && (size === 0 || !(error instanceof TransientRegistryError))) throw error
        if (!isGap) await retries.pause(error)
        const reached = await this.#uploaded(location)
        if (isGap && reached.bytes === at) throw error
        location = reached.location
        at = reached.bytes
      }
    }
  }

  /** Asks an upload how far it has come. */
  async #uploaded(location: URL): Promise<{ readonly location: URL; readonly bytes: number }> {
    const request = { ...uploadRequest(this.#target, nameOf(this.#target, this.#blob), 'GET', location), accept: [204] }
    const { answer } = await this.#client.fetch(request, answerLimitBytes, this.#ctx)
    const last = /^(?:bytes=)?0-(\d+)$/.exec(answer.headers.range?.toString() ?? '')?.[1]
    const bytes = last === undefined ? 0 : Number(last) + 1
    if (bytes > this.#blob.size) throw chunkRefusal(this.#target)
    return {
      location: answer.headers.location === undefined ? location : locationOf(this.#target, answer),
      bytes: last === '0' ? 0 : bytes,
    }
  }

  async #put(location: URL, part: Part): Promise<void> {
    const url = new URL(`${location.href}${location.search === '' ? '?' : '&'}digest=${encodeURIComponent(this.#blob.digest)}`)
    const answer = await this.#send('PUT', url, part, [201, 204])
    const digest = answer.headers['docker-content-digest']
    if (digest !== undefined && contradicts(String(digest), this.#blob.digest)) {
      throw new RegistryError(
        'REGISTRY_DIGEST_MISMATCH',
        `${this.#target.registry} stored ${digest} in place of ${this.#blob.digest}`,
      )
    }
  }

  async #send(method: 'PATCH' | 'PUT', url: URL, part: Part, accept: readonly number[]): Promise<WireResponse> {
    const headers: Record<string, string> = { 'content-type': 'application/octet-stream' }
    if (method === 'PATCH') headers['content-range'] = `${part.start}-${part.start + part.size - 1}`
    const body = await this.#body(part)
    const request = { ...uploadRequest(this.#target, nameOf(this.#target, this.#blob), method, url), accept, headers, body }
    const sending = this.#client.send(request, this.#ctx)
    this.#options.onSending?.()
    const answer = await sending
    await discard(answer)
    return answer
  }

  /** Small ones are read whole: a stream costs more than its bytes. */
  async #body(part: Part): Promise<WireBody> {
    if (part.size > smallBlobBytes) return { size: part.size, open: () => this.#bytes(part) }
    return bodyInMemory(await collect(await this.#bytes(part)))
  }

  async #bytes(part: Part): Promise<AsyncIterable<Uint8Array>> {
    if (part.size === 0) return nothing()
    return partOf(await this.#options.openBlob(this.#blob), part, this.#blob, (bytes) => this.#progress.moved(bytes))
  }
}

interface Part {
  readonly start: number
  readonly size: number
}

async function* nothing(): AsyncGenerator<Uint8Array, void, void> {}

/** The bytes of one part. Reading over the earlier ones costs less than a disk seek is worth. */
async function* partOf(
  bytes: AsyncIterable<Uint8Array>,
  part: Part,
  blob: Descriptor,
  moved: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, void> {
  const end = part.start + part.size
  let at = 0
  for await (const chunk of bytes) {
    const from = Math.max(0, part.start - at)
    const to = Math.min(chunk.length, end - at)
    at += chunk.length
    if (to > from) yield from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to)
    moved(Math.min(at, end))
    if (at >= end && end < blob.size) return
    if (at > blob.size) break
  }
  if (at !== blob.size)
    throw new RegistryError(
      'REGISTRY_PROTOCOL',
      `blob ${blob.digest} to push has ${at} bytes here, its descriptor says ${blob.size}`,
    )
}

/** A 401 or 404 in the middle of an upload is an expired token or session: a new upload may do it. */
function asPassing(error: unknown): unknown {
  if (!(error instanceof RegistryError) || error instanceof TransientRegistryError) return error
  if (error.status !== 404 || !error.errors.includes('BLOB_UPLOAD_UNKNOWN')) return error
  return new TransientRegistryError(error.code, error.message, { status: error.status, errors: error.errors, cause: error })
}

function isChunkRefusal(error: RegistryError): boolean {
  return error.status !== undefined && [400, 404, 405, 411, 416, 501].includes(error.status)
}

function chunkRefusal(target: BlobSource): RegistryError {
  return new RegistryError('REGISTRY_PROTOCOL', `${target.registry} says that an upload has more bytes than were sent`, {
    status: 416,
  })
}
