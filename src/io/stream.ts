/** Small pieces for streams of bytes: count, limit, hash. Bytes pass through unchanged. */

import { createHash } from 'node:crypto'
import { awaitedLater } from '../core/awaited.js'
import { BuildError, type ErrorCode } from '../core/errors.js'

/** What `hashing` knows once its stream has ended. */
export interface StreamDigest {
  readonly hex: string
  readonly size: number
}

/** Passes bytes on and hashes them; `onEnd` is called with sha256 (hex) and size after the last byte. */
export async function* hashing(
  bytes: AsyncIterable<Uint8Array>,
  onEnd: (digest: StreamDigest) => void,
): AsyncGenerator<Uint8Array, void, void> {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of bytes) {
    hash.update(chunk)
    size += chunk.length
    yield chunk
  }
  onEnd({ hex: hash.digest('hex'), size })
}

/** Passes at most `limitBytes` on; one byte more is an error of the given code. `what` starts its sentence. */
export async function* limited(
  bytes: AsyncIterable<Uint8Array>,
  limitBytes: number,
  code: ErrorCode,
  what: string,
): AsyncGenerator<Uint8Array, void, void> {
  let size = 0
  for await (const chunk of bytes) {
    size += chunk.length
    if (size > limitBytes) throw new BuildError(code, `${what} is larger than ${limitBytes.toLocaleString('en')} bytes`)
    yield chunk
  }
}

/** All bytes in one buffer; for small things that were limited before. */
export async function collect(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bytes) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/**
 * Passes bytes on until the signal aborts, also while none come: whoever sends them may never end.
 *
 * @throws the signal's reason
 */
export async function* untilAborted(
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  signal.throwIfAborted()
  const iterator = bytes[Symbol.asyncIterator]()
  let abort: (() => void) | undefined
  // Between two races nobody listens.
  const aborted = awaitedLater(
    new Promise<never>((_, reject) => {
      abort = () => reject(signal.reason)
      signal.addEventListener('abort', abort)
    }),
  )
  let ended = false
  try {
    while (!ended) {
      const next = await Promise.race([iterator.next(), aborted])
      ended = next.done === true
      if (next.done !== true) yield next.value
    }
  } finally {
    if (abort !== undefined) signal.removeEventListener('abort', abort)
    const returned = ended ? undefined : iterator.return?.()
    // Not awaited after an abort: a source that waits for bytes answers this when they come. The reason of the abort is thrown,
    // and what a source says that was given up for it is a consequence.
    if (signal.aborted) void Promise.allSettled([returned])
    else await returned
  }
}
