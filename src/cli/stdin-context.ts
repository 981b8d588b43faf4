/**
 * `mille build -`: what comes on stdin is a tar with the context, or else a Dockerfile, as docker tells them apart.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { BuildError, systemCode, UsageError } from '../core/errors.js'
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
const closedEarly: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE'])

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
    const program = programFor(head)
    const tar = program === undefined ? decompress(all, 'detect') : throughProgram(program, all)
    await applyLayer(tar, directory, { form: 'plain' }, signal)
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

/** gzip, zstd, bzip2, xz, or a tar header with its magic. */
function isArchive(head: Buffer): boolean {
  const hex = head.subarray(0, 4).toString('hex')
  return (
    programFor(head) !== undefined ||
    ['1f8b', '28b52ffd'].some((magic) => hex.startsWith(magic)) ||
    head.subarray(magicAt, magicAt + 5).toString('latin1') === 'ustar'
  )
}

/** The program that decompresses what Node cannot. */
function programFor(head: Buffer): 'bzip2' | 'xz' | undefined {
  const hex = head.subarray(0, 6).toString('hex')
  if (hex.startsWith('425a68')) return 'bzip2'
  return hex === 'fd377a585a00' ? 'xz' : undefined
}

/** What `program -dc` makes of the bytes. */
async function* throughProgram(
  program: 'bzip2' | 'xz',
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  const child = spawn(program, ['-dc'], { stdio: ['pipe', 'pipe', 'pipe'] })
  let message = ''
  child.stderr.on('data', (text: Buffer) => {
    if (message.length < 1000) message += text.toString()
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  // Awaited below; until then a missing program must not count as unhandled.
  ended.catch(() => undefined)
  const fed = pipeline(Readable.from(bytes), child.stdin).then(
    () => undefined,
    (error: unknown) => error,
  )
  try {
    yield* child.stdout as AsyncIterable<Uint8Array>
    const [code, broken] = await Promise.all([ended, fed])
    // A program that stops early closes its stdin: then its own message says why.
    if (broken !== undefined && !closedEarly.has(systemCode(broken) ?? '')) throw broken
    if (code !== 0) throw new BuildError('LAYER_BAD_TAR', message.trim() || `${program} ended with exit code ${code}`)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    throw new UsageError(
      'USAGE_BAD_ARGUMENT',
      `the context on stdin is compressed with ${program}, and the program ${program} is not installed`,
      { hint: `install the package ${program === 'xz' ? 'xz-utils' : program}, or use gzip`, cause: error },
    )
  } finally {
    child.kill('SIGKILL')
  }
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
