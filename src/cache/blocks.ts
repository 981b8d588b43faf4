/** Streams of bytes in pieces of another size. */

/** Buffers of `size` bytes, and a last one with the rest. */
export async function* blocksOf(bytes: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Buffer, void, void> {
  let waiting: Uint8Array[] = []
  let held = 0
  for await (const chunk of bytes) {
    let from = 0
    while (held + chunk.length - from >= size) {
      const end = from + size - held
      yield Buffer.concat([...waiting, chunk.subarray(from, end)])
      waiting = []
      held = 0
      from = end
    }
    if (from < chunk.length) waiting.push(chunk.subarray(from))
    held += chunk.length - from
  }
  if (held > 0) yield Buffer.concat(waiting)
}

/** Leaves the first `count` bytes out: for servers that send the whole when asked for a part. */
export async function* skipBytes(bytes: AsyncIterable<Uint8Array>, count: number): AsyncGenerator<Uint8Array, void, void> {
  let skip = count
  for await (const chunk of bytes) {
    if (skip < chunk.length) yield chunk.subarray(skip)
    skip = Math.max(0, skip - chunk.length)
  }
}

/** Bytes that are in memory. */
export async function* oneBlock(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes
}
