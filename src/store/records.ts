/** Cache records: finished steps by key. Whether the layers they name are still there is for the caller to ask. */
import { isDigest, parseDiffId } from '../core/digest.js'
import { isObject, isTextList, readRecord, writeRecord } from './record-file.js'
import type { Session } from './session.js'
import type { Records, StoredRecord } from './types.js'

/** The cache records of a store. */
export function openRecords(session: Session): Records {
  return {
    find(key) {
      const record = readRecord(session.layout.record(key), isStoredRecord)
      return record?.key === key ? record : undefined
    },
    save(record) {
      writeRecord(session.layout.record(record.key), record)
    },
  }
}

/** True for a value of the form of a cache record. */
export function isStoredRecord(value: unknown): value is StoredRecord {
  if (!isObject(value)) return false
  const { key, by, layers, createdAt, contentId, size, components, name } = value
  return (
    typeof key === 'string' &&
    isDigest(key) &&
    (by === 'definition' || by === 'content') &&
    isTextList(layers) &&
    layers.every((layer) => parseDiffId(layer) !== undefined) &&
    typeof createdAt === 'number' &&
    (contentId === undefined || (typeof contentId === 'string' && isDigest(contentId))) &&
    typeof size === 'number' &&
    isObject(components) &&
    typeof name === 'string'
  )
}
