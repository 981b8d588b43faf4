/**
 * Opens archives as ADD does: tar, plain or compressed with gzip, bzip2, xz or zstd, known by content, never by name.
 *
 * Runs in a worker. Contents of files are staged under numbers in a directory; where they belong is the caller's affair.
 */
import { closeSync, createReadStream, ftruncateSync, openSync, writeSync } from 'node:fs'
import { BuildError } from '../core/errors.js'
import { fsPath } from '../core/path-bytes.js'
import { openPeeked, peekArchive, startsTar } from '../layer/open-archive.js'
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
    const file = createReadStream(fsPath(task.path), { highWaterMark: 256 << 10 })
    for await (const bytes of openPeeked(await peekArchive(file))) {
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
