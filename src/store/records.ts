/** Cache records: finished steps by key. Whether the layers they name are still there is for the caller to ask. */
import { type Digest, isDigest, parseDiffId } from '../core/digest.js'
import { isObject, isTextList, readRecord, writeRecord } from './record-file.js'
import type { Session } from './session.js'
import type { Records, StoredRecord } from './types.js'
import { noteUse, startUse } from './use.js'

/** The cache records of a store. What is found is noted as used, once for each opening: garbage collection takes the longest unused first. */
export function openRecords(session: Session): Records {
  const noted = new Set<string>()
  const peek = (key: Digest): StoredRecord | undefined => {
    const record = readRecord(session.layout.record(key), isStoredRecord)
    return record?.key === key ? record : undefined
  }
  return {
    peek,
    find(key) {
      const record = peek(key)
      const path = session.layout.record(key)
      if (record === undefined || noted.has(path)) return record
      noteUse(path, Date.now())
      noted.add(path)
      return record
    },
    save(record) {
      const path = session.layout.record(record.key)
      writeRecord(path, record)
      startUse(path, Date.now())
      noted.add(path)
    },
  }
}

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
