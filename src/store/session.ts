/**
 * One process's use of a store: its lease, taken with the first write that needs one, and what it relies on.
 *
 * Reading takes no lease. What was found before the lease was taken is pinned then and looked at once more.
 */

import { existsSync } from 'node:fs'
import { awaitedLater } from '../core/awaited.js'
import { StoreError } from '../core/errors.js'
import { awaitCollecting } from './collecting.js'
import { noteAdded } from './gc-state.js'
import type { Layout } from './layout.js'
import { type Lease, type Pin, removeTree, takeLease } from './lock.js'

/** Shared by the parts of a `Store`. */
export interface Session {
  readonly layout: Layout
  /** Of this machine's present boot. */
  readonly bootId: string
  lease(): Lease
  /** Takes the lease, and forgets what was pinned before and is gone by now. */
  hold(): void
  /** The lease's name, once there is one. */
  leaseName(): string | undefined
  /** Notes what this process relies on. Look whether it is there only afterwards. */
  pin(...pins: readonly Pin[]): void
  /** Takes back a pin of something that turned out not to be there. */
  unpin(pin: Pin): void
  /** What this process relies on so far. */
  pins(): Iterable<Pin>
  /** Notes that the store has grown: garbage collection asks how much. */
  added(bytes: number): void
  /** Removes a directory, out of sight at once; `close` waits for the rest. */
  discard(path: string): void
  close(): Promise<void>
}

/** Opens a session; nothing is written yet. */
export function openSession(layout: Layout, bootId: string): Session {
  const pins = new Set<Pin>()
  const removals: Promise<void>[] = []
  let lease: Lease | undefined
  const take = (): Lease => {
    lease = takeLease(layout)
    lease.pin([...pins])
    awaitCollecting(layout)
    return lease
  }
  let addedBytes = 0
  return {
    layout,
    bootId,
    lease() {
      if (lease !== undefined) return lease
      const taken = take()
      for (const pin of pins) assertThere(layout, pin)
      return taken
    },
    hold() {
      if (lease === undefined) take()
      for (const pin of pins) if (!existsSync(pathOfPin(layout, pin))) pins.delete(pin)
    },
    leaseName: () => lease?.name,
    pin(...wanted) {
      const fresh = wanted.filter((pin) => !pins.has(pin))
      for (const pin of fresh) pins.add(pin)
      if (lease === undefined || fresh.length === 0) return
      lease.pin(fresh)
      awaitCollecting(layout)
    },
    unpin(pin) {
      pins.delete(pin)
    },
    pins: () => pins,
    added(bytes) {
      addedBytes += bytes
    },
    discard(path) {
      removals.push(awaitedLater(removeTree(layout, path)))
    },
    async close() {
      const results = await Promise.allSettled(removals)
      await lease?.release()
      if (addedBytes > 0) noteAdded(layout, addedBytes)
      const failure = results.find((result) => result.status === 'rejected')
      if (failure !== undefined) throw failure.reason
    },
  }
}

function assertThere(layout: Layout, pin: Pin): void {
  const path = pathOfPin(layout, pin)
  if (existsSync(path)) return
  throw new StoreError('STORE_SNAPSHOT_MISSING', `${path} was removed by another process a moment ago`, {
    path,
    hint: 'run the command again',
  })
}

function pathOfPin(layout: Layout, pin: Pin): string {
  const [kind, name] = [pin.slice(0, pin.indexOf(':')), pin.slice(pin.indexOf(':') + 1)]
  if (kind === 'blob') return `${layout.folder('blobs/sha256')}/${name}`
  return kind === 'layer' ? `${layout.folder('layers')}/${name}.json` : layout.snapshot(name)
}
