/**
 * Garbage collection: removes what rules choose and what nothing needs, while other processes build.
 *
 * Nobody waits for a lock. Whoever relies on something writes that down first (a pin in its lease; a warm build, which has no
 * lease, its image) and looks whether it is there afterwards. Collection goes the other way round: it moves things out of
 * sight into `condemned/`, then reads again what is needed, moves those back, and only then deletes. So either
 * collection sees the claim, or the claimant sees that the thing is gone and makes it again. What a killed collection
 * left in `condemned/` is moved back by the next. What is to be deleted lies in `tmp/gone-…`: when time is up or Ctrl-C
 * comes, the next collection goes on.
 */
import { closeSync, existsSync, rmSync, statSync } from 'node:fs'
import { hexOf } from '../core/digest.js'
import { StoreError } from '../core/errors.js'
import { removeFiles } from '../io/remove-files.js'
import { tryLock } from '../io/sys.js'
import { removeBuild } from './builds.js'
import { type ChosenItem, chooseItems, type GcRule } from './choose.js'
import { collectionLock, markCollecting } from './collecting.js'
import { condemn, restoreCondemned } from './condemn.js'
import { clearCacheLocks, collectCacheMount, collectRepository } from './gc-folders.js'
import { gcFolder, writeGcState } from './gc-state.js'
import { isAbandoned } from './half-written.js'
import { imagesOfTag, listTags } from './images.js'
import { takeInventory } from './inventory.js'
import type { Inventory } from './items.js'
import { clearDeadLeases, listFolder, liveLeases, openLockFile } from './lock.js'
import { diskSpace } from './policy.js'
import { ReadCache } from './read-cache.js'
import { removeRecord } from './record-file.js'
import { findNeeded, listRecords } from './roots.js'
import type { Session } from './session.js'
import { openSnapshotSizes } from './snapshot-sizes.js'
import { writeTombstones } from './tombstones.js'

/** How a store is collected. */
export interface CollectOptions {
  /** In turn; what one takes is gone for the next. */
  readonly rules: readonly GcRule[]
  /** Also what nothing can reach, and what dead processes left. */
  readonly unreferenced: boolean
  /** Say what would go; change nothing. */
  readonly dryRun: boolean
  /** Stops between two files; what is done is done. */
  readonly signal: AbortSignal
  /** Deleting stops after this long, and the next collection goes on; no limit. */
  readonly budgetMs?: number
}

/** What a collection did. */
export interface CollectReport {
  /** What was removed, or would be; least used first. */
  readonly removed: readonly ChosenItem[]
  /** Bytes that became free. */
  readonly bytes: number
  /** Other processes that were using the store meanwhile. */
  readonly liveProcesses: number
  /** False when time was up before all was deleted. */
  readonly isFinished: boolean
}

/**
 * Removes what the rules choose.
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
    return await collect(session, options)
  } finally {
    closeSync(lock)
  }
}

const measureBudgetMs = 5_000

async function collect(session: Session, options: CollectOptions): Promise<CollectReport> {
  const { layout } = session
  const { dryRun, signal } = options
  const cache = new ReadCache()
  if (!dryRun) {
    restoreCondemned(session)
    rmSync(`${gcFolder(layout)}/added`, { force: true })
    await clearDeadLeases(layout, session.leaseName())
  }
  const liveProcesses = liveLeases(layout, session.leaseName()).length
  const sizes = openSnapshotSizes(`${gcFolder(layout)}/sizes.json`, dryRun ? Number.POSITIVE_INFINITY : measureBudgetMs)
  const inventory = await takeInventory(session, { signal, whole: false, sizes, cache })
  const disk = diskSpace(layout.root)
  const rules = options.unreferenced ? [unreferencedRule, ...options.rules] : options.rules
  const chosen = chooseItems(inventory, rules, disk)
  if (dryRun) return reportOf(chosen, liveProcesses, true)
  signal.throwIfAborted()
  const removed = await removeChosen(session, chosen, options, cache)
  const isFinished = await removeGone(session, options)
  sizes.save()
  writeGcState(layout, { usedBytes: usedAfter(inventory, removed), freeBytes: diskSpace(layout.root).free, isFinished })
  return reportOf(removed, liveProcesses, isFinished)
}

/** What nothing points at goes with every collection. */
const unreferencedRule: GcRule = {
  matches: ({ content }) => content.kind === 'unreferenced',
  ...{ shared: false, internal: false, namedImages: false, unreferenced: true },
  reason: 'needed by nothing',
}

function reportOf(removed: readonly ChosenItem[], liveProcesses: number, isFinished: boolean): CollectReport {
  return { removed, bytes: removed.reduce((sum, { size }) => sum + size, 0), liveProcesses, isFinished }
}

function usedAfter({ items }: Inventory, removed: readonly ChosenItem[]): number {
  const used = items.reduce((sum, { held, size, type }) => sum + (held === undefined && type !== 'history' ? size : 0), 0)
  return Math.max(
    0,
    removed.reduce((left, { item, size }) => left - (item.held === undefined ? size : 0), used),
  )
}

/** Takes everything out of sight. What turned out to be needed meanwhile stays, and is not in the result. */
async function removeChosen(
  session: Session,
  chosen: readonly ChosenItem[],
  { unreferenced }: CollectOptions,
  cache: ReadCache,
): Promise<ChosenItem[]> {
  const before = findNeeded(session, new Set(), recordsOf(session, cache), cache)
  dropRecords(session, chosen)
  const doomed = new Set(chosen.flatMap(({ item }) => (item.content.kind === 'image' ? hexOf(item.content.image) : [])))
  removeTagsOf(session, chosen)
  // From here on whoever claims something waits until all is where it belongs.
  const mark = markCollecting(session.layout)
  try {
    condemn(session, doomed, unreferenced ? undefined : before, cache)
  } finally {
    mark.unmark()
  }
  const removed: ChosenItem[] = []
  for (const each of chosen) {
    const { content } = each.item
    let isGone = true
    if (content.kind === 'cache-mount') isGone = collectCacheMount(session.layout, content.path)
    else if (content.kind === 'git') isGone = collectRepository(session.layout, content.path)
    else if (content.kind === 'files') for (const { path } of each.files) rmSync(path, { force: true })
    else if (content.kind === 'history') for (const file of each.files) removeBuild(buildOf(file))
    else if (content.kind === 'image') isGone = !existsSync(session.layout.image(content.image))
    if (isGone) removed.push(withoutKeptLayer(session, each))
  }
  return removed
}

function recordsOf(session: Session, cache: ReadCache): ReturnType<typeof listRecords>[number]['record'][] {
  return listRecords(session, cache).map(({ record }) => record)
}

function buildOf({ path, at }: { readonly path: string; readonly at: number }): Parameters<typeof removeBuild>[0] {
  return { id: '', startedAt: at, stem: path }
}

function dropRecords(session: Session, chosen: readonly ChosenItem[]): void {
  const dropped = chosen.flatMap(({ item }) => (item.content.kind === 'result' ? item.content.records : []))
  writeTombstones(
    session.layout.folder('explain'),
    dropped.map(({ record }) => record.key),
    Date.now(),
  )
  for (const { path } of dropped) removeRecord(path)
}

/** Names go only where the image they stand for was chosen with them. */
function removeTagsOf(session: Session, chosen: readonly ChosenItem[]): void {
  const images = new Set(
    chosen.flatMap(({ item: { content, held } }) => (content.kind === 'image' && held === 'name' ? [content.image] : [])),
  )
  if (images.size === 0) return
  for (const tag of listTags(session)) {
    if (imagesOfTag(tag).every((id) => images.has(id))) removeRecord(session.layout.tag(tag.reference))
  }
}

/** A process has claimed the layer meanwhile: only its records are gone. */
function withoutKeptLayer(session: Session, each: ChosenItem): ChosenItem {
  const { content } = each.item
  if (content.kind !== 'result' || content.layer === undefined || each.size <= content.recordBytes) return each
  const isThere = existsSync(`${session.layout.folder('layers')}/${content.layer}.json`)
  return isThere ? { ...each, size: content.recordBytes } : each
}

/** Deletes what is out of sight, this collection's and what an earlier one left. False when time was up. */
async function removeGone({ layout }: Session, { signal, budgetMs }: CollectOptions): Promise<boolean> {
  const end = performance.now() + (budgetMs ?? Number.POSITIVE_INFINITY)
  for (const path of leftovers(layout.folder('quarantine'), layout.folder('tmp'), layout.folder('leases'))) {
    if (!(await removeUntil(path, 2, () => signal.aborted || performance.now() > end))) return false
  }
  clearCacheLocks(layout)
  const halfWritten = [
    layout.folder('tags'),
    ...listFolder(layout.folder('records')).map((part) => `${layout.folder('records')}/${part}`),
  ]
  for (const folder of halfWritten) {
    for (const name of listFolder(folder)) if (isAbandoned(`${folder}/${name}`)) rmSync(`${folder}/${name}`, { force: true })
  }
  return true
}

/** Removes entry by entry down to a depth, so that it can stop. False when it did. */
async function removeUntil(path: string, depth: number, isTimeUp: () => boolean): Promise<boolean> {
  if (isTimeUp()) return false
  if (depth > 0 && statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    for (const name of listFolder(path)) if (!(await removeUntil(`${path}/${name}`, depth - 1, isTimeUp))) return false
  }
  await removeFiles(path)
  return true
}

function leftovers(quarantine: string, tmp: string, leases: string): string[] {
  const isOwned = (name: string): boolean =>
    statSync(`${leases}/${name.slice(0, name.indexOf('-'))}`, { throwIfNoEntry: false }) !== undefined
  return [
    ...listFolder(tmp)
      .filter((name) => name.startsWith('gone-') || !isOwned(name))
      .map((name) => `${tmp}/${name}`),
    ...listFolder(quarantine).map((name) => `${quarantine}/${name}`),
  ]
}
