/** Hashes files in bulk. Synchronous, for worker threads; the caller runs it itself when there is little to do. */
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { systemCode } from '../core/errors.js'
import { fsPath } from '../core/path-bytes.js'
import { xattrText } from './xattrs.js'

/** What to hash: host paths, and for each whether it has content to read. */
export interface HashRequest {
  readonly paths: readonly string[]
  readonly isFile: readonly boolean[]
}

/** The answer; numbers are indexes into the request. */
export interface HashAnswer {
  /** 32 bytes for each path; zeros where there is no content. */
  readonly digests: Uint8Array
  /** Those with extended attributes. */
  readonly xattrs: readonly (readonly [number, string])[]
  /** Those that could not be read, with the system's error code. */
  readonly failures: readonly (readonly [number, string])[]
}

const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Reads every file once: sha256 of its content, its extended attributes. */
export function hashEntries(request: HashRequest): HashAnswer {
  const digests = new Uint8Array(32 * request.paths.length)
  const xattrs: [number, string][] = []
  const failures: [number, string][] = []
  const buffer = Buffer.allocUnsafe(1 << 18)
  request.paths.forEach((path, i) => {
    try {
      if (request.isFile[i]) digests.set(hashFile(path, buffer), 32 * i)
      const attributes = xattrText(path)
      if (attributes !== '') xattrs.push([i, attributes])
    } catch (error) {
      const code = systemCode(error)
      if (code === undefined) throw error
      failures.push([i, code])
    }
  })
  return { digests, xattrs, failures }
}

function hashFile(path: string, buffer: Buffer): Buffer {
  const hash = createHash('sha256')
  const fd = openSync(fsPath(path), openFlags)
  try {
    for (;;) {
      const count = readSync(fd, buffer, 0, buffer.length, null)
      if (count > 0) hash.update(count === buffer.length ? buffer : buffer.subarray(0, count))
      if (count < buffer.length) break
    }
  } finally {
    closeSync(fd)
  }
  return hash.digest()
}
