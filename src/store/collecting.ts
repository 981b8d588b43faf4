/**
 * Keeps those who look for things and a collection that moves them apart.
 *
 * A collection moves what it takes for unneeded out of sight, and what was pinned meanwhile back. Who pinned something and found
 * it there just before would miss it in between. So whoever has pinned something waits until a collection that was going on
 * then is done with moving, and looks after that: a later one knows of the pin from its start. A mark in `locks/` says that one
 * is going on, so that without one nobody opens or locks anything.
 */
import { closeSync, existsSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { asStoreError } from '../io/disk-error.js'
import { sleepSync } from '../io/sleep.js'
import { attemptLock } from '../io/sys.js'
import type { Layout } from './layout.js'
import { openLockFile } from './lock.js'

/** The lock that a collection holds. */
export function collectionLock(layout: Layout): string {
  return `${layout.folder('locks')}/gc`
}

function markOf(layout: Layout): string {
  return `${layout.folder('locks')}/collecting`
}

/** Says that things are moved from now on; `unmark` that they are not. Only for who holds the lock, before it reads any pin. */
export function markCollecting(layout: Layout): { unmark(): void } {
  const path = markOf(layout)
  try {
    writeFileSync(path, '')
  } catch (error) {
    throw asStoreError(error, path)
  }
  return { unmark: () => rmSync(path, { force: true }) }
}

/** A filesystem without locks cannot tell: there it counts as killed after a minute. */
function isKilled(layout: Layout): boolean {
  const fd = openLockFile(collectionLock(layout))
  try {
    const outcome = attemptLock(fd, 'shared')
    if (outcome !== 'unsupported') return outcome === 'taken'
  } finally {
    closeSync(fd)
  }
  const madeAt = statSync(markOf(layout), { throwIfNoEntry: false })?.mtimeMs
  return madeAt !== undefined && Date.now() - madeAt > unlockedMarkMs
}

const unlockedMarkMs = 60_000

/** Waits until nothing is moved any more. The mark of a collection that was killed is removed. */
export function awaitCollecting(layout: Layout): void {
  while (existsSync(markOf(layout))) {
    if (isKilled(layout)) rmSync(markOf(layout), { force: true })
    else sleepSync(2)
  }
}
