/**
 * Takes images, layers, snapshots and blobs that nothing needs out of the store, in two looks: see gc.ts.
 *
 * The caller holds the lock `gc`. Nothing here waits, so nothing but a kill comes between the two looks.
 */
import { mkdirSync, renameSync } from 'node:fs'
import { hexOf } from '../core/digest.js'
import { systemCode } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { gonePath } from './gc-folders.js'
import { isAbandoned } from './half-written.js'
import { imagesOfTag, listImages, listTags } from './images.js'
import { listFolder } from './lock.js'
import { rewriteIndex } from './oci-index.js'
import type { ReadCache } from './read-cache.js'
import { findNeeded, listRecords, type Needed } from './roots.js'
import type { Session } from './session.js'

const folders = ['images', 'layers', 'snapshots', 'blobs/sha256'] as const
type Folder = (typeof folders)[number]

interface Candidate {
  readonly folder: Folder
  readonly name: string
  readonly path: string
}

/**
 * Moves what nothing needs to `condemned/`, and that to `tmp/gone-…` once it was looked at again.
 *
 * @param doomed images that shall go: they count only if they got a name meanwhile
 * @param before what was needed before records were dropped: nothing else is looked at. Undefined: everything is
 */
export function condemn(session: Session, doomed: ReadonlySet<string>, before: Needed | undefined, cache: ReadCache): void {
  const needed = lookAgain(session, doomed, cache)
  const candidates = findCandidates(session, needed).filter(
    ({ folder, name }) => before === undefined || isNeeded(before, folder, bareName(name)),
  )
  for (const folder of folders) mkdirSync(`${session.layout.folder('condemned')}/${folder}`, { recursive: true })
  const taken = candidates.filter(({ folder, path, name }) => move(path, condemnedPath(session, folder, name)))
  const named = new Set(listTags(session).flatMap(imagesOfTag).map(hexOf))
  for (const { folder, path, name } of taken) {
    if (folder === 'images' && named.has(bareName(name))) move(condemnedPath(session, folder, name), path)
  }
  // Images first, then what they need; layers before the snapshots and blobs that their records name.
  let isIndexOld = false
  for (const some of [['images'], ['layers'], ['snapshots', 'blobs/sha256']]) {
    const now = lookAgain(session, new Set(), cache)
    for (const { folder, path, name } of taken) {
      if (!some.includes(folder)) continue
      const aside = condemnedPath(session, folder, name)
      if (isNeeded(now, folder, bareName(name))) move(aside, path)
      else if (folder === 'images') isIndexOld = true
    }
  }
  if (isIndexOld) rewriteIndex(session, { images: () => listImages(session), tags: () => listTags(session) })
  if (taken.length > 0) move(session.layout.folder('condemned'), gonePath(session.layout))
}

/** Moves back what a killed collection had out of sight. */
export function restoreCondemned(session: Session): void {
  for (const folder of folders) {
    const names = listFolder(`${session.layout.folder('condemned')}/${folder}`)
    if (names.length > 0) mkdirSync(session.layout.folder(folder), { recursive: true })
    for (const name of names) {
      move(condemnedPath(session, folder, name), `${session.layout.folder(folder)}/${name}`)
    }
  }
}

function lookAgain(session: Session, doomed: ReadonlySet<string>, cache: ReadCache): Needed {
  const records = listRecords(session, cache).map(({ record }) => record)
  return findNeeded(session, doomed, records, cache)
}

/** Everything that is not needed. */
function findCandidates(session: Session, needed: Needed): Candidate[] {
  const candidates: Candidate[] = []
  for (const folder of folders) {
    for (const name of listFolder(session.layout.folder(folder))) {
      const path = `${session.layout.folder(folder)}/${name}`
      if (isNeeded(needed, folder, bareName(name))) continue
      if (name.endsWith('.tmp') && !isAbandoned(path)) continue
      candidates.push({ folder, path, name })
    }
  }
  return candidates
}

function bareName(name: string): string {
  return name.replace(/\.(json|entries)$/, '')
}

function isNeeded(needed: Needed, folder: Folder, name: string): boolean {
  if (folder === 'images') return needed.images.has(name)
  if (folder === 'layers') return needed.layers.has(name)
  return folder === 'snapshots' ? needed.snapshots.has(name) : needed.blobs.has(name)
}

function condemnedPath(session: Session, folder: Folder, name: string): string {
  return `${session.layout.folder('condemned')}/${folder}/${name}`
}

function move(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    // Removed by its own process meanwhile; or made anew while it was aside, and then the new one counts.
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ENOTEMPTY' || code === 'EEXIST') return false
    throw asStoreError(error, from)
  }
}
