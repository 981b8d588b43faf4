/**
 * Claims: of several processes that are about to do the same work one does it, and the others wait for its result.
 *
 * A claim is a file in `claims/` that is flocked as long as the work goes on, so it ends with the process however that ends.
 * The file says who has it, and is believed only while it is locked. It is unlinked when the claim is given back: who waits
 * has it open, and reads in it how the work ended. A claim guards no data. Without one the work is done twice, and the store
 * is right all the same; so a filesystem without locks has claims that are always free.
 *
 * Nobody waits for a claim while he holds what the holder may need: a step waits without a place in the schedule, and takes its
 * claim before the locks of cache mounts, which come before the claims of layers and blobs.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { WorkingProcess } from '../core/context.js'
import { type Digest, hexOf } from '../core/digest.js'
import { systemCode } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { processState } from '../io/process-state.js'
import { sleepSync } from '../io/sleep.js'
import { attemptLock } from '../io/sys.js'
import type { Layout } from './layout.js'
import { isObject } from './record-file.js'

/** What a claim is about. */
export type ClaimKind = 'step' | 'layer' | 'blob' | 'download'

/** How the work of the one who had the claim ended. `gone`: it was stopped, or killed. */
export type WorkEnd = 'done' | 'failed' | 'gone'

/** A claim that was taken; or who has it. */
export type Claim =
  | { readonly isOurs: true; release(end: WorkEnd): void }
  | {
      readonly isOurs: false
      /** Undefined when it cannot be read. */
      readonly process: WorkingProcess | undefined
      /** Waits until it is given back; tells when the process is stopped or goes on. Call it, or `forgo`. */
      ended(signal: AbortSignal, changed: (process: WorkingProcess) => void): Promise<WorkEnd>
      forgo(): void
    }

/** The claims of a store. */
export interface Claims {
  /** Takes a claim if it is free. Never waits. */
  take(kind: ClaimKind, name: Digest): Claim
}

/** Who takes claims. */
export interface Claimant {
  /** What others that wait are told. */
  readonly command: string
  readonly now: () => number
}

/** Who has a claim, as its file says it; `started` tells whether the process with that number is still the same. */
interface Owner {
  readonly pid: number
  readonly started: string
  readonly command: string
  readonly sinceMs: number
}

/** Claims that are always free: for work that is to be done whoever else does it. */
export const noClaims: Claims = { take: () => unguarded }

const unguarded: Claim = { isOurs: true, release: () => undefined }

/** Others look this often whether a claim is free. */
const pollMs = 40

/** The claims of the store at `layout`. Nothing is made before the first is taken. */
export function openClaims(layout: Layout, { command, now }: Claimant): Claims {
  let started: string | undefined
  return {
    take(kind, name) {
      const path = `${layout.folder('claims')}/${kind}-${hexOf(name)}`
      for (;;) {
        const fd = openClaim(path)
        const outcome = attemptLock(fd, 'exclusive')
        if (outcome === 'held') return heldClaim(fd)
        if (outcome === 'taken' && !isAt(fd, path)) {
          closeSync(fd)
          continue
        }
        if (outcome === 'taken') {
          started ??= processState(process.pid)?.started ?? ''
          return ownClaim(fd, path, { pid: process.pid, started, command, sinceMs: now() })
        }
        closeSync(fd)
        rmSync(path, { force: true })
        return unguarded
      }
    },
  }
}

function openClaim(path: string): number {
  try {
    return openSync(path, 'a+', 0o644)
  } catch (error) {
    if (systemCode(error) === 'EISDIR') rmSync(path, { recursive: true, force: true })
    else if (systemCode(error) !== 'ENOENT') throw asStoreError(error, path)
  }
  try {
    mkdirSync(path.slice(0, path.lastIndexOf('/')), { recursive: true })
    return openSync(path, 'a+', 0o644)
  } catch (error) {
    throw asStoreError(error, path)
  }
}

/** False when the file was given back between its opening and its locking. */
function isAt(fd: number, path: string): boolean {
  const onDisk = statSync(path, { throwIfNoEntry: false })
  const { ino, dev } = fstatSync(fd)
  return onDisk?.ino === ino && onDisk.dev === dev
}

function ownClaim(fd: number, path: string, owner: Owner): Claim {
  write(fd, owner)
  let isReleased = false
  return {
    isOurs: true,
    release(end) {
      if (isReleased) return
      isReleased = true
      try {
        write(fd, { end })
        rmSync(path, { force: true })
      } finally {
        closeSync(fd)
      }
    },
  }
}

/** What is written only informs: a full disk must not stop work that may make room. */
function write(fd: number, value: Owner | { readonly end: WorkEnd }): void {
  try {
    ftruncateSync(fd)
    writeSync(fd, JSON.stringify(value))
  } catch (error) {
    const code = systemCode(error)
    if (code !== 'ENOSPC' && code !== 'EDQUOT' && code !== 'EIO') throw error
  }
}

function heldClaim(fd: number): Claim {
  let isOpen = true
  const close = (): void => {
    if (isOpen) closeSync(fd)
    isOpen = false
  }
  const owner = readOwner(fd)
  let isStopped = owner !== undefined && isStoppedNow(owner)
  return {
    isOurs: false,
    process: owner && shown(owner, isStopped),
    forgo: close,
    async ended(signal, changed) {
      try {
        // Shared, so that those who wait do not keep one another waiting.
        while (attemptLock(fd, 'shared') === 'held') {
          await sleep(pollMs, undefined, { signal })
          if (owner === undefined || isStoppedNow(owner) === isStopped) continue
          isStopped = !isStopped
          changed(shown(owner, isStopped))
        }
        const { end } = readClaim(fd)
        return end === 'done' || end === 'failed' ? end : 'gone'
      } finally {
        close()
      }
    },
  }
}

/** What others are told of it. */
function shown({ pid, command, sinceMs }: Owner, isStopped: boolean): WorkingProcess {
  return { pid, command, sinceMs, ...(isStopped ? { isStopped } : {}) }
}

/** True when it can be seen that it is stopped. In another container its number stands for another process, or for none. */
function isStoppedNow({ pid, started }: Owner): boolean {
  const seen = processState(pid)
  return seen?.state === 'T' && seen.started === started
}

/** The owner writes its name right after it took the lock. */
function readOwner(fd: number): Owner | undefined {
  for (let tries = 0; tries < 10; tries++) {
    const { pid, started, command, sinceMs } = readClaim(fd)
    if (typeof pid === 'number' && typeof started === 'string' && typeof command === 'string' && typeof sinceMs === 'number') {
      return { pid, started, command, sinceMs }
    }
    sleepSync(1)
  }
  return undefined
}

const longestClaim = 64 << 10

function readClaim(fd: number): Readonly<Record<string, unknown>> {
  const { size } = fstatSync(fd)
  if (size === 0 || size > longestClaim) return {}
  const bytes = Buffer.alloc(size)
  const length = readSync(fd, bytes, 0, size, 0)
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8', 0, length))
    return isObject(value) ? value : {}
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}

/** Removes the files of claims whose process is gone. */
export function clearDeadClaims(layout: Layout): void {
  for (const name of listClaims(layout)) {
    const path = `${layout.folder('claims')}/${name}`
    let fd: number
    try {
      fd = openSync(path, 'r')
    } catch (error) {
      if (systemCode(error) === 'ENOENT') continue
      throw asStoreError(error, path)
    }
    try {
      if (attemptLock(fd, 'exclusive') !== 'held' && isAt(fd, path)) rmSync(path, { force: true, recursive: true })
    } finally {
      closeSync(fd)
    }
  }
}

function listClaims(layout: Layout): string[] {
  try {
    return readdirSync(layout.folder('claims'))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw asStoreError(error, layout.folder('claims'))
  }
}

/** Work that one process does for all. */
export interface SharedWork<T> {
  readonly kind: ClaimKind
  readonly name: Digest
  /** Looks whether the result is there now. Asked after each wait, and once the claim is ours. */
  find(): T | undefined
  run(): Promise<T>
  /** Told whom is waited for, where that is known, of changes in that, and of the end of each wait. */
  waiting(isOver: boolean, process?: WorkingProcess): void
}

/**
 * Does work unless another process does: then waits for its result. When that did not get one, the work is done here; when it
 * failed, without waiting for a third.
 */
export async function shareWork<T>(claims: Claims, work: SharedWork<T>, signal: AbortSignal): Promise<T> {
  for (let isPatient = true; ; ) {
    const claim = claims.take(work.kind, work.name)
    if (!claim.isOurs && isPatient) {
      work.waiting(false, claim.process)
      isPatient = (await claim.ended(signal, (process) => work.waiting(false, process))) !== 'failed'
      work.waiting(true)
      const found = work.find()
      if (found !== undefined) return found
      continue
    }
    if (!claim.isOurs) {
      claim.forgo()
      return await work.run()
    }
    let end: WorkEnd | undefined
    try {
      const result = work.find() ?? (await work.run())
      end = 'done'
      return result
    } finally {
      claim.release(end ?? (signal.aborted ? 'gone' : 'failed'))
    }
  }
}
