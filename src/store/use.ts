/**
 * When something was used last, and how often: kept in the time of a file, so that it costs one system call.
 *
 * The whole seconds of the modification time are the last use, its milliseconds the number of uses (999 is "or more"). A
 * file whose time has microseconds too was written by something else: its uses are not known.
 */
import { type Stats, statSync, utimesSync } from 'node:fs'
import { systemCode } from '../core/errors.js'

const mostUses = 999

/** The use of a file's content. */
export interface Use {
  /** ms since 1970. */
  readonly lastUsedAt: number
  /** At most 999. */
  readonly count: number | undefined
}

/** Reads what `noteUse` and `startUse` wrote. */
export function useOf({ mtimeMs }: Pick<Stats, 'mtimeMs'>): Use {
  const whole = Math.round(mtimeMs)
  const isOurs = Math.abs(mtimeMs - whole) < 0.002 && whole % 1000 > 0
  return isOurs ? { lastUsedAt: whole - (whole % 1000), count: whole % 1000 } : { lastUsedAt: mtimeMs, count: undefined }
}

/** Counts one more use of the file at `path`, now. Nothing happens where it is gone or may only be read. */
export function noteUse(path: string, nowMs: number): void {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats !== undefined) setUse(path, nowMs, Math.min(mostUses, (useOf(stats).count ?? 1) + 1))
}

/** A file that was just written was used once. */
export function startUse(path: string, nowMs: number): void {
  setUse(path, nowMs, 1)
}

function setUse(path: string, nowMs: number, count: number): void {
  // Half a microsecond more: the number is cut to microseconds, and must not fall below the millisecond.
  const seconds = Math.floor(nowMs / 1000) + count / 1000 + 5e-7
  try {
    utimesSync(path, seconds, seconds)
  } catch (error) {
    const code = systemCode(error)
    if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error
  }
}
