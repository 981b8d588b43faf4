/** What uploads and downloads of blobs to places of objects have in common. */
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import { hexOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { hashing } from '../io/stream.js'
import { blobItem, reportSkipped, TransferProgress } from '../registry/progress.js'
import type { OpenBytes } from './backend.js'

/** Runs so many pieces of work at once. */
export type TransferQueue = Promise<{ add<T>(work: () => Promise<T>): Promise<T> }>

/** A queue for `concurrency` transfers. */
export async function openQueue(concurrency: number): TransferQueue {
  const { default: Queue } = await import('p-queue')
  return new Queue({ concurrency })
}

/** Sends a blob with `send`, reported on its way. */
export async function uploadBlob(
  blob: Descriptor,
  open: OpenBytes,
  progressId: string,
  send: (bytes: AsyncIterable<Uint8Array>) => Promise<void>,
  ctx: Context,
): Promise<'uploaded'> {
  const progress = new TransferProgress(ctx, progressId, blobItem(blob), blob.size)
  await send(checkedBlob(await open(), blob, progress))
  progress.done()
  return 'uploaded'
}

/** Says that a blob is not sent, for it is there. */
export function skipBlob(blob: Descriptor, progressId: string, ctx: Context): 'existed' {
  reportSkipped(ctx, progressId, blob, 'already exists')
  return 'existed'
}

/** The bytes of a blob, reported on their way. Where they are others, an error comes in place of the end. */
async function* checkedBlob(
  bytes: AsyncIterable<Uint8Array>,
  blob: Descriptor,
  progress: TransferProgress,
): AsyncGenerator<Uint8Array, void, void> {
  let found = { hex: '', size: 0 }
  let at = 0
  for await (const chunk of hashing(bytes, (digest) => {
    found = digest
  })) {
    at += chunk.length
    progress.moved(at)
    yield chunk
  }
  if (found.hex !== hexOf(blob.digest) || found.size !== blob.size)
    throw new BuildError(
      'CACHE_EXPORT_FAILED',
      `the ${found.size} bytes for blob ${blob.digest} have the digest sha256:${found.hex}`,
    )
}
