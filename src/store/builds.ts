/**
 * Build records, in the store's `history` directory: `<ms since 1970>-<id>.json` for each build, and beside it `.events`
 * with one line for each event where a step ran. Names sort by time, so that the newest are found without reading any.
 */
import { readFileSync, rmSync, statSync } from 'node:fs'
import { systemCode } from '../core/errors.js'
import type { StepReason } from '../core/reason.js'
import { listFolder } from './lock.js'
import { isObject, readRecord, writeRecord } from './record-file.js'

/** One step in a build record. */
export interface RecordedStep {
  /** The vertex: the same for the same step on the same inputs. */
  readonly id: string
  readonly name: string
  /** `waiting`: it had not begun when the build ended. */
  readonly status: 'ran' | 'cached' | 'failed' | 'running' | 'waiting'
  readonly key?: string
  /** ms since 1970. */
  readonly startedAt?: number
  readonly durationMs?: number
  /** How long it waited for other processes that did the same work. */
  readonly waitedMs?: number
  /** The last of them. */
  readonly waitedFor?: { readonly pid: number; readonly command: string }
  readonly reason?: StepReason
  readonly error?: string
}

/** What is kept of a build. Times are ms since 1970. */
export interface BuildRecord {
  readonly version: 1
  readonly id: string
  /** `running` with a process that is gone: it was killed. */
  readonly status: 'running' | 'completed' | 'failed' | 'cancelled'
  readonly startedAt: number
  readonly endedAt?: number
  readonly process?: { readonly pid: number; readonly started: string }
  readonly context: string
  readonly dockerfile: string
  readonly target?: string
  readonly platform?: string
  /** Values only where the name does not sound like a secret. */
  readonly buildArgs: Readonly<Record<string, string>>
  readonly names: readonly string[]
  readonly imageId?: string
  readonly error?: { readonly code?: string; readonly message: string }
  readonly warnings: readonly { readonly code: string; readonly message: string }[]
  readonly steps: readonly RecordedStep[]
}

/** A build record in its file. */
export interface BuildFile {
  readonly id: string
  readonly startedAt: number
  /** Without `.json`. */
  readonly stem: string
}

/** How much is kept. */
export interface HistoryLimits {
  readonly count: number
  readonly ageMs: number
  /** Of all events together. */
  readonly eventBytes: number
}

/** What is kept when nothing else is said. */
export const historyLimits: HistoryLimits = { count: 300, ageMs: 90 * 86_400_000, eventBytes: 256 << 20 }

/** The file of a build without its ending. */
export function buildStem(folder: string, startedAt: number, id: string): string {
  return `${folder}/${startedAt}-${id}`
}

/** Writes or replaces the record of a build. */
export function writeBuild(folder: string, record: BuildRecord): void {
  writeRecord(`${buildStem(folder, record.startedAt, record.id)}.json`, record)
}

/** All builds, newest first; nothing is read but the names. */
export function listBuilds(folder: string): BuildFile[] {
  return listFolder(folder)
    .flatMap((file) => {
      const [, time, id] = /^(\d+)-([a-z0-9]+)\.json$/.exec(file) ?? []
      return time === undefined || id === undefined
        ? []
        : [{ id, startedAt: Number(time), stem: `${folder}/${file.slice(0, -'.json'.length)}` }]
    })
    .sort((a, b) => b.startedAt - a.startedAt || (a.id < b.id ? 1 : -1))
}

/** The record of a build; undefined when it is damaged or gone. */
export function readBuild({ stem }: BuildFile): BuildRecord | undefined {
  return readRecord(`${stem}.json`, isBuildRecord)
}

/** The events of a build as they were written: JSON, one a line; empty where no step ran. */
export function readBuildEvents({ stem }: BuildFile): string {
  try {
    return readFileSync(`${stem}.events`, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return ''
    throw error
  }
}

/** Removes the record of a build and its events. */
export function removeBuild({ stem }: BuildFile): void {
  for (const ending of ['.json', '.events']) rmSync(stem + ending, { force: true })
}

/** Removes what is too old or too much, oldest first. */
export function pruneBuilds(folder: string, limits: HistoryLimits, nowMs: number): void {
  let bytes = 0
  for (const [i, build] of listBuilds(folder).entries()) {
    bytes += statSync(`${build.stem}.events`, { throwIfNoEntry: false })?.size ?? 0
    if (i >= limits.count || nowMs - build.startedAt > limits.ageMs) removeBuild(build)
    else if (bytes > limits.eventBytes && i > 0) rmSync(`${build.stem}.events`, { force: true })
  }
}

/** The checksum says that mille wrote it; a record of another version is none. */
function isBuildRecord(value: unknown): value is BuildRecord {
  return isObject(value) && value.version === 1 && Array.isArray(value.steps)
}
