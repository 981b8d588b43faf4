/**
 * `mille build -`: what comes on stdin is a tar with the context, or else a Dockerfile, as docker tells them apart.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UsageError } from '../core/errors.js'
import type { DockerfileSource } from '../engine/options.js'
import { collect, limited } from '../io/stream.js'

/** A context that was read; disposing it removes the directory it was unpacked to. */
export interface StdinContext extends AsyncDisposable {
  readonly directory: string
  /** Set when stdin was a Dockerfile; the directory is empty then. */
  readonly dockerfile: DockerfileSource | undefined
}

const dockerfileLimit = 4 << 20
const dockerfileName = 'the Dockerfile on stdin'
const magicAt = 257

/** Reads a context from stdin. */
export async function readStdinContext(stdin: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<StdinContext> {
  const directory = await mkdtemp(join(tmpdir(), 'mille-context-'))
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true })
  try {
    const { head, all } = await peek(stdin)
    if (head.length === 0) throw new UsageError('USAGE_BAD_ARGUMENT', 'the context is -, but nothing came on stdin')
    if (!isArchive(head)) {
      const text = (await collect(limited(all, dockerfileLimit, 'USAGE_BAD_ARGUMENT', dockerfileName))).toString('utf8')
      return { directory, dockerfile: { name: 'Dockerfile', text }, [Symbol.asyncDispose]: remove }
    }
    const [{ applyLayer }, { decompress }] = await Promise.all([import('../layer/apply.js'), import('../layer/compress.js')])
    await applyLayer(decompress(all, 'detect'), directory, { form: 'plain' }, signal)
    return { directory, dockerfile: undefined, [Symbol.asyncDispose]: remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/** The Dockerfile of `-f -`. */
export async function readStdinDockerfile(stdin: AsyncIterable<Uint8Array>): Promise<DockerfileSource> {
  return {
    name: 'Dockerfile',
    text: (await collect(limited(stdin, dockerfileLimit, 'USAGE_BAD_ARGUMENT', dockerfileName))).toString('utf8'),
  }
}

/** gzip, zstd, or a tar header with its magic. */
function isArchive(head: Buffer): boolean {
  const hex = head.subarray(0, 6).toString('hex')
  if (hex.startsWith('425a68') || hex === 'fd377a585a00') {
    throw new UsageError(
      'USAGE_BAD_ARGUMENT',
      'the context on stdin is compressed with bzip2 or xz, which is not supported yet',
      {
        hint: 'decompress it in the pipe: xz -d < context.tar.xz | mille build -',
      },
    )
  }
  return (
    ['1f8b', '28b52ffd'].some((magic) => hex.startsWith(magic)) ||
    head.subarray(magicAt, magicAt + 5).toString('latin1') === 'ustar'
  )
}

/** The first bytes, at least a tar header's where there are as many, and the whole. */
async function peek(
  bytes: AsyncIterable<Uint8Array>,
): Promise<{ readonly head: Buffer; readonly all: AsyncGenerator<Uint8Array, void, void> }> {
  const iterator = bytes[Symbol.asyncIterator]()
  const chunks: Uint8Array[] = []
  let ended = false
  for (let size = 0; size < 512 && !ended; ) {
    const next = await iterator.next()
    ended = next.done === true
    if (next.done === true) break
    chunks.push(next.value)
    size += next.value.length
  }
  async function* all(): AsyncGenerator<Uint8Array, void, void> {
    yield* chunks
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value
  }
  return { head: Buffer.concat(chunks), all: all() }
}
