/**
 * Opens archives as ADD does: tar, plain or compressed with gzip, bzip2, xz or zstd, known by content, never by name.
 *
 * Runs in a worker. Contents of files are staged under numbers in a directory; where they belong is the caller's affair.
 */
import { spawn } from 'node:child_process'
import { closeSync, createReadStream, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import { BuildError, systemCode } from '../core/errors.js'
import { fsPath } from '../core/path-bytes.js'
import { decompress } from '../layer/compress.js'
import { parseHeader } from '../layer/tar-fields.js'
import { type TarEntry, TarReader, type TarVisitor } from '../layer/tar-reader.js'

/** What to open, and where the files go. */
export interface ArchiveTask {
  readonly path: string
  /** An existing directory. */
  readonly stage: string
  /** The first number for staged files. */
  readonly firstNumber: number
}

/** One entry; `staged` is the number of its content. */
export type StagedEntry = TarEntry & { readonly staged: number | undefined }

/** The entries of an archive, or the reason why it is none or a damaged one. */
export type ArchiveAnswer =
  | { readonly kind: 'entries'; readonly entries: readonly StagedEntry[] }
  | { readonly kind: 'no-archive' }
  | { readonly kind: 'damaged'; readonly reason: string; readonly hint: string | undefined }

/** Unpacks one archive into the stage. Errors of this machine's disk are thrown. */
export async function stageArchive(task: ArchiveTask): Promise<ArchiveAnswer> {
  const stage = new Stage(task)
  let isTar = false
  let pending = Buffer.alloc(0)
  try {
    for await (const bytes of openArchive(task.path)) {
      let chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      if (!isTar) {
        pending = Buffer.concat([pending, chunk])
        if (pending.length < 512) continue
        if (!startsTar(pending)) return { kind: 'no-archive' }
        isTar = true
        chunk = pending
      }
      stage.push(chunk)
    }
    if (!isTar) return { kind: 'no-archive' }
    stage.finish()
    return { kind: 'entries', entries: stage.entries }
  } catch (error) {
    if (!(error instanceof BuildError)) throw error
    // What does not even decompress to one header is a file like any other, unless only a program is missing.
    if (!isTar && error.code !== 'COPY_BAD_ARCHIVE') return { kind: 'no-archive' }
    return { kind: 'damaged', reason: error.message, hint: error.hint }
  } finally {
    stage.close()
  }
}

/** True when the first block is a tar header with a right checksum. */
function startsTar(bytes: Buffer): boolean {
  try {
    return parseHeader(bytes.subarray(0, 512)) !== undefined
  } catch (error) {
    if (error instanceof BuildError) return false
    throw error
  }
}

function openArchive(path: string): AsyncIterable<Uint8Array> {
  const head = readHead(path)
  const starts = (...bytes: readonly number[]): boolean => bytes.every((byte, i) => head[i] === byte)
  if (starts(0x42, 0x5a, 0x68)) return programOutput('bzip2', path)
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return programOutput('xz', path)
  const file = createReadStream(fsPath(path), { highWaterMark: 256 << 10 })
  if (starts(0x1f, 0x8b)) return decompress(file, 'gzip')
  if (!starts(0x28, 0xb5, 0x2f, 0xfd)) return file
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 22 || (major === 22 && minor >= 15)) return decompress(file, 'zstd')
  file.destroy()
  return programOutput('zstd', path)
}

function readHead(path: string): Buffer {
  const head = Buffer.alloc(6)
  const fd = openSync(fsPath(path), 'r')
  try {
    readSync(fd, head, 0, head.length, 0)
  } finally {
    closeSync(fd)
  }
  return head
}

/** What `program -dc` makes of a file. The program ends when its output is not read to the end. */
async function* programOutput(program: string, path: string): AsyncGenerator<Uint8Array, void, void> {
  const input = openSync(fsPath(path), 'r')
  const child = spawn(program, ['-dc'], { stdio: [input, 'pipe', 'pipe'] })
  closeSync(input)
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) throw new Error('a pipe was asked for and not made')
  let message = ''
  stderr.on('data', (bytes: Buffer) => {
    if (message.length < 1000) message += bytes.toString()
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  // Awaited below; until then a missing program must not count as unhandled.
  ended.catch(() => undefined)
  try {
    yield* stdout as AsyncIterable<Uint8Array>
    const code = await ended
    if (code !== 0) throw new BuildError('LAYER_BAD_TAR', message.trim() || `${program} ended with exit code ${code}`)
  } catch (error) {
    throw systemCode(error) === 'ENOENT' ? missingProgram(program, error) : error
  } finally {
    child.kill('SIGKILL')
  }
}

function missingProgram(program: string, cause: unknown): BuildError {
  const packages: Readonly<Record<string, string>> = { xz: 'xz-utils' }
  return new BuildError('COPY_BAD_ARCHIVE', `it is compressed with ${program}, and the program ${program} is not installed`, {
    hint: `install the package ${packages[program] ?? program}, or use gzip`,
    cause,
  })
}

/** Writes the contents of an archive's files under numbers. */
class Stage implements TarVisitor {
  readonly entries: StagedEntry[] = []
  readonly #reader = new TarReader(this)
  readonly #task: ArchiveTask
  #number: number
  #file: { readonly fd: number; readonly size: number; written: number } | undefined

  constructor(task: ArchiveTask) {
    this.#task = task
    this.#number = task.firstNumber
  }

  push(chunk: Buffer): void {
    this.#reader.push(chunk)
  }

  finish(): void {
    this.#reader.finish()
  }

  entry(entry: TarEntry): void {
    const staged = entry.type === 'file' ? this.#number++ : undefined
    this.entries.push({ ...entry, staged })
    if (staged === undefined) return
    this.#file = { fd: openSync(`${this.#task.stage}/${staged}`, 'wx', 0o600), size: entry.size, written: 0 }
  }

  data(bytes: Buffer, offset: number): void {
    if (this.#file === undefined) return
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file.fd, bytes, at, bytes.length - at, offset + at)
    this.#file.written = offset + bytes.length
  }

  end(): void {
    if (this.#file !== undefined && this.#file.written < this.#file.size) ftruncateSync(this.#file.fd, this.#file.size)
    this.close()
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd)
    this.#file = undefined
  }
}
