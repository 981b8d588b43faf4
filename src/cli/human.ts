/** Sizes, times and ages as docker prints them, and tables. */
import type { BuildEvent } from '../core/context.js'
import { displayWidth, printableLine, truncateToWidth } from '../core/width.js'
import type { RecordedStep } from '../store/builds.js'

const sizeUnits = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Bytes in decimal units with three digits: `0B`, `4.26MB`, `116MB`. */
export function humanSize(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < sizeUnits.length - 1) {
    value /= 1000
    unit++
  }
  return `${Number(value.toPrecision(3))}${sizeUnits[unit]}`
}

/** Seconds with one digit: `0.3s`, `12.0s`, `75.2s`. */
export function humanSeconds(ms: number): string {
  return `${(Math.max(0, ms) / 1000).toFixed(1)}s`
}

/**
 * Whom a step waits for: `waiting for process 4711 (mille build -t app ., since 3 s), which runs this step`.
 *
 * The name comes out of a file of another process: it is shown as one line without control characters.
 */
export function waitingText({ process, work, atMs }: Extract<BuildEvent, { type: 'waiting' }>): string {
  if (process === undefined) return `waiting for another process, which ${work}`
  const since = Math.max(0, Math.round((atMs - process.sinceMs) / 1000))
  const command = shownCommand(process)
  const { pid, isStopped = false } = process
  if (!isStopped) return `waiting for process ${pid} (${command}, since ${since} s), which ${work}`
  return `waiting for process ${pid}, which is stopped: continue it with "kill -CONT ${pid}", or end it (${command}, since ${since} s, ${work})`
}

/** How long a step waited: `waited 3.2s for process 4711 (mille build -t app .)`; undefined for one that did not. */
export function waitedText({ waitedMs, waitedFor }: Pick<RecordedStep, 'waitedMs' | 'waitedFor'>): string | undefined {
  if (waitedMs === undefined) return undefined
  const who = waitedFor === undefined ? 'another process' : `process ${waitedFor.pid} (${shownCommand(waitedFor)})`
  return `waited ${humanSeconds(waitedMs)} for ${who}`
}

const longestCommand = 120

function shownCommand({ command }: { readonly command: string }): string {
  return truncateToWidth(printableLine(command), longestCommand)
}

/** A length of time as docker words it: `2 weeks`, `About an hour`, `Less than a second`. */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  if (seconds < 1) return 'Less than a second'
  if (seconds === 1) return '1 second'
  if (seconds < 60) return `${seconds} seconds`
  const minutes = Math.floor(seconds / 60)
  if (minutes === 1) return 'About a minute'
  if (minutes < 60) return `${minutes} minutes`
  const hours = Math.round(seconds / 3600)
  if (hours === 1) return 'About an hour'
  if (hours < 48) return `${hours} hours`
  const days = hours / 24
  if (hours < 24 * 7 * 2) return `${Math.floor(days)} days`
  if (hours < 24 * 30 * 2) return `${Math.floor(days / 7)} weeks`
  if (hours < 24 * 365 * 2) return `${Math.floor(days / 30)} months`
  return `${Math.floor(days / 365)} years`
}

/** `2 weeks ago`; `N/A` for a time that is not known. */
export function humanAge(thenMs: number | undefined, nowMs: number): string {
  return thenMs === undefined || Number.isNaN(thenMs) ? 'N/A' : `${humanDuration(nowMs - thenMs)} ago`
}

/** A time as docker prints it in lists of images, in UTC: `2026-01-31 12:00:00 +0000 UTC`. */
export function humanTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`
}

/** What docker's columns have at least, with the blanks behind them. */
const leastColumn = 10

/**
 * A table with docker's three blanks between columns. The last column is not padded. Nothing in a cell moves the cursor: names
 * and comments come from whoever made the image.
 */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const lines = rows.map((row) => row.map(printableLine))
  const columns = Math.max(0, ...lines.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(leastColumn, ...lines.map((row) => displayWidth(row[i] ?? '') + 3)),
  )
  const padded = (cell: string, i: number): string => cell + ' '.repeat((widths[i] ?? 0) - displayWidth(cell))
  return lines.map((row) => `${row.map((cell, i) => (i === row.length - 1 ? cell : padded(cell, i))).join('')}\n`).join('')
}
