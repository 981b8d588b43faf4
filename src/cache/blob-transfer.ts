/** What uploads and downloads of blobs to places of objects have in common. */
import type { Descriptor } from '../core/descriptor.js'
import { hexOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { hashing } from '../io/stream.js'
import type { TransferProgress } from '../registry/progress.js'

/** Runs so many pieces of work at once. */
export type TransferQueue = Promise<{ add<T>(work: () => Promise<T>): Promise<T> }>

/** A queue for `concurrency` transfers. */
export async function openQueue(concurrency: number): TransferQueue {
  const { default: Queue } = await import('p-queue')
  return new Queue({ concurrency })
}

/** The bytes of a blob, reported on their way. Where they are others, an error comes in place of the end. */
export async function* checkedBlob(
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
