/**
 * When a store was collected last and what was in it then, so that a build knows without looking whether it is time.
 *
 * `gc/state.json` is written by collections; `gc/added` gets a line with a number of bytes from each process that added
 * layers or blobs. A build in which nothing ran looks at the time of one file.
 */
import { appendFileSync, mkdirSync, statSync } from 'node:fs'
import { systemCode } from '../core/errors.js'
import { readTextIfExists } from '../io/fs.js'
import { type Layout, layoutOf } from './layout.js'
import { diskSpace, type GcSettings, limitsOf } from './policy.js'
import { isObject, readRecord, writeRecord } from './record-file.js'

/** What the last collection left. Bytes. */
export interface GcState {
  /** By what only the cache needs. */
  readonly usedBytes: number
  readonly freeBytes: number
  /** False when there was more to delete than time. */
  readonly isFinished: boolean
}

const hourMs = 3_600_000
/** After a build in which steps ran, and after one in which none did. */
const busyIntervalMs = 6 * hourMs
const idleIntervalMs = 24 * hourMs

/** The directory of what collections remember. */
export function gcFolder({ root }: Pick<Layout, 'root'>): string {
  return `${root}/gc`
}

/** Says what a collection left. */
export function writeGcState(layout: Layout, state: GcState): void {
  writeRecord(statePath(layout), state)
}

/** Notes that a process has added to the store. A store that may only be read has nothing added. */
export function noteAdded(layout: Layout, bytes: number): void {
  try {
    mkdirSync(gcFolder(layout), { recursive: true })
    appendFileSync(`${gcFolder(layout)}/added`, `${bytes}\n`)
  } catch (error) {
    const code = systemCode(error)
    // A full disk is no reason to fail here: that it is full is seen by looking at it.
    if (code !== 'EACCES' && code !== 'EROFS' && code !== 'EPERM' && code !== 'ENOSPC' && code !== 'EDQUOT') throw error
  }
}

/**
 * True when it is time for a collection.
 *
 * @param ran whether the build that asks ran a step
 */
export function isCollectionDue(root: string, ran: boolean, settings: GcSettings, nowMs: number): boolean {
  const layout = layoutOf(root)
  const stats = statSync(statePath(layout), { throwIfNoEntry: false })
  const ageMs = stats === undefined ? undefined : nowMs - stats.mtimeMs
  if (!ran) return ageMs !== undefined && ageMs > idleIntervalMs
  if (statSync(root, { throwIfNoEntry: false }) === undefined) return false
  const disk = diskSpace(root)
  const limits = limitsOf(settings, disk)
  const state = readRecord(statePath(layout), isGcState)
  if (state === undefined) {
    const mayBeFull = disk.free < limits.minFree || (limits.maxUsed > 0 && disk.total - disk.free > limits.maxUsed)
    if (!mayBeFull) writeGcState(layout, { usedBytes: 0, freeBytes: disk.free, isFinished: true })
    return mayBeFull
  }
  if (!state.isFinished || (ageMs ?? 0) > busyIntervalMs) return true
  const used = state.usedBytes + addedSince(layout)
  if (limits.maxUsed > 0 && used > limits.maxUsed) return true
  // What cache mounts grew by shows only in what is free.
  return disk.free < limits.minFree && Math.max(used, state.usedBytes + state.freeBytes - disk.free) > limits.reserved
}

function addedSince(layout: Layout): number {
  const lines = (readTextIfExists(`${gcFolder(layout)}/added`) ?? '').split('\n')
  return lines.reduce((sum, line) => sum + (Number(line) || 0), 0)
}

function statePath(layout: Layout): string {
  return `${gcFolder(layout)}/state.json`
}

function isGcState(value: unknown): value is GcState {
  if (!isObject(value)) return false
  const { usedBytes, freeBytes, isFinished } = value
  return typeof usedBytes === 'number' && typeof freeBytes === 'number' && typeof isFinished === 'boolean'
}
