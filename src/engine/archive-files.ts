/**
 * The files of an image archive, read in one pass: large ones go straight to the store's blobs, small ones stay in memory.
 *
 * The archive may be hostile: names are only compared, never opened; the number of entries and the memory are bounded; a
 * file named by a digest must have it.
 */

import { createReadStream, statSync } from 'node:fs'
import { join, posix } from 'node:path'
import type { Readable } from 'node:stream'
import { awaitedLater } from '../core/awaited.js'
import { type Digest, digestOf, parseDigest } from '../core/digest.js'
import { BuildError, systemCode } from '../core/errors.js'
import { collect } from '../io/stream.js'
import { openPeeked, peekArchive } from '../layer/open-archive.js'
import type { Blobs } from '../store/types.js'

/** A file that is a blob of the store now. */
export interface StoredFile {
  readonly digest: Digest
  readonly size: number
}

/** Files by their path in the archive. */
export interface ArchiveFiles {
  /** A small file, or undefined when there is none of that name. */
  read(path: string): Promise<Buffer | undefined>
  /** Puts a file into the store's blobs, if it is not there yet. */
  store(path: string): Promise<StoredFile | undefined>
}

const entryLimit = 50_000
const smallBytes = 4 << 20
const memoryBytes = 256 << 20

/** Reads an archive: a tar (plain or compressed) as a file or stream, or the directory of a layout. */
export async function openArchive(source: string | Readable, blobs: Blobs, signal: AbortSignal): Promise<ArchiveFiles> {
  if (typeof source !== 'string') return readTar(source, blobs, signal)
  const stats = statSync(source, { throwIfNoEntry: false })
  if (stats === undefined) throw new BuildError('ARCHIVE_BAD', `there is no file ${source}`)
  return stats.isDirectory() ? directoryFiles(source, blobs, signal) : readTar(createReadStream(source), blobs, signal)
}

function directoryFiles(root: string, blobs: Blobs, signal: AbortSignal): ArchiveFiles {
  const bytesOf = (path: string): AsyncIterable<Uint8Array> => createReadStream(join(root, posix.join('/', path)))
  const ifThere = async <T>(work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined
      throw error
    }
  }
  return {
    read: (path) => ifThere(readSmall(bytesOf(path), path)),
    store: (path) => ifThere(writeBlob(path, bytesOf(path), blobs, signal)),
  }
}

async function readSmall(bytes: AsyncIterable<Uint8Array>, path: string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of bytes) {
    size += chunk.length
    if (size > smallBytes) throw new BuildError('ARCHIVE_BAD', `"${path}" of the archive is larger than ${smallBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

async function readTar(source: Readable, blobs: Blobs, signal: AbortSignal): Promise<ArchiveFiles> {
  const small = new Map<string, Buffer>()
  const stored = new Map<string, StoredFile>()
  const links = new Map<string, string>()
  const target = (path: string): string => links.get(clean(path)) ?? clean(path)
  await readEntries(source, { small, stored, links }, blobs, signal)
  return {
    async read(path) {
      const found = small.get(target(path))
      const blob = stored.get(target(path))
      if (found !== undefined || blob === undefined) return found
      return blobs.read(blob, smallBytes)
    },
    async store(path) {
      const blob = stored.get(target(path))
      const bytes = small.get(target(path))
      if (blob !== undefined || bytes === undefined) return blob
      checkName(path, digestOf(bytes))
      return { digest: blobs.writeBytes(bytes), size: bytes.length }
    },
  }
}

interface Collected {
  readonly small: Map<string, Buffer>
  readonly stored: Map<string, StoredFile>
  readonly links: Map<string, string>
}

async function readEntries(source: Readable, into: Collected, blobs: Blobs, signal: AbortSignal): Promise<void> {
  const { default: tarStream } = await import('tar-stream')
  const tar = tarStream.extract()
  const { pipeline } = await import('node:stream/promises')
  // A rejection comes out of the loop as well, and earlier.
  const feeding = awaitedLater(pipeline(openPeeked(await peekArchive(source)), tar, { signal }))
  let entries = 0
  let memory = 0
  try {
    for await (const entry of tar) {
      const { name, type, linkname, size = 0 } = entry.header
      if (++entries > entryLimit) throw new BuildError('ARCHIVE_BAD', `the archive has more than ${entryLimit} entries`)
      const path = clean(name)
      if ((type === 'symlink' || type === 'link') && linkname) {
        const base = type === 'symlink' ? posix.dirname(path) : ''
        into.links.set(path, clean(posix.join(base, linkname)))
      } else if (type === 'file' || type === 'contiguous-file') {
        if (size <= smallBytes) {
          memory += size
          if (memory > memoryBytes) throw new BuildError('ARCHIVE_BAD', 'the archive has too many small files to be an image')
          into.small.set(path, await collect(entry as AsyncIterable<Uint8Array>))
          continue
        }
        into.stored.set(path, await writeBlob(path, entry as AsyncIterable<Uint8Array>, blobs, signal))
      }
      entry.resume()
    }
    await feeding
  } catch (error) {
    signal.throwIfAborted()
    throw badTar(error)
  }
}

function writeBlob(path: string, bytes: AsyncIterable<Uint8Array>, blobs: Blobs, signal: AbortSignal): Promise<StoredFile> {
  const digest = digestInName(path)
  return blobs.write(bytes, digest === undefined ? undefined : { digest }, signal)
}

/** `blobs/sha256/<hex>` of layouts says what the file must be. */
function digestInName(path: string): Digest | undefined {
  const match = /(?:^|\/)blobs\/sha256\/([0-9a-f]{64})$/.exec(clean(path))
  return match === null ? undefined : parseDigest(`sha256:${match[1]}`)
}

function checkName(path: string, digest: Digest): void {
  const said = digestInName(path)
  if (said !== undefined && said !== digest) {
    throw new BuildError('STORE_DIGEST_MISMATCH', `"${path}" of the archive has the digest ${digest}`)
  }
}

function clean(path: string): string {
  return posix.join('/', path).slice(1)
}

/** tar-stream throws plain errors for what is no tar. */
function badTar(error: unknown): unknown {
  if (error instanceof BuildError || systemCode(error) !== undefined) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new BuildError('ARCHIVE_BAD', `the archive cannot be read: ${reason.toLowerCase()}`, {
    hint: 'give a tar made by "docker save", "podman save" or "mille save", or an OCI layout',
    cause: error,
  })
}
