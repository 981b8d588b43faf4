/**
 * Garbage collection: removes what nothing needs, while other processes build.
 *
 * Nobody waits for a lock. Whoever relies on something writes that down first (a pin in its lease; a warm build, which has no
 * lease, its image) and looks whether it is there afterwards. Collection goes the other way round: it moves things out of
 * sight into `condemned/`, then reads again what is needed, moves those back, and only then deletes. So either
 * collection sees the claim, or the claimant sees that the thing is gone and makes it again. What a killed collection
 * left in `condemned/` is moved back by the next.
 */
import { closeSync, mkdirSync, renameSync, statSync } from 'node:fs'

import { hexOf } from '../core/digest.js'
import { StoreError, systemCode } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { removeFiles } from '../io/remove-files.js'
import { attemptLock, tryLock } from '../io/sys.js'
import { collectionLock, markCollecting } from './collecting.js'
import { imagesOfTag, listImages, listTags } from './images.js'
import { clearDeadLeases, listFolder, liveLeases, openLockFile } from './lock.js'
import { rewriteIndex } from './oci-index.js'
import { removeRecord } from './record-file.js'
import { danglingImages, type FoundRecord, findNeeded, listLayers, listRecords, type Needed } from './roots.js'
import type { Session } from './session.js'
import { writeTombstones } from './tombstones.js'
import type { StoredImage } from './types.js'

/** What to collect besides what nothing can reach. */
export interface CollectOptions {
  /** `dangling`: images without a name. `all`: every image, with its names. */
  readonly images: 'none' | 'dangling' | 'all'
  /** Cache records: `all`, or as many of the longest unused as it takes to get below `keepBytes`. */
  readonly records: 'none' | 'all' | { readonly keepBytes: number }
  readonly cacheMounts: boolean
  /** Repositories of git sources that nobody is reading. */
  readonly gitRepositories: boolean
  readonly logs: boolean
  /** Only images, records, cache mounts and logs that were not used since (ms since 1970). */
  readonly unusedSince?: number
  /** Say what would go; change nothing. */
  readonly dryRun: boolean
}

/** One thing that was removed, or would be. */
export interface Collected {
  readonly kind: 'image' | 'record' | 'layer' | 'blob' | 'cache-mount' | 'git' | 'log' | 'temporary'
  /** A digest, an id or a file name. */
  readonly name: string
  /** Bytes that became free; 0 for small files. */
  readonly size: number
}

/** What a collection did. */
export interface CollectReport {
  readonly collected: readonly Collected[]
  readonly bytes: number
  /** Processes that were using the store meanwhile; their cache mounts were left alone. */
  readonly liveProcesses: number
}

/**
 * Removes what `options` ask for and everything that nothing needs then.
 *
 * @throws StoreError STORE_LOCKED when another process collects already
 */
export async function collectGarbage(store: { readonly session: Session }, options: CollectOptions): Promise<CollectReport> {
  const { session } = store
  const lock = openLockFile(collectionLock(session.layout))
  try {
    if (!tryLock(lock, 'exclusive')) {
      throw new StoreError('STORE_LOCKED', `another process is pruning the store in ${session.layout.root}`, {
        hint: 'wait until it is done',
      })
    }
    const mark = options.dryRun ? undefined : markCollecting(session.layout)
    try {
      return await collect(session, options, () => mark?.unmark())
    } finally {
      mark?.unmark()
    }
  } finally {
    closeSync(lock)
  }
}

async function collect(session: Session, options: CollectOptions, moved: () => void): Promise<CollectReport> {
  const live = liveLeases(session.layout, session.leaseName())
  const collected: Collected[] = []
  if (!options.dryRun) {
    restoreAll(session)
    await clearDeadLeases(session.layout, session.leaseName())
  }
  const images = chooseImages(session, options)
  const doomed = new Set(images.map((image) => hexOf(image.id)))
  const { dropped, kept } = chooseRecords(session, options, doomed)
  if (!options.dryRun)
    writeTombstones(
      session.layout.folder('explain'),
      dropped.map(({ record }) => record.key),
      Date.now(),
    )
  for (const { path, record } of dropped) {
    if (!options.dryRun) removeRecord(path)
    collected.push({ kind: 'record', name: record.key, size: 0 })
  }
  const needed = findNeeded(
    session,
    doomed,
    kept.map(({ record }) => record),
  )
  if (!options.dryRun && options.images === 'all') removeTagsOf(session, doomed)
  const candidates = findCandidates(session, needed)
  collected.push(
    ...(options.dryRun ? candidates : await condemn(session, candidates, moved)).map(({ path: _, folder: __, ...item }) => item),
  )
  collected.push(...(await collectFolders(session, options, live.length > 0)))
  const bytes = collected.reduce((sum, { size }) => sum + size, 0)
  return { collected, bytes, liveProcesses: live.length }
}

function chooseImages(session: Session, { images, unusedSince }: CollectOptions): StoredImage[] {
  if (images === 'none') return []
  const candidates = images === 'all' ? listImages(session) : danglingImages(session)
  return candidates.filter((image) => unusedSince === undefined || image.storedAt < unusedSince)
}

function removeTagsOf(session: Session, doomed: ReadonlySet<string>): void {
  for (const tag of listTags(session)) {
    if (doomed.has(hexOf(tag.image))) removeRecord(session.layout.tag(tag.reference))
  }
}

interface ChosenRecords {
  readonly dropped: readonly FoundRecord[]
  readonly kept: readonly FoundRecord[]
}

function chooseRecords(session: Session, options: CollectOptions, doomed: ReadonlySet<string>): ChosenRecords {
  const all = listRecords(session)
  const { records, unusedSince } = options
  if (records === 'none') return { dropped: [], kept: all }
  const isOld = ({ lastUsedAt }: FoundRecord): boolean => unusedSince === undefined || lastUsedAt < unusedSince
  if (records === 'all') return { dropped: all.filter(isOld), kept: all.filter((found) => !isOld(found)) }
  const droppable = all.filter(isOld).sort((a, b) => a.lastUsedAt - b.lastUsedAt)
  const dropped = new Set(dropUntil(session, doomed, all, droppable, records.keepBytes))
  return { dropped: [...dropped], kept: all.filter((found) => !dropped.has(found)) }
}

/** The longest unused records whose layers must go so that at most `keepBytes` stay. */
function dropUntil(
  session: Session,
  doomed: ReadonlySet<string>,
  all: readonly FoundRecord[],
  droppable: readonly FoundRecord[],
  keepBytes: number,
): FoundRecord[] {
  const layers = listLayers(session)
  const fixed = findNeeded(session, doomed, []).layers
  const users = new Map<string, number>()
  for (const { record } of all) for (const id of record.layers) users.set(hexOf(id), (users.get(hexOf(id)) ?? 0) + 1)
  const sizeOf = (hex: string): number => layers.get(hex)?.size ?? 0
  let total = 0
  for (const hex of new Set([...users.keys(), ...fixed])) total += sizeOf(hex)
  const dropped: FoundRecord[] = []
  for (const found of droppable) {
    if (total <= keepBytes) break
    dropped.push(found)
    for (const id of found.record.layers) {
      const left = (users.get(hexOf(id)) ?? 0) - 1
      users.set(hexOf(id), left)
      if (left === 0 && !fixed.has(hexOf(id))) total -= sizeOf(hexOf(id))
    }
  }
  return dropped
}

const condemnable = ['images', 'layers', 'snapshots', 'blobs/sha256'] as const
type CondemnableFolder = (typeof condemnable)[number]

interface Candidate extends Collected {
  readonly folder: CondemnableFolder
  readonly path: string
}

/** Everything that is not needed. */
function findCandidates(session: Session, needed: Needed): Candidate[] {
  const layers = listLayers(session)
  const snapshotSizes = new Map([...layers.values()].map((layer) => [layer.snapshot, layer.size]))
  const candidates: Candidate[] = []
  for (const folder of condemnable) {
    for (const file of listFolder(session.layout.folder(folder))) {
      const name = file.replace(/\.(json|entries)$/, '')
      if (isNeeded(needed, folder, name)) continue
      const path = `${session.layout.folder(folder)}/${file}`
      if (isHalfWritten(path) && Date.now() - mtimeOf(path) < unfinishedMs) continue
      const isList = file.endsWith('.entries')
      const size =
        folder === 'snapshots' && !isList ? (snapshotSizes.get(name) ?? 0) : folder === 'blobs/sha256' ? sizeOf(path) : 0
      candidates.push({ folder, path, name: file, size, kind: kinds[folder] })
    }
  }
  return candidates
}

/** A file on its way to its name: its writer lives, unless it is old. */
function isHalfWritten(path: string): boolean {
  return path.endsWith('.tmp')
}

const unfinishedMs = 3_600_000

const kinds: Readonly<Record<CondemnableFolder, Collected['kind']>> = {
  images: 'image',
  layers: 'layer',
  snapshots: 'layer',
  'blobs/sha256': 'blob',
}

function isNeeded(needed: Needed, folder: CondemnableFolder, name: string): boolean {
  if (folder === 'images') return needed.images.has(name)
  if (folder === 'layers') return needed.layers.has(name)
  return folder === 'snapshots' ? needed.snapshots.has(name) : needed.blobs.has(name)
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

/** Moves out of sight, looks again at what is needed, moves that back, deletes the rest. Returns what is gone. */
async function condemn(session: Session, candidates: readonly Candidate[], moved: () => void): Promise<Candidate[]> {
  const taken = candidates.filter(({ folder, path, name }) => move(path, condemnedPath(session, folder, name)))
  const named = new Set(listTags(session).flatMap(imagesOfTag).map(hexOf))
  for (const { folder, path, name } of taken) {
    if (folder === 'images' && named.has(name.replace(/\.json$/, ''))) move(condemnedPath(session, folder, name), path)
  }
  // Images first, then what they need; layers before the snapshots and blobs that their records name.
  const gone: Candidate[] = []
  for (const folders of [['images'], ['layers'], ['snapshots', 'blobs/sha256']]) {
    const needed = findNeeded(
      session,
      new Set(),
      listRecords(session).map(({ record }) => record),
    )
    for (const candidate of taken) {
      if (!folders.includes(candidate.folder)) continue
      const { folder, path, name } = candidate
      const aside = condemnedPath(session, folder, name)
      if (isNeeded(needed, folder, name.replace(/\.(json|entries)$/, ''))) move(aside, path)
      else gone.push(candidate)
    }
  }
  moved()
  for (const { folder, name } of gone) await removeFiles(condemnedPath(session, folder, name))
  if (gone.some(({ folder }) => folder === 'images'))
    rewriteIndex(session, { images: () => listImages(session), tags: () => listTags(session) })
  return gone
}

function condemnedPath(session: Session, folder: CondemnableFolder, name: string): string {
  return `${session.layout.folder('condemned')}/${folder}/${name}`
}

function move(from: string, to: string): boolean {
  try {
    mkdirSync(to.slice(0, to.lastIndexOf('/')), { recursive: true })
    renameSync(from, to)
    return true
  } catch (error) {
    // Removed by its own process meanwhile; or made anew while it was aside, and then the new one counts.
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ENOTEMPTY' || code === 'EEXIST') return false
    throw asStoreError(error, from)
  }
}

function restoreAll(session: Session): void {
  for (const folder of condemnable) {
    for (const name of listFolder(`${session.layout.folder('condemned')}/${folder}`)) {
      move(condemnedPath(session, folder, name), `${session.layout.folder(folder)}/${name}`)
    }
  }
}

/** Cache mounts, logs, and files that were never finished. */
async function collectFolders(session: Session, options: CollectOptions, isBusy: boolean): Promise<Collected[]> {
  const { layout } = session
  const collected: Collected[] = []
  const sweep = async (
    folder: string,
    kind: Collected['kind'],
    isDue: (path: string, name: string) => boolean,
  ): Promise<void> => {
    for (const name of listFolder(folder)) {
      const path = `${folder}/${name}`
      if (!isDue(path, name)) continue
      collected.push({ kind, name, size: sizeOf(path) })
      if (!options.dryRun) await removeFiles(path)
    }
  }
  const isUnused = (path: string): boolean => options.unusedSince === undefined || mtimeOf(path) < options.unusedSince
  const hasNoOwner = (_: string, name: string): boolean => name.startsWith('gone-') || !isOwned(layout.folder('leases'), name)
  await sweep(layout.folder('tmp'), 'temporary', hasNoOwner)
  const isAbandoned = (path: string): boolean => isHalfWritten(path) && Date.now() - mtimeOf(path) > unfinishedMs
  for (const part of listFolder(layout.folder('records'))) {
    await sweep(`${layout.folder('records')}/${part}`, 'temporary', isAbandoned)
  }
  await sweep(layout.folder('tags'), 'temporary', isAbandoned)
  await sweep(layout.folder('quarantine'), 'temporary', () => true)
  if (options.cacheMounts && !isBusy) await sweep(layout.folder('cache-mounts'), 'cache-mount', isUnused)
  if (options.gitRepositories) collected.push(...(await collectRepositories(layout.folder('git'), isUnused, options.dryRun)))
  if (options.logs && !isBusy) await sweep(layout.folder('logs'), 'log', isUnused)
  return collected
}

/** Each under its own lock, which `ops/git-cache.ts` holds while it reads or fetches. The lock files stay: others may have them open. */
async function collectRepositories(
  folder: string,
  isUnused: (path: string) => boolean,
  dryRun: boolean,
): Promise<readonly Collected[]> {
  const collected: Collected[] = []
  for (const name of listFolder(folder).filter((each) => each.endsWith('.git'))) {
    const path = `${folder}/${name}`
    if (!isUnused(path)) continue
    const lock = openLockFile(`${path}.lock`)
    try {
      if (attemptLock(lock, 'exclusive') !== 'taken') continue
      collected.push({ kind: 'git', name, size: sizeOf(path) })
      if (!dryRun) await removeFiles(path)
      if (!dryRun) await removeFiles(`${path}.new`)
    } finally {
      closeSync(lock)
    }
  }
  return collected
}

function isOwned(leases: string, name: string): boolean {
  return statSync(`${leases}/${name.slice(0, name.indexOf('-'))}`, { throwIfNoEntry: false }) !== undefined
}

/** When a file was written; never, when it is gone by now. */
function mtimeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY
}
