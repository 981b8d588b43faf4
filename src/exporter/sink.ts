/**
 * Where an image's files are written: into a directory, or one after the other into a tar.
 *
 * Both give the same bytes each time: files in the order of the calls, owned by root, times 0. A tar file is written beside
 * its place and renamed when it is whole; a directory may be an OCI layout that is there already, to which blobs are added.
 */
import { createWriteStream, existsSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { BuildError, systemCode } from '../core/errors.js'
import { makeDirectories, outputPlace, randomName, readTextIfExists, writeFileAtomic } from '../io/fs.js'

/** One file: its path in the output, its size in bytes, its bytes when they are asked for. */
export interface SinkFile {
  readonly path: string
  readonly size: number
  readonly open: () => Readable
}

/** Takes files in order. `finish` makes the output visible; disposing without it removes what was half written. */
export interface Sink extends AsyncDisposable {
  file(file: SinkFile, signal: AbortSignal): Promise<void>
  /** The text of a file that was there before, for adding to it. */
  existing(path: string): string | undefined
  finish(): Promise<void>
}

/** A small file made of text. */
export function textFile(path: string, text: string): SinkFile {
  return { path, size: Buffer.byteLength(text), open: () => Readable.from([Buffer.from(text)]) }
}

/** Writes a stream to a file that is whole or not there. */
export async function writeFileFrom(path: string, bytes: Readable, signal: AbortSignal): Promise<void> {
  const temporary = `${path}.${randomName(8)}.tmp`
  try {
    makeDirectories(dirname(path))
    await pipeline(bytes, createWriteStream(temporary, { flags: 'wx' }), { signal })
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw placed(error, path)
  }
}

/** Writes a stream to the place that a person named. */
export async function writeOutputFrom(path: string, bytes: Readable, signal: AbortSignal): Promise<void> {
  const place = withPlace(path, () => outputPlace(path))
  if (place.kind === 'file') return writeFileFrom(place.path, bytes, signal)
  try {
    await pipeline(bytes, createWriteStream(place.path), { signal })
  } catch (error) {
    throw placed(error, path)
  }
}

/** Writes into a directory, which is made. A blob that is there already is left alone. */
export function openDirectorySink(directory: string): Sink {
  withPlace(directory, () => makeDirectories(directory))
  return {
    existing: (path) => readTextIfExists(join(directory, path)),
    async file({ path, open }, signal) {
      const target = join(directory, path)
      if (!path.startsWith('blobs/') || !existsSync(target)) await writeFileFrom(target, open(), signal)
    },
    finish: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  }
}

/** Writes a tar to the place that a person named; a file atomically. */
export async function openTarSink(named: string): Promise<Sink> {
  const place = withPlace(named, () => outputPlace(named))
  if (place.kind === 'stream') return openTarStream(createWriteStream(place.path), named)
  const { path } = place
  const temporary = `${path}.${randomName(8)}.tmp`
  withPlace(path, () => {
    makeDirectories(dirname(path))
    writeFileAtomic(temporary, '')
  })
  let finished = false
  const sink = await openTarStream(createWriteStream(temporary), path)
  return {
    ...sink,
    async finish() {
      await sink.finish()
      withPlace(path, () => renameSync(temporary, path))
      finished = true
    },
    async [Symbol.asyncDispose]() {
      if (finished) return
      await sink[Symbol.asyncDispose]()
      rmSync(temporary, { force: true })
    },
  }
}

/** Writes a tar to a stream (standard output). `name` is for messages. */
export async function openTarStream(output: NodeJS.WritableStream, name: string): Promise<Sink> {
  const { default: tar } = await import('tar-stream')
  const pack = tar.pack()
  const written = pipeline(pack, output)
  // The rejection is also delivered by file() and finish(); without a listener it would end the process before that.
  const failed = written.then(
    () => undefined,
    (error: unknown) => placed(error, name),
  )
  const orFailure = async (work: Promise<void>): Promise<void> => {
    const outcome = await Promise.race([work.then(() => undefined), failed.then((error) => ({ error }))])
    if (outcome?.error !== undefined) throw outcome.error
  }
  return {
    existing: () => undefined,
    file: ({ path, size, open }, signal) =>
      orFailure(
        (async () => {
          const entry = pack.entry({ name: path, size, mode: 0o644, mtime: new Date(0), uid: 0, gid: 0 })
          await pipeline(open(), entry, { signal })
        })(),
      ),
    async finish() {
      pack.finalize()
      const error = await failed
      if (error !== undefined) throw error
    },
    async [Symbol.asyncDispose]() {
      pack.destroy()
      await failed
    },
  }
}

function withPlace<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw placed(error, path)
  }
}

/** Names the output in errors of the system. */
function placed(error: unknown, path: string): unknown {
  switch (systemCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new BuildError('STORE_NO_SPACE', `no space left to write ${path}`, { cause: error })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new BuildError('EXPORT_FAILED', `not allowed to write ${path}`, { cause: error })
    case 'EISDIR':
      return new BuildError('EXPORT_FAILED', `${path} is a directory`, {
        hint: 'name a file, or write a directory with tar=false',
        cause: error,
      })
    case 'ENOTDIR':
    case 'EEXIST':
      return new BuildError('EXPORT_FAILED', `a file stands where ${path} needs a directory`, { cause: error })
    case 'ENOENT':
    case 'ELOOP':
    case 'ENXIO':
    case 'ENAMETOOLONG':
      return new BuildError('EXPORT_FAILED', `${path} cannot be written (${systemCode(error)})`, { cause: error })
    default:
      return error
  }
}
