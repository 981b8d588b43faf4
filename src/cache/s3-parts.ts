/**
 * Large objects in parts: uploads that keep a few parts in memory and never the whole.
 *
 * The SDK's own package for this brings stand-ins of Node's modules for browsers, and goes on sending after it was stopped.
 */
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { blocksOf } from './blocks.js'

/** Parts that are sent at once for one object. */
const window = 3
/** S3 takes no more parts of one object. */
const mostParts = 10_000
const abortTimeoutMs = 5_000

interface Target {
  readonly Bucket: string
  readonly Key: string
}

/** Uploads `size` bytes in parts of at least `leastPart` bytes. Ends when nothing of it runs any more. */
export async function putInParts(
  client: S3Client,
  target: Target,
  size: number,
  leastPart: number,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const partSize = Math.max(leastPart, Math.ceil(size / mostParts))
  await inParts(client, target, signal, async (uploadId, add) => {
    let number = 0
    for await (const part of blocksOf(bytes, partSize)) {
      number += 1
      const request = { ...target, UploadId: uploadId, PartNumber: number, Body: part }
      await add(async () => {
        const { ETag } = await client.send(new UploadPartCommand(request), { abortSignal: signal })
        return { PartNumber: request.PartNumber, ...(ETag === undefined ? {} : { ETag }) }
      })
    }
  })
}

type AddPart = (send: () => Promise<CompletedPart>) => Promise<void>

/** Opens an upload, sends what `feed` adds, a few at once, and completes it; what fails is aborted and leaves nothing. */
async function inParts(
  client: S3Client,
  target: Target,
  signal: AbortSignal,
  feed: (uploadId: string, add: AddPart) => Promise<void>,
): Promise<void> {
  const { UploadId: uploadId } = await client.send(new CreateMultipartUploadCommand(target), { abortSignal: signal })
  if (uploadId === undefined) throw new Error('S3 opened an upload without a name')
  const running = new Set<Promise<void>>()
  const parts: Promise<CompletedPart>[] = []
  const add: AddPart = async (send) => {
    const part = send()
    parts.push(part)
    let failure: { readonly error: unknown } | undefined
    const ended: Promise<void> = part.then(
      () => void running.delete(ended),
      (error: unknown) => {
        failure = { error }
        running.delete(ended)
      },
    )
    running.add(ended)
    if (running.size >= window) await Promise.race(running)
    if (failure !== undefined) throw failure.error
  }
  try {
    await feed(uploadId, add)
    const Parts = await Promise.all(parts)
    const whole = new CompleteMultipartUploadCommand({ ...target, UploadId: uploadId, MultipartUpload: { Parts } })
    await client.send(whole, { abortSignal: signal })
  } catch (error) {
    await Promise.allSettled(parts)
    // Not with the signal, which may be what ended this. Where nobody listens any more a rule of the bucket has to clean up.
    const abort = new AbortMultipartUploadCommand({ ...target, UploadId: uploadId })
    await Promise.allSettled([client.send(abort, { abortSignal: AbortSignal.timeout(abortTimeoutMs) })])
    throw error
  }
}
