/**
 * The bytes of a blob from a place that serves objects by their name: exactly as many as its descriptor says, and after a cut
 * from where it stopped. What the bytes are is checked by `readVerified`, or by whoever stores them.
 */
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import { digestOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { collect, limited } from '../io/stream.js'
import { TransientRegistryError } from '../registry/errors.js'
import { blobItem, TransferProgress } from '../registry/progress.js'
import { Retries, type RetryPolicy } from '../registry/retry.js'
import type { WriteBlob } from './backend.js'

/** A place of objects, as a reader sees it. */
export interface ObjectReader {
  /** As the user wrote it, for messages. */
  readonly name: string
  readonly retry: RetryPolicy
  /** The bytes from a byte on. A `TransientRegistryError`, now or while they come, is worth another try. */
  open(blob: Descriptor, from: number, ctx: Context): Promise<AsyncIterable<Uint8Array>>
}

/** A small blob, verified. @throws BuildError CACHE_BAD; that of the place */
export async function readVerified(reader: ObjectReader, blob: Descriptor, limitBytes: number, ctx: Context): Promise<Buffer> {
  const bytes = await collect(
    limited(blobBytes(reader, blob, undefined, ctx), limitBytes, 'CACHE_BAD', `blob ${blob.digest} of the cache`),
  )
  if (digestOf(bytes) !== blob.digest) throw new BuildError('CACHE_BAD', `blob ${blob.digest} in ${reader.name} is damaged`)
  return bytes
}

/** Hands a blob to `write`, which verifies it, and reports its way. */
export async function fetchInto(
  reader: ObjectReader,
  blob: Descriptor,
  write: WriteBlob,
  progressId: string,
  ctx: Context,
): Promise<void> {
  const progress = new TransferProgress(ctx, progressId, blobItem(blob), blob.size)
  await write(blobBytes(reader, blob, progress, ctx), blob, ctx.signal)
  progress.done()
}

async function* blobBytes(
  reader: ObjectReader,
  blob: Descriptor,
  progress: TransferProgress | undefined,
  ctx: Context,
): AsyncGenerator<Uint8Array, void, void> {
  const retries = new Retries(reader.retry, ctx)
  let at = 0
  for (;;) {
    try {
      for await (const chunk of await reader.open(blob, at, ctx)) {
        if (chunk.length === 0) continue
        at += chunk.length
        if (at > blob.size)
          throw new BuildError('CACHE_BAD', `blob ${blob.digest} in ${reader.name} has more than its ${blob.size} bytes`)
        retries.progressed()
        progress?.moved(at)
        yield chunk
      }
      if (at === blob.size) return
      throw new TransientRegistryError(
        'CACHE_BAD',
        `blob ${blob.digest} in ${reader.name} ended after ${at} of its ${blob.size} bytes`,
      )
    } catch (error) {
      await retries.pause(error)
    }
  }
}
