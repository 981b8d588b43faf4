/**
 * Pushes an image: blobs first, several at once, then the manifest by digest or under its tags.
 *
 * Layers may be promises: those that are compressed go up while others are still being compressed.
 */
import { awaitedLater } from '../core/awaited.js'
import type { Context } from '../core/context.js'
import { type Descriptor, isForeign } from '../core/descriptor.js'
import { contradicts, type Digest, digestLike, digestOf, isContentDigest } from '../core/digest.js'
import { RegistryError } from '../core/errors.js'
import { familiarReference, type Reference } from '../core/reference.js'
import { repositoryScope } from './auth.js'
import type { RegistryClient } from './client.js'
import { reportSkipped } from './progress.js'
import { blobsOfTag, isMissingBlob, type ManifestParts } from './tag-blobs.js'
import { together } from './together.js'
import { bodyInMemory, type WireResponse } from './transport.js'
import {
  type ChunkPolicy,
  defaultChunkPolicy,
  type OpenBlob,
  openEmptyUpload,
  smallBlobBytes,
  type UploadOutcome,
  uploadBlob,
} from './upload.js'

/** A manifest or index as bytes. */
export interface ManifestBytes {
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/** An image to push. */
export interface PushRequest {
  /** With a tag it is pushed under this tag, with a digest (or neither) by digest. */
  readonly target: Reference
  /** Further tags in the same repository. */
  readonly moreTags: readonly string[]
  /** Layers and config, in any order. */
  readonly blobs: readonly (Descriptor | Promise<Descriptor>)[]
  /** Called once all blobs are known and there. */
  readonly manifest: () => ManifestBytes | Promise<ManifestBytes>
  /** How many of the blobs are sure to be new and small, known before they are made: their uploads are opened at once. */
  readonly newBlobs?: number
  readonly meanwhile?: Meanwhile
  /** In progress events. */
  readonly progressId: string
  readonly chunks?: ChunkPolicy
}

/** What can be done here while the registry has something to do. */
export interface Meanwhile {
  /** All bytes of blobs are on their way. */
  readonly blobsSent?: () => void | Promise<void>
  /** All blobs are in the registry, and it takes the manifest. */
  readonly manifestSent?: () => void | Promise<void>
}

/** What the push needs of the store. */
export interface PushPorts {
  readonly openBlob: OpenBlob
  /** Repositories (`registry/repository`) that are known to have the blob. */
  readonly mountSources: (blob: Descriptor) => readonly string[]
  /** For `blobsOfTag`; absent, each blob is asked for. */
  readonly partsOf?: ManifestParts
  /** True for a blob that was made here and is in no registry yet, as far as is known; none. */
  readonly isNew?: (blob: Descriptor) => boolean
}

/** What was done. `descriptor` is of the manifest that was pushed. */
export interface PushResult {
  readonly descriptor: Descriptor
  readonly uploaded: number
  readonly mounted: number
  readonly existed: number
  /** Bytes of the uploaded blobs. */
  readonly uploadedBytes: number
  /** The registry said that it lists the manifest among the referrers of its subject. */
  readonly isReferrer: boolean
}

/** Pushes one image. One blob that fails stops the rest, and no manifest is pushed then. */
export async function pushImage(
  client: RegistryClient,
  request: PushRequest,
  ports: PushPorts,
  ctx: Context,
): Promise<PushResult> {
  const listed = listedBlobs(client, request.target, ports, ctx)
  try {
    return await pushOnce(client, request, ports, listed.has, ctx)
  } catch (error) {
    if (!listed.isRelied() || !isMissingBlob(error)) throw error
    const { isNew: _, ...asking } = ports
    return pushOnce(client, { ...request, newBlobs: 0 }, asking, async () => false, ctx)
  }
}

/** Says which blobs are there because the tag's image has them. The registry is asked once, when it may well be so. */
function listedBlobs(
  client: RegistryClient,
  target: Reference,
  { mountSources, partsOf }: PushPorts,
  ctx: Context,
): { readonly has: (blob: Descriptor) => Promise<boolean>; readonly isRelied: () => boolean } {
  let asked: Promise<ReadonlySet<Digest>> | undefined
  let isRelied = false
  const source = `${target.registry}/${target.repository}`
  return {
    isRelied: () => isRelied,
    async has(blob) {
      if (partsOf === undefined || target.tag === undefined || !mountSources(blob).includes(source)) return false
      asked ??= blobsOfTag(client, target, partsOf, ctx)
      const isListed = (await asked).has(blob.digest)
      isRelied ||= isListed
      return isListed
    },
  }
}

/** One go at a push. */
interface Attempt {
  readonly client: RegistryClient
  readonly request: PushRequest
  readonly ports: PushPorts
  readonly isListed: (blob: Descriptor) => Promise<boolean>
  /** Uploads that wait for the small new blobs. */
  readonly opened: Promise<URL>[]
}

async function pushOnce(
  client: RegistryClient,
  request: PushRequest,
  ports: PushPorts,
  isListed: Attempt['isListed'],
  ctx: Context,
): Promise<PushResult> {
  const { target, meanwhile, blobs, newBlobs = 0 } = request
  const opened = Array.from({ length: newBlobs }, () => awaitedLater(openEmptyUpload(client, target, ctx)))
  const attempt = { client, request, ports, isListed, opened }
  const counts = { uploaded: 0, mounted: 0, existed: 0, uploadedBytes: 0 }
  const claimed = new Set<string>()
  let besides: Promise<void> | undefined
  const countSent = afterCalls(blobs.length, () => {
    besides = awaitedLater(afterSending(meanwhile?.blobsSent))
  })
  try {
    await together(ctx, blobs, async (pending, inner) => {
      const onSending = atMostOnce(countSent)
      const blob = await orAborted(pending, inner.signal)
      // Foreign layers stay where their urls say; a layer that comes twice goes once.
      const isSent = claimed.has(blob.digest) || isForeign(blob)
      claimed.add(blob.digest)
      if (isSent) return onSending()
      const outcome = await bringBlob(blob, attempt, onSending, inner)
      onSending()
      counts[outcome] += 1
      if (outcome === 'uploaded') counts.uploadedBytes += blob.size
    })
  } catch (error) {
    // Nobody is left writing; what failed first is told.
    await Promise.allSettled([besides])
    throw error
  }
  const sending = sendManifest(client, target, request.moreTags, await request.manifest(), ctx)
  const [sent] = await Promise.all([sending, besides, afterSending(meanwhile?.manifestSent)])
  return { ...sent, ...counts }
}

/** Sees to it that the repository has a blob. `onSending` is called when its bytes are on their way. */
async function bringBlob(
  blob: Descriptor,
  { client, request, ports, isListed, opened }: Attempt,
  onSending: () => void,
  ctx: Context,
): Promise<UploadOutcome> {
  const { target, progressId, chunks = defaultChunkPolicy } = request
  const isNew = blob.size <= smallBlobBytes && ports.isNew?.(blob) === true
  if (!isNew && (await isListed(blob))) {
    reportSkipped(ctx, progressId, blob, 'already exists')
    return 'existed'
  }
  const known = { mountSources: ports.mountSources(blob), isNew, opened: isNew ? opened.pop() : undefined }
  const options = { openBlob: ports.openBlob, ...known, onSending, chunks, progressId }
  const upload = (): Promise<UploadOutcome> => {
    ctx.signal.throwIfAborted()
    return uploadBlob(client, target, blob, options, ctx)
  }
  // What is small needs no place among the transfers, and most pushes then need no queue.
  return isNew ? upload() : client.transfer(upload)
}

/** Pushes a manifest or index whose parts are in the repository already. */
export async function pushManifest(
  client: RegistryClient,
  target: Reference,
  moreTags: readonly string[],
  manifest: ManifestBytes,
  ctx: Context,
): Promise<Descriptor> {
  return (await sendManifest(client, target, moreTags, manifest, ctx)).descriptor
}

async function sendManifest(
  client: RegistryClient,
  target: Reference,
  moreTags: readonly string[],
  manifest: ManifestBytes,
  ctx: Context,
): Promise<Pick<PushResult, 'descriptor' | 'isReferrer'>> {
  const { bytes, mediaType } = manifest
  const digest = target.digest === undefined ? digestOf(bytes) : digestLike(target.digest, bytes)
  if (target.digest !== undefined && target.digest !== digest) {
    throw new RegistryError(
      'REGISTRY_DIGEST_MISMATCH',
      `${familiarReference(target)} was to be pushed, but the manifest is ${digest}`,
    )
  }
  const tags = [...new Set([...(target.tag === undefined ? [] : [target.tag]), ...moreTags])]
  let isReferrer = true
  for (const name of tags.length === 0 ? [digest] : tags) {
    const { headers } = await putManifest(client, target, name, manifest, ctx)
    isReferrer &&= headers['oci-subject'] !== undefined
  }
  return { descriptor: { mediaType, digest, size: bytes.length }, isReferrer }
}

/** A request is written before timers and immediates have their turn. */
async function afterSending(work: (() => void | Promise<void>) | undefined): Promise<void> {
  if (work === undefined) return
  await new Promise((resolve) => setImmediate(resolve))
  await work()
}

/** What to call so many times before `work` is done. */
function afterCalls(calls: number, work: () => void): () => void {
  let left = calls
  return () => {
    left -= 1
    if (left === 0) work()
  }
}

function atMostOnce(work: () => void): () => void {
  let isDone = false
  return () => {
    if (!isDone) work()
    isDone = true
  }
}

async function putManifest(
  client: RegistryClient,
  target: Reference,
  name: string,
  manifest: ManifestBytes,
  ctx: Context,
): Promise<WireResponse> {
  const { registry, repository } = target
  const { bytes, mediaType } = manifest
  const digest = isContentDigest(name) ? name : digestOf(bytes)
  const subject =
    name === digest ? familiarReference({ registry, repository, digest }) : familiarReference({ registry, repository, tag: name })
  const { answer } = await client.fetch(
    {
      registry,
      repository,
      method: 'PUT',
      target: `/v2/${repository}/manifests/${name}`,
      scopes: [repositoryScope(repository, 'pull,push')],
      accept: [200, 201, 202],
      subject,
      headers: { 'content-type': mediaType },
      body: bodyInMemory(bytes),
    },
    64 * 1024,
    ctx,
  )
  const said = answer.headers['docker-content-digest']
  if (typeof said === 'string' && contradicts(said, digest)) {
    throw new RegistryError('REGISTRY_DIGEST_MISMATCH', `${registry} stored ${said} for ${subject}, sent was ${digest}`)
  }
  return answer
}

/** A layer that is still being made holds up nobody once another blob has failed. */
async function orAborted<T>(pending: T | Promise<T>, signal: AbortSignal): Promise<T> {
  let stop: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([pending, aborted])
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop)
  }
}
