/**
 * Content-addressed bytes: `blobs/sha256/<hex>`, complete and immutable (invariant 1).
 *
 * Written to a temporary name, hashed on the way, fsynced, renamed. Read with the hash checked: a blob that turns out
 * damaged is moved to `quarantine/`, so that it counts as missing and is fetched or made anew.
 */
import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { type Digest, digestFromHex, digestOf, hexOf } from '../core/digest.js'
import { StoreError, systemCode } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { writeFileAtomic, writeFileSynced } from '../io/fs.js'
import type { Session } from './session.js'
import type { Blobs } from './types.js'

type Wanted = { readonly digest: Digest; readonly size?: number }

const defaultReadLimit = 4 << 20
const readSize = 512 << 10
const smallSize = 64 << 10

/** The blobs of a store. */
export function openBlobs(session: Session): Blobs {
  const { layout } = session
  return {
    has(digest) {
      session.pin(`blob:${hexOf(digest)}`)
      const isThere = existsSync(layout.blob(digest))
      if (!isThere) session.unpin(`blob:${hexOf(digest)}`)
      return isThere
    },
    pathOf: (digest) => layout.blob(digest),
    open(blob) {
      const read = blob.size !== undefined && blob.size <= smallSize ? readWhole : readVerified
      return Readable.from(read(session, blob), { objectMode: false, highWaterMark: readSize })
    },
    read: async (blob, limitBytes = defaultReadLimit) => readBlob(session, blob, limitBytes),
    write: (bytes, expected, signal) => writeBlob(session, bytes, expected, signal),
    writeBytes: (bytes) => writeSmall(session, bytes),
    keepBytes: (bytes) => keepSmall(session, bytes),
    temporaryPath: () => session.lease().temporaryPath(),
    adopt: (path, digest) => adoptFile(session, path, digest),
  }
}

/** A small blob as bytes, verified. Throws STORE_BLOB_MISSING, STORE_SIZE_MISMATCH, STORE_DIGEST_MISMATCH. */
export function readBlob(session: Session, blob: Wanted, limitBytes = defaultReadLimit): Buffer {
  const path = session.layout.blob(blob.digest)
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats === undefined) throw missing(blob.digest, path)
  if (blob.size !== undefined && stats.size !== blob.size) throw wrongSize(session, blob, stats.size)
  if (stats.size > limitBytes) {
    throw new StoreError(
      'STORE_SIZE_MISMATCH',
      `blob ${blob.digest} has ${count(stats.size)}, at most ${count(limitBytes)} expected`,
      {
        digest: blob.digest,
        path,
      },
    )
  }
  const bytes = readFileSync(path)
  const found = digestOf(bytes)
  if (found !== blob.digest) throw wrongDigest(session, blob.digest, found)
  return bytes
}

/** A small blob in one piece. */
async function* readWhole(session: Session, blob: Wanted): AsyncGenerator<Buffer, void, void> {
  yield readBlob(session, blob)
}

async function* readVerified(session: Session, blob: Wanted): AsyncGenerator<Buffer, void, void> {
  const path = session.layout.blob(blob.digest)
  const file = await openToRead(path, blob.digest)
  const hash = createHash('sha256')
  let size = 0
  try {
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(readSize), 0, readSize, null)
      if (bytesRead === 0) break
      const chunk = buffer.subarray(0, bytesRead)
      hash.update(chunk)
      size += bytesRead
      if (blob.size !== undefined && size > blob.size) throw wrongSize(session, blob, (await file.stat()).size)
      yield chunk
    }
  } finally {
    await file.close()
  }
  if (blob.size !== undefined && size !== blob.size) throw wrongSize(session, blob, size)
  const found = digestFromHex(hash.digest('hex'))
  if (found !== blob.digest) throw wrongDigest(session, blob.digest, found)
}

async function openToRead(path: string, digest: Digest): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (error) {
    throw systemCode(error) === 'ENOENT' ? missing(digest, path) : error
  }
}

async function writeBlob(
  session: Session,
  bytes: AsyncIterable<Uint8Array>,
  expected: Wanted | undefined,
  signal: AbortSignal,
): Promise<{ readonly digest: Digest; readonly size: number }> {
  const temporary = session.lease().temporaryPath()
  const written = { size: 0 }
  try {
    const digest = await writeHashed(temporary, bytes, expected, signal, written)
    session.pin(`blob:${hexOf(digest)}`)
    place(session, temporary, digest)
    return { digest, size: written.size }
  } catch (error) {
    rmSync(temporary, { force: true })
    throw asStoreError(error, session.layout.folder('blobs/sha256'), expected?.size ?? written.size)
  }
}

async function writeHashed(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  expected: Wanted | undefined,
  signal: AbortSignal,
  written: { size: number },
): Promise<Digest> {
  const file = await open(path, 'wx', 0o644)
  const hash = createHash('sha256')
  try {
    for await (const chunk of bytes) {
      signal.throwIfAborted()
      written.size += chunk.length
      if (expected?.size !== undefined && written.size > expected.size) throw mismatchedInput(expected, written.size, true)
      const writing = writeAll(file, chunk)
      hash.update(chunk)
      await writing
    }
    signal.throwIfAborted()
    if (expected?.size !== undefined && written.size !== expected.size) throw mismatchedInput(expected, written.size, false)
    const digest = digestFromHex(hash.digest('hex'))
    if (expected !== undefined && digest !== expected.digest) {
      throw new StoreError('STORE_DIGEST_MISMATCH', `the bytes for blob ${expected.digest} have the digest ${digest}`, {
        digest: expected.digest,
        hint: 'they were damaged on the way: try again',
      })
    }
    await file.datasync()
    return digest
  } finally {
    await file.close()
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at)).bytesWritten
}

function mismatchedInput(expected: Wanted, size: number, isMore: boolean): StoreError {
  const found = `${isMore ? 'more than ' : ''}${count(isMore ? (expected.size ?? 0) : size)}`
  return new StoreError(
    'STORE_SIZE_MISMATCH',
    `blob ${expected.digest} came with ${found}, its descriptor says ${count(expected.size ?? 0)}`,
    {
      digest: expected.digest,
      hint: 'it was cut short or changed on the way: try again',
    },
  )
}

function writeSmall(session: Session, bytes: Uint8Array | string): Digest {
  const { digest, path } = placeFor(session, bytes)
  if (isSame(path, bytes)) return digest
  try {
    writeFileAtomic(path, bytes, { sync: true })
  } catch (error) {
    throw asStoreError(error, path, bytes.length)
  }
  noteSmall(session, bytes)
  return digest
}

async function keepSmall(session: Session, bytes: Uint8Array | string): Promise<Digest> {
  const { digest, path } = placeFor(session, bytes)
  if (isSame(path, bytes)) return digest
  try {
    await writeFileSynced(path, bytes)
  } catch (error) {
    throw asStoreError(error, path, bytes.length)
  }
  noteSmall(session, bytes)
  return digest
}

function placeFor(session: Session, bytes: Uint8Array | string): { readonly digest: Digest; readonly path: string } {
  const digest = digestOf(bytes)
  session.pin(`blob:${hexOf(digest)}`)
  return { digest, path: session.layout.blob(digest) }
}

/** A note for each manifest would cost more than it is worth. */
function noteSmall(session: Session, bytes: Uint8Array | string): void {
  if (bytes.length > smallSize) session.added(bytes.length)
}

/** A blob that was damaged is written anew: what is written this way is small enough to compare. */
function isSame(path: string, bytes: Uint8Array | string): boolean {
  const wanted = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
  return statSync(path, { throwIfNoEntry: false })?.size === wanted.length && readFileSync(path).equals(wanted)
}

function adoptFile(session: Session, path: string, digest: Digest): void {
  session.pin(`blob:${hexOf(digest)}`)
  try {
    const fd = openSync(path, 'r')
    try {
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    place(session, path, digest)
  } catch (error) {
    throw asStoreError(error, path)
  }
}

/** Gives a finished file its name. A blob that is there already has the same bytes: it is simply replaced. */
function place(session: Session, temporary: string, digest: Digest): void {
  mkdirSync(session.layout.folder('blobs/sha256'), { recursive: true })
  session.added(statSync(temporary).size)
  renameSync(temporary, session.layout.blob(digest))
}

function missing(digest: Digest, path: string): StoreError {
  return new StoreError('STORE_BLOB_MISSING', `blob ${digest} is not in the store`, { digest, path })
}

const damagedHint = 'run the command again: the damaged blob was moved aside and will be fetched or made anew'

/** A wrong size in a descriptor is not the blob's fault: it stays when its bytes are right. */
function wrongSize(session: Session, blob: Wanted, size: number): StoreError {
  const isSound = digestOfFile(session.layout.blob(blob.digest)) === blob.digest
  const path = isSound ? session.layout.blob(blob.digest) : quarantine(session, blob.digest)
  const message = `blob ${blob.digest} is ${count(size)}, its descriptor says ${count(blob.size ?? 0)}`
  return new StoreError('STORE_SIZE_MISMATCH', message, {
    digest: blob.digest,
    path,
    hint: isSound ? 'the blob is sound: the manifest that names it is wrong' : damagedHint,
  })
}

function digestOfFile(path: string): Digest {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(readSize)
  const fd = openSync(path, 'r')
  try {
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer)) hash.update(buffer.subarray(0, read))
  } finally {
    closeSync(fd)
  }
  return digestFromHex(hash.digest('hex'))
}

function wrongDigest(session: Session, digest: Digest, found: Digest): StoreError {
  const path = quarantine(session, digest)
  return new StoreError('STORE_DIGEST_MISMATCH', `blob ${digest} is damaged: its bytes have the digest ${found}`, {
    digest,
    path,
    hint: damagedHint,
  })
}

function count(bytes: number): string {
  return `${bytes.toLocaleString('en')} bytes`
}

/** Moves a damaged blob aside and returns where it is then. */
function quarantine(session: Session, digest: Digest): string {
  session.unpin(`blob:${hexOf(digest)}`)
  const path = session.layout.blob(digest)
  const aside = `${session.layout.folder('quarantine')}/${hexOf(digest)}-${randomBytes(4).toString('hex')}`
  try {
    mkdirSync(session.layout.folder('quarantine'), { recursive: true })
    renameSync(path, aside)
  } catch (error) {
    // Moved aside by another reader, or a store that is not ours to change.
    if (systemCode(error) === 'ENOENT') return path
    throw asStoreError(error, path)
  }
  return aside
}
