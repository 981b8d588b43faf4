/**
 * Has a selection changed since it was hashed? A fingerprint of its metadata answers without reading a file.
 *
 * It covers path, type, mode, size, mtime, ctime, inode and device. A change of content always moves ctime, which no
 * program can set back; only a change within the clock's last tick may not show. So what changed just before it was
 * looked at ("racy", as git calls it) is never remembered.
 */
import { createHash } from 'node:crypto'
import { encodePath } from '../core/path-bytes.js'
import type { ContextEntry } from './tree.js'

/**
 * Up to this size sha256 is faster: it needs nothing loaded. xxh64 is three times as fast per byte, but loading and
 * compiling it takes 5–7 ms (measured on Node 20), which is what sha256 takes for 8 MB: about 90,000 files.
 */
const smallBytes = 8 << 20

/** Kernels stamp files with a clock that ticks every 1–10 ms; this is a good deal more. */
const tickMs = 50
/** Filesystems that keep whole seconds (or two). */
const coarseTickMs = 2_000

/** True when a change right after `seenAtMs` could have left the same ctime. */
export function isRacy(entry: ContextEntry, seenAtMs: number): boolean {
  const granularity = entry.ctimeMs % 1000 === 0 ? coarseTickMs : tickMs
  return entry.ctimeMs >= seenAtMs - granularity
}

const typeCodes = { file: 1, directory: 2, symlink: 3, character: 4, block: 5, fifo: 6, socket: 7 } as const
const columns = 6

/** The fingerprint of entries under the given names (`names[i]` says where `entries[i]` will appear). */
export async function fingerprint(names: readonly string[], entries: readonly ContextEntry[]): Promise<string> {
  const numbers = new Float64Array(entries.length * columns)
  entries.forEach((entry, i) => {
    const at = i * columns
    numbers[at] = typeCodes[entry.type] * 65536 + entry.mode
    numbers[at + 1] = entry.size
    numbers[at + 2] = entry.mtimeMs
    numbers[at + 3] = entry.ctimeMs
    numbers[at + 4] = entry.ino
    numbers[at + 5] = entry.dev
  })
  const text = encodePath(names.join('\0'))
  const bytes = new Uint8Array(numbers.buffer)
  if (text.length + bytes.length <= smallBytes) {
    return createHash('sha256').update(`${entries.length}\0`).update(text).update(bytes).digest('hex')
  }
  const { default: xxhash } = await import('xxhash-wasm')
  const { create64 } = await xxhash()
  const digest = create64().update(`${entries.length}\0`).update(text).update(bytes).digest()
  return `xxh64:${digest.toString(16).padStart(16, '0')}`
}
