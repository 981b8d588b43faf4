/** What a store holds besides layers and images: cache mounts, repositories, logs, memos, build records, volumes. */
import { closeSync, statSync } from 'node:fs'
import { hideCredentials } from '../core/address.js'
import { readTextIfExists } from '../io/fs.js'
import { tryLock } from '../io/sys.js'
import { listBuilds } from './builds.js'
import type { DiskMeter } from './disk-usage.js'
import { cacheLock } from './gc-folders.js'
import { type ItemContent, idLength, type LooseFile, type StoreItem } from './items.js'
import { listFolder, openLockFile } from './lock.js'
import { isObject, readRecord } from './record-file.js'
import type { Session } from './session.js'
import { type Use, useOf } from './use.js'

/** What ops/cache-mounts.ts writes beside a cache, `<cache>.id`: for people. */
export interface CacheMountNote {
  readonly id: string
  readonly target: string
  readonly createdAt: number
}

/** What a collection may remove. */
export async function folderItems(session: Session, meter: DiskMeter, isBusy: boolean): Promise<StoreItem[]> {
  const { layout } = session
  return [
    ...(await cacheMountItems(layout.folder('cache-mounts'), meter, isBusy)),
    ...(await repositoryItems(layout.folder('git'), meter, isBusy)),
    await looseItem('logs', 'whole output of steps', layout.folder('logs'), meter),
    await looseItem('memo', 'what is remembered of contexts and Dockerfiles', layout.folder('memo'), meter),
    await historyItem(layout.folder('history'), meter),
    unfinishedItem(await unfinishedBytes(session, meter), isBusy),
  ].filter(({ size, content }) => size > 0 && !isEmpty(content))
}

/** Directories alone are the store's. */
function isEmpty(content: ItemContent): boolean {
  if (content.kind === 'history') return content.builds.length === 0
  return content.kind === 'files' && content.files.length === 0
}

/** What is left, of which a prune removes nothing or what everybody removes. */
export async function restItems(session: Session, meter: DiskMeter): Promise<StoreItem[]> {
  const { layout } = session
  const items: StoreItem[] = []
  for (const name of listFolder(`${layout.root}/volumes`)) {
    const size = await meter.measure(`${layout.root}/volumes/${name}`)
    items.push({ ...plainItem(name, `volume ${name}`, size), type: 'volume', mutable: true, held: 'always' })
  }
  const reasons = await meter.measure(layout.folder('explain'))
  items.push({ ...plainItem('explain', 'what reasons are made of', reasons), mutable: true, held: 'always' })
  const rest = await meter.measure(layout.root)
  items.push({ ...plainItem('store', 'directories, indexes and locks', rest), mutable: true, held: 'always' })
  return items.filter(({ size }) => size > 0)
}

/** Half-written files, snapshots that are being made, what a collection has moved out of sight. */
async function unfinishedBytes({ layout }: Session, meter: DiskMeter): Promise<number> {
  const folders = [layout.folder('tmp'), layout.folder('active'), layout.folder('quarantine')]
  for (const name of ['images', 'layers', 'snapshots', 'blobs/sha256']) folders.push(`${layout.folder('condemned')}/${name}`)
  let bytes = 0
  for (const folder of folders) for (const name of listFolder(folder)) bytes += await meter.measure(`${folder}/${name}`)
  return bytes
}

function unfinishedItem(size: number, isBusy: boolean): StoreItem {
  return {
    ...plainItem('unfinished', isBusy ? 'what is being written' : 'what was left unfinished', size),
    ...{ mutable: true, held: isBusy ? ('process' as const) : undefined },
    content: { kind: 'unreferenced', path: undefined },
  }
}

function plainItem(id: string, description: string, size: number): StoreItem {
  return {
    ...{ id: id.slice(0, idLength), type: 'internal', parents: [], description, createdAt: undefined, lastUsedAt: undefined },
    ...{ usageCount: undefined, mutable: false, shared: false, held: undefined, size },
    content: { kind: 'fixed' },
  }
}

async function cacheMountItems(folder: string, meter: DiskMeter, isBusy: boolean): Promise<StoreItem[]> {
  const items: StoreItem[] = []
  for (const name of listFolder(folder)) {
    if (/\.(lock|making|id)$/.test(name)) continue
    const path = `${folder}/${name}`
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats === undefined) continue
    let size = await meter.measure(path)
    for (const ending of ['lock', 'making', 'id']) size += await meter.measure(`${path}.${ending}`)
    // The first instance of a cache that is private has the note for all.
    const note = readRecord(`${path.replace(/-\d+$/, '')}.id`, isCacheMountNote)
    const use = useOfFile(`${path}.id`) ?? { lastUsedAt: stats.mtimeMs, count: undefined }
    items.push({
      ...plainItem(shortened(name), describeCacheMount(note), size),
      ...{ type: 'exec.cachemount', mutable: true, createdAt: note?.createdAt ?? stats.birthtimeMs },
      ...{ lastUsedAt: use.lastUsedAt, usageCount: use.count },
      ...{ held: isBusy && isLocked(cacheLock(path)) ? ('process' as const) : undefined },
      content: { kind: 'cache-mount', path },
    })
  }
  return items
}

/** Instances of one cache differ in their endings. */
function shortened(name: string): string {
  const [base = '', ending = ''] = name.split(/(?=[-.])/)
  return `${base.slice(0, idLength - ending.length)}${ending}`
}

function describeCacheMount(note: CacheMountNote | undefined): string {
  return note === undefined ? 'cached mount' : `cached mount ${note.target} with id "${note.id}"`
}

/** True for what is in a `.id` file. */
export function isCacheMountNote(value: unknown): value is CacheMountNote {
  return (
    isObject(value) && typeof value.id === 'string' && typeof value.target === 'string' && typeof value.createdAt === 'number'
  )
}

function useOfFile(path: string): Use | undefined {
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats === undefined ? undefined : useOf(stats)
}

async function repositoryItems(folder: string, meter: DiskMeter, isBusy: boolean): Promise<StoreItem[]> {
  const items: StoreItem[] = []
  for (const name of listFolder(folder).filter((each) => each.endsWith('.git'))) {
    const path = `${folder}/${name}`
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats === undefined) continue
    const size = (await meter.measure(path)) + (await meter.measure(`${path}.lock`)) + (await meter.measure(`${path}.new`))
    const url = / of (\S+)\s*$/m.exec(readTextIfExists(`${path}/FETCH_HEAD`) ?? '')?.[1]
    items.push({
      ...plainItem(
        name.replace(/\.git$/, ''),
        url === undefined ? 'git repository' : `git repository ${hideCredentials(url)}`,
        size,
      ),
      ...{ type: 'source.git.checkout', mutable: true, createdAt: stats.birthtimeMs, lastUsedAt: stats.mtimeMs },
      ...{ held: isBusy && isLocked(`${path}.lock`) ? ('process' as const) : undefined },
      content: { kind: 'git', path },
    })
  }
  return items
}

/** True when a process has the file locked in any way. */
function isLocked(path: string): boolean {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return false
  const fd = openLockFile(path)
  try {
    return !tryLock(fd, 'exclusive')
  } finally {
    closeSync(fd)
  }
}

async function looseItem(id: string, description: string, folder: string, meter: DiskMeter): Promise<StoreItem> {
  const files: LooseFile[] = []
  for (const name of listFolder(folder)) {
    const path = `${folder}/${name}`
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats?.isFile()) files.push({ path, size: meter.claim(path, stats.blocks * 512), at: stats.mtimeMs })
  }
  const times = files.map(({ at }) => at)
  return {
    ...plainItem(
      id,
      description,
      files.reduce((sum, { size }) => sum + size, 0),
    ),
    ...{ mutable: true, createdAt: least(times), lastUsedAt: most(times) },
    content: { kind: 'files', files },
  }
}

async function historyItem(folder: string, meter: DiskMeter): Promise<StoreItem> {
  const builds = []
  for (const build of listBuilds(folder)) {
    const size = (await meter.measure(`${build.stem}.json`)) + (await meter.measure(`${build.stem}.events`))
    builds.push({ ...build, size })
  }
  return {
    ...plainItem(
      'history',
      `${builds.length} build records`,
      builds.reduce((sum, { size }) => sum + size, 0),
    ),
    ...{ type: 'history', mutable: true, createdAt: builds.at(-1)?.startedAt, lastUsedAt: builds[0]?.startedAt },
    content: { kind: 'history', builds },
  }
}

/** Not by spreading: there may be more files than arguments. */
function least(values: readonly number[]): number | undefined {
  return values.reduce<number | undefined>((best, value) => (best === undefined || value < best ? value : best), undefined)
}

function most(values: readonly number[]): number | undefined {
  return values.reduce<number | undefined>((best, value) => (best === undefined || value > best ? value : best), undefined)
}
