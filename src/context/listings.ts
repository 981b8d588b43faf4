/**
 * The names in the directories of a context, remembered between builds: where a directory did not change it is not read.
 *
 * To make, remove or rename an entry moves the ctime of its directory. That is so on the file systems named here; of others
 * (network, FUSE) it is not certain, and nothing is remembered. Directories that changed just before they were looked at
 * are read again (fingerprint.ts). `<context>.v1.dirs` begins with a checksum: a damaged one is a forgotten one.
 */
import { createHash } from 'node:crypto'
import { statfsSync } from 'node:fs'
import { join } from 'node:path'
import { systemCode } from '../core/errors.js'
import { decodePath, encodePath, fsPath } from '../core/path-bytes.js'
import { readBytesIfExists, writeFileAtomic } from '../io/fs.js'
import { isRacy } from './fingerprint.js'
import type { MemoFiles } from './memo.js'
import type { ContextEntry } from './tree.js'

/** `f_type` of statfs(2): ext2 to ext4, XFS, btrfs, tmpfs, F2FS. */
const trustedTypes: readonly number[] = [0xef53, 0x58465342, 0x9123683e, 0x01021994, 0xf2f52010]

/** Below so many directories to read them takes no longer than to look here. */
const fewestDirectories = 100

const columns = 4
const checksumBytes = 32

interface Saved {
  /** The row of each directory, by its inode. */
  readonly rows: ReadonlyMap<number, number>
  readonly stamps: Float64Array
  /** Of each row the names, with slashes between them. */
  readonly names: readonly string[]
}

/** The listings of one context. */
export class ListingMemo {
  readonly #path: string
  readonly #device: number | undefined
  readonly #saved: Saved
  /** All directories that were asked for, with their names, a slash between them. */
  readonly #seen = new Map<ContextEntry, string>()
  /** Those that had to be read. */
  readonly #fresh = new Set<ContextEntry>()

  /** @param top the context's own directory */
  constructor(memo: MemoFiles, top: ContextEntry) {
    this.#path = join(memo.directory, `${memo.context}.v1.dirs`)
    this.#device = isTrusted(top.hostPath) ? top.dev : undefined
    this.#saved = this.#device === undefined ? nothing : load(this.#path)
  }

  /** The names in a directory, if it is as it was when they were read. */
  recall(directory: ContextEntry): readonly string[] | undefined {
    const { rows, stamps, names } = this.#saved
    const row = rows.get(directory.ino)
    if (row === undefined || directory.dev !== this.#device) return undefined
    const at = row * columns
    if (stamps[at + 1] !== directory.dev || stamps[at + 2] !== directory.ctimeMs || stamps[at + 3] !== directory.mtimeMs)
      return undefined
    const text = names[row] ?? ''
    this.#seen.set(directory, text)
    return text === '' ? [] : text.split('/')
  }

  /** Notes what was read. */
  add(directory: ContextEntry, names: readonly string[]): void {
    if (directory.dev !== this.#device) return
    this.#seen.set(directory, names.join('/'))
    this.#fresh.add(directory)
  }

  /** Writes the listings, unless few are new: to read those is less work. */
  save(nowMs: number): void {
    const seen = [...this.#seen].filter(([directory]) => !this.#fresh.has(directory) || !isRacy(directory, nowMs))
    if (seen.length < fewestDirectories || this.#fresh.size * 50 < seen.length) return
    const numbers = new Float64Array(1 + seen.length * columns)
    numbers[0] = seen.length
    for (const [i, [{ ino, dev, ctimeMs, mtimeMs }]] of seen.entries()) numbers.set([ino, dev, ctimeMs, mtimeMs], 1 + i * columns)
    const names = encodePath(seen.map(([, text]) => text).join('\0'))
    const body = Buffer.concat([new Uint8Array(numbers.buffer), names])
    writeFileAtomic(this.#path, Buffer.concat([checksum(body), body]))
    this.#fresh.clear()
  }
}

function isTrusted(hostPath: string): boolean {
  try {
    return trustedTypes.includes(statfsSync(fsPath(hostPath)).type)
  } catch (error) {
    // Whatever the system says: a file system that cannot be named is none of those.
    if (systemCode(error) === undefined) throw error
    return false
  }
}

const nothing: Saved = { rows: new Map(), stamps: new Float64Array(), names: [] }

function load(path: string): Saved {
  const bytes = readBytesIfExists(path)
  const body = bytes?.subarray(checksumBytes)
  if (bytes === undefined || body === undefined || !checksum(body).equals(bytes.subarray(0, checksumBytes))) return nothing
  const count = body.readDoubleLE(0)
  const stampsEnd = 8 * (1 + count * columns)
  // A copy, because a typed array must begin at a multiple of its element size.
  const stamps = new Float64Array(new Uint8Array(body.subarray(8, stampsEnd)).buffer)
  const rows = new Map<number, number>()
  for (let row = 0; row < count; row++) rows.set(stamps[row * columns] ?? 0, row)
  return { rows, stamps, names: decodePath(body.subarray(stampsEnd)).split('\0') }
}

function checksum(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest()
}
