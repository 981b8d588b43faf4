/**
 * Layer directories: made in `active/<lease>/<id>/fs`, moved to `snapshots/<id>` when they are complete (invariant 7).
 *
 * Not fsynced. `snapshots/<id>.entries` says what they hold, for the look after the machine went down.
 */
import { chmodSync, existsSync, mkdirSync, renameSync } from 'node:fs'
import { encodePath } from '../core/path-bytes.js'
import { asStoreError } from '../io/disk-error.js'
import { randomName, writeFileAtomic } from '../io/fs.js'
import { spreadDirectories } from '../io/sys.js'
import { removeTree } from './lock.js'
import type { Session } from './session.js'
import type { ActiveSnapshot, Snapshots } from './types.js'

/** Short, so that the paths of 127 layers fit in the 4,095 bytes of mount options. */
const idLength = 8

/** The snapshots of a store. */
export function openSnapshots(session: Session): Snapshots {
  return {
    prepare: async () => prepare(session),
    pathOf: (id) => session.layout.snapshot(id),
    has: (id) => existsSync(session.layout.snapshot(id)),
  }
}

function prepare(session: Session): ActiveSnapshot {
  const { layout } = session
  const lease = session.lease()
  const id = newId(session)
  const family = `${layout.folder('active')}/${lease.name}`
  const home = `${family}/${id}`
  const upper = `${home}/fs`
  const work = `${home}/work`
  try {
    if (!existsSync(family)) makeFamily(layout.folder('active'), family)
    mkdirSync(upper, { recursive: true })
    mkdirSync(work)
    chmodSync(upper, 0o755)
  } catch (error) {
    throw asStoreError(error, home)
  }
  return {
    id,
    upper,
    work,
    async commit(entries) {
      session.pin(`snapshot:${id}`)
      try {
        mkdirSync(layout.folder('snapshots'), { recursive: true })
        if (entries !== undefined) writeFileAtomic(layout.entries(id), encodePath(entries))
        renameSync(upper, layout.snapshot(id))
      } catch (error) {
        throw asStoreError(error, layout.snapshot(id))
      }
      return id
    },
    async [Symbol.asyncDispose]() {
      await removeTree(layout, home)
    },
  }
}

/** The directory of one process's snapshots: each of them gets a place of its own on the disk. */
function makeFamily(active: string, family: string): void {
  mkdirSync(active, { recursive: true })
  spreadDirectories(active)
  mkdirSync(family)
  spreadDirectories(family)
}

/** A free id. A rename would replace an empty directory, so it is looked at; two processes hardly ever draw the same. */
function newId(session: Session): string {
  for (;;) {
    const id = randomName(idLength)
    if (!existsSync(session.layout.snapshot(id))) return id
  }
}
