/**
 * Locks and leases: flocks, which the kernel drops with the process, so that none is ever stale.
 *
 * A lease says "a process is writing here": a file in `leases/` that is flocked as long as the process lives. It names
 * the things that the process relies on ("pins"), one in a line, and garbage collection spares these. The order that closes
 * the race: the process pins first and then looks whether the thing is there; collection takes the thing out of sight
 * first and then reads the pins.
 */

import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { awaitedLater } from '../core/awaited.js'

import { StoreError, systemCode } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { randomName } from '../io/fs.js'
import { removeFiles } from '../io/remove-files.js'
import { sleepSync } from '../io/sleep.js'
import { attemptLock, tryLock } from '../io/sys.js'
import { clearDeadClaims } from './claims.js'
import type { Layout } from './layout.js'

/** What a process relies on: `layer:<hex>`, `blob:<hex>`, `snapshot:<id>`. */
export type Pin = `${'layer' | 'blob' | 'snapshot'}:${string}`

/** The sign of life of one process in one store. */
export interface Lease {
  readonly name: string
  /** Notes what must not be collected while this process lives. Look whether it is there only afterwards. */
  pin(pins: readonly Pin[]): void
  /** A new path in `tmp/` that is removed when this process is gone. */
  temporaryPath(): string
  release(): Promise<void>
}

const lockWaitMs = 30_000

/** Runs `work` while no other process does the same in this store. Held briefly: waiting longer than 30 s is an error. */
export function withLock<T>(layout: Layout, name: string, work: () => T): T {
  const path = `${layout.folder('locks')}/${name}`
  const fd = openLockFile(path)
  try {
    const deadline = Date.now() + lockWaitMs
    while (!tryLock(fd, 'exclusive')) {
      if (Date.now() > deadline) {
        throw new StoreError('STORE_LOCKED', `another process holds ${path} for more than ${lockWaitMs / 1000} s`, { path })
      }
      sleepSync(2)
    }
    return work()
  } finally {
    closeSync(fd)
  }
}

/** Opens a file to lock, and makes it when it is not there. */
export function openLockFile(path: string): number {
  try {
    mkdirSync(path.slice(0, path.lastIndexOf('/')), { recursive: true })
    return openSync(path, 'a', 0o644)
  } catch (error) {
    throw asStoreError(error, path)
  }
}

/** Takes a lease, and clears away what processes that are gone have left. */
export function takeLease(layout: Layout): Lease {
  const { name, fd } = openLease(layout)
  const path = `${layout.folder('leases')}/${name}`
  // What goes wrong is thrown by `release`, which waits for it.
  const clearing = awaitedLater(clearDeadLeases(layout, name))
  let count = 0
  return {
    name,
    pin(pins) {
      if (pins.length > 0) writeSync(fd, pins.map((pin) => `${pin}\n`).join(''))
    },
    temporaryPath() {
      mkdirSync(layout.folder('tmp'), { recursive: true })
      return `${layout.folder('tmp')}/${name}-${count++}${randomName(6)}`
    },
    async release() {
      await clearing
      await removeLeftovers(layout, name)
      rmSync(path, { force: true })
      closeSync(fd)
    },
  }
}

/** A new lease file that is locked, and that nobody took for a dead one between its making and its locking. */
function openLease(layout: Layout): { readonly name: string; readonly fd: number } {
  const folder = layout.folder('leases')
  for (;;) {
    const name = randomName(10)
    const fd = openLockFile(`${folder}/${name}`)
    if (tryLock(fd, 'exclusive')) {
      const onDisk = statSync(`${folder}/${name}`, { throwIfNoEntry: false })
      if (onDisk?.ino === fstatSync(fd).ino) return { name, fd }
    }
    closeSync(fd)
  }
}

/** A lease of a process that lives: its name and what it pins. */
export interface LiveLease {
  readonly name: string
  readonly pins: ReadonlySet<string>
}

/** The leases of other living processes. */
export function liveLeases(layout: Layout, own: string | undefined): LiveLease[] {
  return listFolder(layout.folder('leases')).flatMap((name) => {
    const pins = name === own ? undefined : readIfHeld(`${layout.folder('leases')}/${name}`)
    return pins === undefined ? [] : [{ name, pins: new Set(pins.split('\n')) }]
  })
}

/** Reads by the file that was found locked: its name may be gone a moment later. */
function readIfHeld(path: string): string | undefined {
  const fd = openExisting(path)
  if (fd === undefined) return undefined
  try {
    return isAlive(fd) ? readFileSync(fd, 'utf8') : undefined
  } finally {
    closeSync(fd)
  }
}

/** A filesystem without locks cannot tell: there a lease lasts a day from its last pin on. */
function isAlive(fd: number): boolean {
  const outcome = attemptLock(fd, 'exclusive')
  return outcome === 'held' || (outcome === 'unsupported' && Date.now() - fstatSync(fd).mtimeMs < unlockedLeaseMs)
}

const unlockedLeaseMs = 86_400_000

function openExisting(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw asStoreError(error, path)
  }
}

/** Removes what processes left that are gone: half-written files, snapshots that were being made. */
export async function clearDeadLeases(layout: Layout, own: string | undefined): Promise<void> {
  clearDeadClaims(layout)
  for (const name of listFolder(layout.folder('leases'))) {
    if (name === own) continue
    const fd = openExisting(`${layout.folder('leases')}/${name}`)
    if (fd === undefined) continue
    try {
      // Holding the lock keeps a second cleaner away; the file goes last, so a cleaner that dies is followed by another.
      if (isAlive(fd)) continue
      await removeLeftovers(layout, name)
      rmSync(`${layout.folder('leases')}/${name}`, { force: true, recursive: true })
    } finally {
      closeSync(fd)
    }
  }
}

async function removeLeftovers(layout: Layout, lease: string): Promise<void> {
  await removeTree(layout, `${layout.folder('active')}/${lease}`)
  for (const file of listFolder(layout.folder('tmp'))) {
    if (file.startsWith(`${lease}-`)) await removeFiles(`${layout.folder('tmp')}/${file}`)
  }
}

/** Removes a directory: out of sight at once, its files after. Not being there is fine. */
export async function removeTree(layout: Layout, path: string): Promise<void> {
  const aside = `${layout.folder('tmp')}/gone-${randomBytes(6).toString('hex')}`
  try {
    mkdirSync(layout.folder('tmp'), { recursive: true })
    renameSync(path, aside)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw asStoreError(error, path)
  }
  await removeFiles(aside)
}

/** The names in a folder of the store; none when the folder is not there yet. */
export function listFolder(path: string): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw asStoreError(error, path)
  }
}
