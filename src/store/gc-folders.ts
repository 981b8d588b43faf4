/** Removes what has a lock of its own: caches of RUN, repositories of git. Whoever holds the lock keeps it. */
import { closeSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { systemCode } from '../core/errors.js'
import { randomName } from '../io/fs.js'
import { attemptLock } from '../io/sys.js'
import type { Layout } from './layout.js'
import { listFolder, openLockFile } from './lock.js'

/** A path in `tmp/` for what is to be deleted, by this process or by the next collection. */
export function gonePath(layout: Layout): string {
  mkdirSync(layout.folder('tmp'), { recursive: true })
  return `${layout.folder('tmp')}/gone-${randomName(12)}`
}

/**
 * Moves a cache out of sight. False when a step has it.
 *
 * The lock file goes too: `ops/cache-mounts.ts` looks, once it has the lock, whether it has that of the file that is there.
 */
export function collectCacheMount(layout: Layout, path: string): boolean {
  return whileHeld(cacheLock(path), () => {
    moveAway(layout, path)
    if (cacheLock(path) === `${path}.lock`) removeNotes(path)
  })
}

/** Removes locks of caches that are gone: of a killed collection, of directories of the user's. */
export function clearCacheLocks(layout: Layout): void {
  const folder = layout.folder('cache-mounts')
  for (const name of listFolder(folder).filter((each) => each.endsWith('.lock'))) {
    const path = `${folder}/${name.slice(0, -'.lock'.length)}`
    if (existsSync(path)) continue
    whileHeld(`${path}.lock`, () => {
      if (!existsSync(path)) removeNotes(path)
    })
  }
}

/** A cache that is being made, `<cache>.<8 letters>`, is under the lock of the cache. */
export function cacheLock(path: string): string {
  return `${path.replace(/\.[a-z0-9]{8}$/, '')}.lock`
}

function removeNotes(path: string): void {
  for (const ending of ['id', 'making', 'lock']) rmSync(`${path}.${ending}`, { force: true })
}

/** Moves a repository out of sight. False when a process reads or fetches. The lock file stays: others may have it open. */
export function collectRepository(layout: Layout, path: string): boolean {
  return whileHeld(`${path}.lock`, () => {
    moveAway(layout, path)
    moveAway(layout, `${path}.new`)
  })
}

function whileHeld(lockPath: string, work: () => void): boolean {
  const lock = openLockFile(lockPath)
  try {
    // A filesystem without locks cannot tell whether somebody has it.
    if (attemptLock(lock, 'exclusive') !== 'taken') return false
    work()
    return true
  } finally {
    closeSync(lock)
  }
}

function moveAway(layout: Layout, path: string): void {
  try {
    renameSync(path, gonePath(layout))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
}
