/**
 * Fetches blobs: several at once, resumed after a cut, never more bytes than were promised.
 *
 * The bytes are hashed once, by the one who stores them (`Blobs.write` does); `readBlob` is for those who do not store.
 */
import type { Context } from '../core/context.js'
import { type Descriptor, isForeign } from '../core/descriptor.js'
import { type Digest, finishLike, hashLike } from '../core/digest.js'
import { RegistryError, StoreError } from '../core/errors.js'
import { type BlobSource, blobRequest } from './blob-request.js'
import { askedOf, bodyOf, discard, type RegistryClient } from './client.js'
import { TransientRegistryError } from './errors.js'
import { blobItem, reportSkipped, TransferProgress } from './progress.js'
import { wrongDigest } from './resolve.js'
import { Retries } from './retry.js'
import { together } from './together.js'
import type { WireResponse } from './transport.js'

/** Where pulled blobs go. `writeBlob` must check size and digest, as `Blobs.write` of the store does. */
export interface PullPorts {
  readonly hasBlob: (digest: Digest) => boolean | Promise<boolean>
  readonly writeBlob: (bytes: AsyncIterable<Uint8Array>, blob: Descriptor, signal: AbortSignal) => Promise<unknown>
}

/**
 * Fetches all blobs that are missing, as many at once as the client has transfers. One that cannot be had stops the others;
 * when this settles none is running any more. `progressId` is the vertex or command in progress events.
 */
export async function pullBlobs(
  client: RegistryClient,
  source: BlobSource,
  blobs: readonly Descriptor[],
  ports: PullPorts,
  progressId: string,
  ctx: Context,
): Promise<void> {
  const distinct = [...new Map(blobs.map((blob) => [blob.digest, blob])).values()]
  await together(ctx, distinct, (blob, inner) =>
    client.transfer(async () => {
      inner.signal.throwIfAborted()
      if (await ports.hasBlob(blob.digest)) reportSkipped(inner, progressId, blob, 'already exists')
      else await fetchBlob(client, source, blob, ports.writeBlob, progressId, inner)
    }),
  )
}

/** Fetches one blob into `writeBlob`. Wrong bytes are REGISTRY_DIGEST_MISMATCH, whoever noticed. */
export async function fetchBlob(
  client: RegistryClient,
  source: BlobSource,
  blob: Descriptor,
  writeBlob: PullPorts['writeBlob'],
  progressId: string,
  ctx: Context,
): Promise<void> {
  const progress = new TransferProgress(ctx, progressId, blobItem(blob), blob.size)
  try {
    await writeBlob(blobBytes(client, source, blob, progress, ctx), blob, ctx.signal)
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'STORE_DIGEST_MISMATCH') throw error
    throw new RegistryError('REGISTRY_DIGEST_MISMATCH', `${source.registry} sent wrong bytes: ${error.message}`, { cause: error })
  }
  progress.done()
}

/** The bytes of a blob, size and digest checked: an error comes in place of the end when they are not the ones. */
export async function* readBlob(
  client: RegistryClient,
  source: BlobSource,
  blob: Descriptor,
  ctx: Context,
): AsyncGenerator<Uint8Array, void, void> {
  yield* verified(blobBytes(client, source, blob, undefined, ctx), blob, source.registry)
}

/** Bytes from a registry, with an error in place of the end when their digest is not the blob's. */
export async function* verified(
  bytes: AsyncIterable<Uint8Array>,
  blob: Descriptor,
  registry: string,
): AsyncGenerator<Uint8Array, void, void> {
  const hash = hashLike(blob.digest)
  for await (const chunk of bytes) {
    hash.update(chunk)
    yield chunk
  }
  const digest = finishLike(blob.digest, hash)
  if (digest !== blob.digest) throw wrongDigest(registry, 'blob', blob.digest, digest)
}

/** Exactly `blob.size` bytes. After a cut connection it goes on where it stopped. */
async function* blobBytes(
  client: RegistryClient,
  source: BlobSource,
  blob: Descriptor,
  progress: TransferProgress | undefined,
  ctx: Context,
): AsyncGenerator<Uint8Array, void, void> {
  const retries = new Retries(client.retry, ctx)
  const elsewhere = isForeign(blob) ? (blob.urls ?? []).filter((url) => /^https?:/.test(url) && URL.canParse(url)) : []
  let from: URL | undefined
  let at = 0
  for (;;) {
    try {
      for await (const chunk of openAt(client, source, blob, { from, start: at }, ctx)) {
        if (chunk.length === 0) continue
        retries.progressed()
        at += chunk.length
        progress?.moved(at)
        yield chunk
      }
      return
    } catch (error) {
      // A layer that the registry was not allowed to have is where its urls say.
      const next = at === 0 && isNotThere(error) ? elsewhere.shift() : undefined
      if (next === undefined) await retries.pause(error)
      else from = new URL(next)
    }
  }
}

function isNotThere(error: unknown): boolean {
  return error instanceof RegistryError && (error.status === 404 || error.status === 403)
}

/** Where a try begins: at which byte, and at which URL if not at the registry. */
interface Start {
  readonly from: URL | undefined
  readonly start: number
}

/** One try from byte `start` on. Ends only when the blob is whole; too few bytes are a passing error, too many are not. */
async function* openAt(
  client: RegistryClient,
  source: BlobSource,
  blob: Descriptor,
  { from, start }: Start,
  ctx: Context,
): AsyncGenerator<Uint8Array, void, void> {
  if (start === blob.size && start > 0) return
  const own = blobRequest(source, blob, 'GET', start === 0 ? [200] : [200, 206, 416])
  const base = from === undefined ? own : { ...own, target: from }
  const request = start === 0 ? base : { ...base, headers: { range: `bytes=${start}-` } }
  const answer = await client.send(request, ctx)
  const asked = askedOf(request, answer.url)
  let skip = await bytesToSkip(source, answer, start, blob)
  let seen = start - skip
  for await (const chunk of bodyOf(asked, answer, ctx)) {
    seen += chunk.length
    if (seen > blob.size) throw wrongSize(source, blob, `more than ${blob.size}`)
    if (skip >= chunk.length) skip -= chunk.length
    else {
      yield skip === 0 ? chunk : chunk.subarray(skip)
      skip = 0
    }
  }
  if (seen < blob.size) {
    throw new TransientRegistryError(
      'REGISTRY_PROTOCOL',
      `${source.registry} sent ${seen} of the ${blob.size} bytes of blob ${blob.digest}`,
    )
  }
}

/** How many bytes of the answer came before: all of them when the registry sends the whole blob again. */
async function bytesToSkip(source: BlobSource, answer: WireResponse, start: number, blob: Descriptor): Promise<number> {
  if (start === 0) {
    const length = Number(answer.headers['content-length'] ?? blob.size)
    if (length === blob.size) return 0
    answer.body.destroy()
    throw wrongSize(source, blob, String(length))
  }
  if (answer.status === 200) return start
  const from = /^bytes (\d+)-/.exec(answer.headers['content-range'] ?? '')?.[1]
  if (answer.status === 206 && from !== undefined && Number(from) === start) return 0
  await discard(answer)
  throw new RegistryError('REGISTRY_PROTOCOL', `${source.registry} does not go on with blob ${blob.digest} at byte ${start}`)
}

function wrongSize(source: BlobSource, blob: Descriptor, got: string): RegistryError {
  return new RegistryError(
    'REGISTRY_DIGEST_MISMATCH',
    `${source.registry} has blob ${blob.digest} with ${got} bytes, its descriptor says ${blob.size}`,
  )
}
