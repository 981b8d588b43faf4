/**
 * Opens what may be a compressed tar, known by its first bytes and never by a name: gzip, bzip2, xz, zstd, or plain.
 *
 * bzip2 and xz, and zstd where Node has none, go through the programs of these names.
 */

import { spawn } from 'node:child_process'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { awaitedLater } from '../core/awaited.js'
import { BuildError, systemCode } from '../core/errors.js'
import { decompress } from './compress.js'
import { parseHeader } from './tar-fields.js'
import { blockSize } from './tar-header.js'

/** Bytes whose beginning was looked at. */
export interface PeekedBytes {
  /** The first bytes: a tar header's at least, where there are as many. */
  readonly head: Buffer
  /** All bytes, the first ones too. */
  readonly all: AsyncGenerator<Uint8Array, void, void>
}

/** Reads as much as tells an archive from anything else. */
export async function peekArchive(bytes: AsyncIterable<Uint8Array>): Promise<PeekedBytes> {
  const iterator = bytes[Symbol.asyncIterator]()
  const chunks: Uint8Array[] = []
  for (let size = 0; size < blockSize; ) {
    const next = await iterator.next()
    if (next.done === true) break
    chunks.push(next.value)
    size += next.value.length
  }
  async function* all(): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* chunks
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value
    } finally {
      await iterator.return?.()
    }
  }
  return { head: Buffer.concat(chunks), all: all() }
}

type Program = 'bzip2' | 'xz' | 'zstd'

/** How bytes that begin so are compressed. */
function formOf(head: Buffer): 'gzip' | Program | undefined {
  const starts = (...bytes: readonly number[]): boolean => bytes.every((byte, i) => head[i] === byte)
  if (starts(0x1f, 0x8b)) return 'gzip'
  if (starts(0x42, 0x5a, 0x68)) return 'bzip2'
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return 'xz'
  return starts(0x28, 0xb5, 0x2f, 0xfd) ? 'zstd' : undefined
}

/** True for a compressed file, and for a first block that is a tar header with a right checksum. */
export function looksLikeArchive(head: Buffer): boolean {
  return formOf(head) !== undefined || startsTar(head)
}

/** True when the first block is a tar header with a right checksum. */
export function startsTar(head: Buffer): boolean {
  if (head.length < blockSize) return false
  try {
    return parseHeader(head.subarray(0, blockSize)) !== undefined
  } catch (error) {
    if (error instanceof BuildError) return false
    throw error
  }
}

/**
 * The bytes of the tar, or of whatever is compressed.
 *
 * @throws BuildError LAYER_TRUNCATED, LAYER_BAD_TAR for damaged input, COPY_BAD_ARCHIVE when a program is missing
 */
export function openPeeked({ head, all }: PeekedBytes): AsyncIterable<Uint8Array> {
  const form = formOf(head)
  if (form === undefined) return all
  if (form === 'gzip') return decompress(all, 'gzip')
  return form === 'zstd' && hasZstd() ? decompress(all, 'zstd') : throughProgram(form, all)
}

function hasZstd(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 15)
}

const closedEarly: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE'])

/** What `program -dc` makes of the bytes. The program ends when its output is not read to the end. */
async function* throughProgram(program: Program, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const child = spawn(program, ['-dc'], { stdio: ['pipe', 'pipe', 'pipe'] })
  let message = ''
  child.stderr.on('data', (text: Buffer) => {
    if (message.length < 1000) message += text.toString()
  })
  const ended = awaitedLater(
    new Promise<number | null>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', resolve)
    }),
  )
  const fed = pipeline(Readable.from(bytes, { objectMode: false }), child.stdin).then(
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
    throw systemCode(error) === 'ENOENT' ? missingProgram(program, error) : error
  } finally {
    child.kill('SIGKILL')
  }
}

function missingProgram(program: Program, cause: unknown): BuildError {
  return new BuildError('COPY_BAD_ARCHIVE', `it is compressed with ${program}, and the program ${program} is not installed`, {
    hint: `install the package ${program === 'xz' ? 'xz-utils' : program}, or use gzip`,
    cause,
  })
}
