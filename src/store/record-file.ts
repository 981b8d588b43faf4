/**
 * One small JSON file with a checksum of itself: `{"value":…,"sha256":"…"}`.
 *
 * Written by rename, so readers see the old or the new one. A file that is torn, foreign or of another form counts as
 * missing: after a power cut that is what it is, and everything in these files can be made again.
 */
import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { systemCode } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { readTextIfExists, writeFileAtomic } from '../io/fs.js'

const start = '{"value":'
const middle = ',"sha256":"'
const end = '"}\n'
const tailLength = middle.length + 64 + end.length

/** Tells whether a parsed value has the form that is expected. */
export type Guard<T> = (value: unknown) => value is T

/** The value in a record file, or undefined when there is none that can be believed. */
export function readRecord<T>(path: string, guard: Guard<T>): T | undefined {
  let text: string | undefined
  try {
    text = readTextIfExists(path)
  } catch (error) {
    if (systemCode(error) === 'EISDIR') return undefined
    throw asStoreError(error, path)
  }
  if (text === undefined || !text.startsWith(start) || !text.endsWith(end)) return undefined
  const json = text.slice(start.length, -tailLength)
  if (text.slice(-tailLength) !== tailOf(json)) return undefined
  const value: unknown = JSON.parse(json)
  return guard(value) ? value : undefined
}

/** Writes or replaces a record file. */
export function writeRecord(path: string, value: unknown): void {
  const json = JSON.stringify(value)
  try {
    writeFileAtomic(path, `${start}${json}${tailOf(json)}`)
  } catch (error) {
    throw asStoreError(error, path)
  }
}

/** Removes a record file. False when there was none. */
export function removeRecord(path: string): boolean {
  try {
    rmSync(path)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw asStoreError(error, path)
  }
}

function tailOf(json: string): string {
  return `${middle}${createHash('sha256').update(json).digest('hex')}${end}`
}

/** True for a JSON object. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** True for a list of texts. */
export function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
