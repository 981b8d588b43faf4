/** Small pieces for streams of bytes: count, limit, hash. Bytes pass through unchanged. */
import { createHash } from 'node:crypto'
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
