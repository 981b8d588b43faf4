/** Progress of transfers as events, at most one in 100 ms for each. */
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import { shortHex } from '../core/digest.js'

const intervalMs = 100

/** Reports one blob's way. `id` is the vertex or command that the transfer belongs to. */
export class TransferProgress {
  readonly #ctx: Context
  readonly #id: string
  readonly #item: string
  readonly #total: number
  #lastMs = 0

  constructor(ctx: Context, id: string, item: string, total: number) {
    this.#ctx = ctx
    this.#id = id
    this.#item = item
    this.#total = total
  }

  /** `current` bytes have been moved. */
  moved(current: number): void {
    const now = Date.now()
    if (now - this.#lastMs < intervalMs) return
    this.#emit(now, current, false)
  }

  /** All is there. */
  done(): void {
    this.#emit(Date.now(), this.#total, true)
  }

  #emit(atMs: number, current: number, done: boolean): void {
    this.#lastMs = atMs
    this.#ctx.emit({ type: 'progress', id: this.#id, item: this.#item, current, total: this.#total, done, atMs })
  }
}

/** Reports a blob that did not have to be moved, and why not. */
export function reportSkipped(ctx: Context, id: string, blob: Descriptor, why: string): void {
  new TransferProgress(ctx, id, `${blobItem(blob)} ${why}`, blob.size).done()
}

/** A blob as people read it. */
export function blobItem(blob: Descriptor): string {
  return shortHex(blob.digest)
}
