/** Cache records: finished steps by key. Whether the layers they name are still there is for the caller to ask. */
import { statSync, utimesSync } from 'node:fs'
import { isDigest, parseDiffId } from '../core/digest.js'
import { systemCode } from '../core/errors.js'
import { isObject, isTextList, readRecord, writeRecord } from './record-file.js'
import type { Session } from './session.js'
import type { Records, StoredRecord } from './types.js'

/** The cache records of a store. */
export function openRecords(session: Session): Records {
  return {
    find(key) {
      const path = session.layout.record(key)
      const record = readRecord(path, isStoredRecord)
      if (record?.key !== key) return undefined
      noteUse(path)
      return record
    },
    save(record) {
      writeRecord(session.layout.record(record.key), record)
    },
  }
}

/** Use is remembered in the file's mtime, to the hour: garbage collection takes the longest unused first. */
function noteUse(path: string): void {
  const now = Date.now()
  try {
    if (now - statSync(path).mtimeMs > useGranularityMs) utimesSync(path, now / 1000, now / 1000)
  } catch (error) {
    // Collected a moment ago, or a store that may only be read.
    const code = systemCode(error)
    if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error
  }
}

const useGranularityMs = 3_600_000

/** True for a value of the form of a cache record. */
export function isStoredRecord(value: unknown): value is StoredRecord {
  if (!isObject(value)) return false
  const { key, by, layers, layerTimes, createdAt, contentId, contentKey, selectedKey, size, components, name } = value
  return (
    typeof key === 'string' &&
    isDigest(key) &&
    (by === 'definition' || by === 'content') &&
    isTextList(layers) &&
    layers.every((layer) => parseDiffId(layer) !== undefined) &&
    Array.isArray(layerTimes) &&
    layerTimes.length === layers.length &&
    layerTimes.every((time) => typeof time === 'number') &&
    typeof createdAt === 'number' &&
    (contentId === undefined || (typeof contentId === 'string' && isDigest(contentId))) &&
    (contentKey === undefined || (typeof contentKey === 'string' && isDigest(contentKey))) &&
    (selectedKey === undefined || (typeof selectedKey === 'string' && isDigest(selectedKey))) &&
    typeof size === 'number' &&
    isObject(components) &&
    typeof name === 'string'
  )
}
