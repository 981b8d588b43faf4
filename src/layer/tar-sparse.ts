/**
 * The forms in which tar archives store sparse files: old GNU headers (`S`) and GNU's pax formats 0.1 and 1.0.
 *
 * All say where the stored bytes belong in the file; the rest are holes (GNU tar manual, "Storing Sparse Files").
 */
import { BuildError } from '../core/errors.js'
import { number, type PaxRecords } from './tar-fields.js'
import { blockSize } from './tar-header.js'

/** A stretch of a file that has bytes in the archive. */
export interface Extent {
  readonly offset: number
  readonly size: number
}

/** True when a pax header says that its file is sparse. */
export function isSparse(pax: PaxRecords): boolean {
  return pax.has('GNU.sparse.major') || pax.has('GNU.sparse.map') || pax.has('GNU.sparse.numblocks')
}

/** Reads the map in an old GNU header or in a block that extends it: up to `count` pairs of 12-byte numbers. */
export function oldSparse(block: Buffer, at: number, count: number, moreAt: number): { extents: Extent[]; more: boolean } {
  const extents: Extent[] = []
  for (let i = 0; i < count; i++) {
    const start = at + i * 24
    if (block[start] === 0 && block[start + 12] === 0) break
    extents.push({ offset: number(block, start, 12), size: number(block, start + 12, 12) })
  }
  return { extents, more: block[moreAt] !== 0 }
}

/** Collects the map of a pax sparse file: from the header (0.1), or from blocks in front of the content (1.0). */
export class SparseMapReader {
  #text = ''
  readonly #inHeader: string | undefined

  constructor(pax: PaxRecords) {
    this.#inHeader = pax.get('GNU.sparse.map')?.toString('latin1')
    const version = `${pax.get('GNU.sparse.major')}.${pax.get('GNU.sparse.minor')}`
    if (this.#inHeader === undefined && version !== '1.0') {
      throw new BuildError('LAYER_UNSUPPORTED', 'the tar archive has a sparse file in a format other than GNU 0.1 and 1.0')
    }
  }

  /** True when no blocks have to be read. */
  isComplete(): boolean {
    return this.#inHeader !== undefined
  }

  /** Takes one block of the map; true when it was the last. The map is a count and then pairs, a number in each line. */
  push(block: Buffer): boolean {
    this.#text += block.toString('latin1', 0, blockSize)
    const numbers = this.#text.split('\n')
    const count = Number(numbers[0])
    if (!(count >= 0 && count < 1 << 20))
      throw new BuildError('LAYER_BAD_TAR', 'the tar archive has a sparse file with a damaged map')
    return numbers.length > 1 + 2 * count
  }

  /** The map once it is complete. */
  extents(): Extent[] {
    const lines = this.#text.split('\n')
    const numbers = (this.#inHeader?.split(',') ?? lines.slice(1, 1 + 2 * Number(lines[0]))).map(Number)
    const extents: Extent[] = []
    for (let i = 0; i + 1 < numbers.length; i += 2) {
      extents.push({ offset: numbers[i] ?? Number.NaN, size: numbers[i + 1] ?? Number.NaN })
    }
    return extents
  }
}
