/**
 * How much of the disk files take: allocated blocks, as `du` counts them, each inode once.
 *
 * Snapshots never change, so their sizes are kept between collections (`gc/sizes.json`); `mille du` measures anew.
 * Synchronous calls in slices with the event loop in between, so that Ctrl-C is heard.
 */
import { lstatSync, readdirSync, type Stats } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { systemCode } from '../core/errors.js'
import { decodePath, fsPath, isLossy } from '../core/path-bytes.js'

const blockBytes = 512
const sliceMs = 5

/** Measures directories. What one call has counted no later one counts again. */
export class DiskMeter {
  readonly #linked = new Set<string>()
  readonly #counted = new Set<string>()
  readonly #signal: AbortSignal
  #sliceEnd = 0

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  /** Allocated bytes of `path` and all below it. 0 when it is gone or was counted. */
  async measure(path: string): Promise<number> {
    if (this.#counted.has(path)) return 0
    this.#counted.add(path)
    const stats = statsOf(path)
    if (stats === undefined) return 0
    const own = this.#bytesOf(stats)
    return stats.isDirectory() ? own + (await this.#below(path)) : own
  }

  /** The same for a file whose size is known already. */
  claim(path: string, bytes: number): number {
    if (this.#counted.has(path)) return 0
    this.#counted.add(path)
    return bytes
  }

  async #below(directory: string): Promise<number> {
    let sum = 0
    for (const name of namesIn(directory)) {
      const path = `${directory}/${name}`
      if (this.#counted.has(path)) continue
      const stats = statsOf(path)
      if (stats === undefined) continue
      sum += this.#bytesOf(stats)
      if (stats.isDirectory()) sum += await this.#below(path)
    }
    if (performance.now() > this.#sliceEnd) {
      await setImmediate()
      this.#signal.throwIfAborted()
      this.#sliceEnd = performance.now() + sliceMs
    }
    return sum
  }

  #bytesOf(stats: Stats): number {
    const bytes = stats.blocks * blockBytes
    if (stats.nlink < 2 || stats.isDirectory()) return bytes
    const inode = `${stats.dev}:${stats.ino}`
    if (this.#linked.has(inode)) return 0
    this.#linked.add(inode)
    return bytes
  }
}

/** Undefined for what is gone, and for what is so deep that no path leads there: it is not counted. */
function statsOf(path: string): Stats | undefined {
  try {
    return lstatSync(fsPath(path), { throwIfNoEntry: false })
  } catch (error) {
    if (systemCode(error) === 'ENAMETOOLONG') return undefined
    throw error
  }
}

/** Names with their bytes, also those that are not UTF-8. None when the directory is gone. */
function namesIn(directory: string): string[] {
  try {
    const names = readdirSync(fsPath(directory), 'utf8')
    return names.some(isLossy) ? readdirSync(fsPath(directory), 'buffer').map(decodePath) : names
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw error
  }
}
