/**
 * One file of a tar while its bytes arrive: made anew, never opened through a link. Long runs of zeros become holes.
 *
 * Owner, mode and time are set when all bytes are there.
 */
import { closeSync, constants, fchmodSync, fchownSync, ftruncateSync, futimesSync, openSync, writeSync } from 'node:fs'
import { fsPath } from '../core/path-bytes.js'
import type { TarEntry } from './tar-reader.js'

const createFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
/** Pieces of files that are looked at for being all zeros. */
const holeSize = 64 << 10
const zeros = Buffer.alloc(holeSize)

/** A file that is being written. `close` must be called, whatever happened. */
export class EntryFile {
  readonly entry: TarEntry
  readonly hostPath: string
  readonly #fd: number
  /** Where the last bytes that are no hole end. */
  #written = 0

  /** Makes the file. EEXIST is thrown as it is. */
  constructor(entry: TarEntry, hostPath: string) {
    this.entry = entry
    this.hostPath = hostPath
    this.#fd = openSync(fsPath(hostPath), createFlags, entry.mode & 0o777)
  }

  write(bytes: Buffer, offset: number): void {
    for (let at = 0; at < bytes.length; ) {
      const end = this.entry.size < holeSize ? bytes.length : Math.min(bytes.length, at + holeSize)
      const piece = bytes.subarray(at, end)
      const isHole = piece.length === holeSize && piece.equals(zeros)
      if (!isHole) this.#writePiece(piece, offset + at)
      at = end
    }
  }

  /** Sets length, owner and mode. `mask` has the bits that new files do not get by themselves. */
  finish(mask: number): void {
    const { size, uid, gid, mode } = this.entry
    if (this.#written < size) ftruncateSync(this.#fd, size)
    const isOwned = uid !== 0 || gid !== 0
    if (isOwned) fchownSync(this.#fd, uid, gid)
    // Giving a file away takes its setuid bit; the umask took others.
    if (isOwned || (mode & (mask | 0o7000)) !== 0) fchmodSync(this.#fd, mode)
  }

  /** Sets the time; to be called last. */
  setTime(time: number | Date): void {
    futimesSync(this.#fd, time, time)
  }

  close(): void {
    closeSync(this.#fd)
  }

  #writePiece(piece: Buffer, offset: number): void {
    for (let done = 0; done < piece.length; ) {
      done += writeSync(this.#fd, piece, done, piece.length - done, offset + done)
    }
    this.#written = offset + piece.length
  }
}
