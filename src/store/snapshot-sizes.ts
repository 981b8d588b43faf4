/** The sizes of snapshots on the disk, kept between collections: a snapshot never changes, and to walk it costs time. */
import type { DiskMeter } from './disk-usage.js'
import { isObject, readRecord, writeRecord } from './record-file.js'

/** Sizes by snapshot id. */
export interface SnapshotSizes {
  /** Measured where it is not known; `estimate` stands in when there was too much to measure. */
  sizeOf(id: string, path: string, meter: DiskMeter, estimate: number): Promise<number>
  /** Keeps what was asked for. */
  save(): void
}

/** Opens the sizes in `path`. After `budgetMs` of measuring, estimates have to do: the next collection goes on. */
export function openSnapshotSizes(path: string, budgetMs: number): SnapshotSizes {
  const known = readRecord(path, isSizes) ?? {}
  const current: Record<string, number> = {}
  let spentMs = 0
  let isChanged = false
  return {
    async sizeOf(id, directory, meter, estimate) {
      const size = known[id]
      if (size !== undefined) {
        current[id] = size
        return size
      }
      if (spentMs > budgetMs) return estimate
      const started = performance.now()
      const measured = await meter.measure(directory)
      spentMs += performance.now() - started
      current[id] = measured
      isChanged = true
      return measured
    },
    save() {
      if (isChanged || Object.keys(current).length !== Object.keys(known).length) writeRecord(path, current)
    },
  }
}

function isSizes(value: unknown): value is Readonly<Record<string, number>> {
  return isObject(value) && Object.values(value).every((size) => typeof size === 'number')
}
