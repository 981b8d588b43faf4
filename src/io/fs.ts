/**
 * Files that are whole or not there: written beside their place and renamed.
 *
 * Names of half-written files are random, never made of a process id: ids collide across containers that share a store.
 */
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fchmodSync,
  fsync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { systemCode } from '../core/errors.js'

/** Letters that are safe in file names on every system: no upper case, no look-alikes. */
const nameAlphabet = 'abcdefghijkmnpqrstuvwxyz23456789'

/** A random name of `length` letters (5 bits each). */
export function randomName(length: number): string {
  return Array.from(randomBytes(length), (byte) => nameAlphabet[byte & 31]).join('')
}

/** How `writeFileAtomic` writes. */
export interface AtomicWriteOptions {
  readonly mode?: number
  /** The mode of the file that is replaced, which the umask takes nothing from. */
  readonly keptMode?: number | undefined
  /** Wait until the bytes are on the disk before the rename. */
  readonly sync?: boolean
}

/** Replaces or makes `path` so that readers see the old or the new bytes, never a part. Makes the parent directory. */
export function writeFileAtomic(path: string, bytes: Uint8Array | string, options: AtomicWriteOptions = {}): void {
  const temporary = `${path}.${randomName(8)}.tmp`
  const fd = openMakingParent(temporary, options.mode ?? 0o644)
  try {
    try {
      writeAll(fd, bytes)
      if (options.keptMode !== undefined) fchmodSync(fd, options.keptMode)
      if (options.sync) fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** The same with `sync`, during which this thread does other things. */
export async function writeFileSynced(path: string, bytes: Uint8Array | string): Promise<void> {
  const temporary = `${path}.${randomName(8)}.tmp`
  const fd = openMakingParent(temporary, 0o644)
  try {
    try {
      writeAll(fd, bytes)
      await new Promise<void>((resolve, reject) => fsync(fd, (error) => (error === null ? resolve() : reject(error))))
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

function writeAll(fd: number, bytes: Uint8Array | string): void {
  const buffer = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
  for (let at = 0; at < buffer.length; ) at += writeSync(fd, buffer, at)
}

/** Where something is written to that a person named. */
export type OutputPlace =
  /** `mode` is that of the file that is there. */
  | { readonly kind: 'file'; readonly path: string; readonly mode?: number }
  /** A device, a pipe or a terminal (/dev/null, /dev/stdout, `>(…)`): is written to as it is and never replaced. */
  | { readonly kind: 'stream'; readonly path: string }

/** Follows the links of a path that a person named: a link stays one, and what it leads to is written. */
export function outputPlace(path: string): OutputPlace {
  try {
    const found = statSync(path)
    if (found.isFile()) return { kind: 'file', path: realpathSync(path), mode: found.mode & 0o7777 }
    return { kind: found.isDirectory() ? 'file' : 'stream', path }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    return { kind: 'file', path: danglingTarget(path) }
  }
}

function danglingTarget(path: string): string {
  try {
    return outputPlace(resolve(dirname(path), readlinkSync(path))).path
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' && systemCode(error) !== 'EINVAL') throw error
    return path
  }
}

/** Writes a file that a person named: whole or not at all, but for what is no file. */
export function writeOutputFile(path: string, bytes: Uint8Array | string): void {
  const place = outputPlace(path)
  if (place.kind === 'stream') writeFileSync(place.path, bytes)
  else writeFileAtomic(place.path, bytes, { keptMode: place.mode })
}

function openMakingParent(path: string, mode: number): number {
  try {
    return openSync(path, 'wx', mode)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    makeDirectories(dirname(path))
    return openSync(path, 'wx', mode)
  }
}

/** Makes a directory and those above it. Node's own way (20, 22) never ends where the kernel makes none, as in /proc. */
export function makeDirectories(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EEXIST' && statSync(path, { throwIfNoEntry: false })?.isDirectory()) return
    const parent = dirname(path)
    if (code !== 'ENOENT' || statSync(parent, { throwIfNoEntry: false }) !== undefined) throw error
    makeDirectories(parent)
    makeDirectories(path)
  }
}

/**
 * True for what is read bit by bit and has no size: a pipe, a terminal, another device. False for what cannot be looked at:
 * whoever reads it learns why.
 */
export function isStreamFile(path: string): boolean {
  try {
    const stats = statSync(path, { throwIfNoEntry: false })
    return stats !== undefined && (stats.isFIFO() || stats.isCharacterDevice())
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return false
  }
}

/** The whole text of a file, or undefined when there is none. */
export function readTextIfExists(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw error
  }
}

/** All bytes of a file, or undefined when there is none. */
export function readBytesIfExists(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw error
  }
}
