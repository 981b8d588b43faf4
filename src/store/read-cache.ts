/**
 * Record files that were read once and are looked at again: a collection asks several times what is needed, and a store
 * may have ten thousand of them. A file that was replaced has another inode, so a look at it is enough.
 */
import { type Stats, statSync } from 'node:fs'
import { type Guard, readRecord } from './record-file.js'

/** A record and its file as it was found. */
export interface ReadRecord<T> {
  readonly value: T
  readonly stats: Stats
}

/** Reads record files, each version once. */
export class ReadCache {
  readonly #known = new Map<string, { readonly stats: Stats; readonly value: unknown }>()

  /** The value in a record file with the file's metadata; undefined when it cannot be believed or is gone. */
  read<T>(path: string, guard: Guard<T>): ReadRecord<T> | undefined {
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats === undefined) return undefined
    const known = this.#known.get(path)
    if (known !== undefined && isSame(known.stats, stats) && guard(known.value)) return { value: known.value, stats }
    const value = readRecord(path, guard)
    this.#known.set(path, { stats, value })
    return value === undefined ? undefined : { value, stats }
  }
}

/** The change time is left out: a use of a record sets the times of its file. */
function isSame(a: Stats, b: Stats): boolean {
  return a.ino === b.ino && a.size === b.size && a.birthtimeMs === b.birthtimeMs
}
