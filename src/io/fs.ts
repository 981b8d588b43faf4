/**
 * Files that are whole or not there: written beside their place and renamed.
 *
 * Names of half-written files are random, never made of a process id: ids collide across containers that share a store.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, fsync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
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

function openMakingParent(path: string, mode: number): number {
  try {
    return openSync(path, 'wx', mode)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    mkdirSync(dirname(path), { recursive: true })
    return openSync(path, 'wx', mode)
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
