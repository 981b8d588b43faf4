/** The identities of a layer from its planned entries (copy-entries.ts), read at their sources. For worker threads. */
import { fstatSync } from 'node:fs'
import { changedWhileReading } from '../context/context.js'
import { BuildError, systemCode } from '../core/errors.js'
import { digestEntries, type LayerDigest } from '../layer/digest.js'
import type { LayerEntry } from '../layer/walk.js'
import type { PlannedEntry } from './copy-entries.js'

/** For `digestPlannedTask`. */
export interface DigestPlannedTask {
  readonly entries: readonly PlannedEntry[]
  /** sha256 (hex) of files by path, where they are known. */
  readonly knownContent: ReadonlyMap<string, string>
}

/**
 * Digests the planned entries.
 *
 * @throws BuildError CONTEXT_CHANGED when a file is not what it was when it was selected
 */
export function digestPlannedTask({ entries, knownContent }: DigestPlannedTask): LayerDigest {
  try {
    return digestEntries(entries.map(withBuffers), { knownContent, onRead: refuseChanged })
  } catch (error) {
    const path = changedPath(error)
    throw path === undefined ? error : changedWhileReading(path)
  }
}

/** Between threads a Buffer becomes a Uint8Array. */
function withBuffers(entry: PlannedEntry): PlannedEntry {
  if (entry.xattrs.length === 0) return entry
  return { ...entry, xattrs: entry.xattrs.map(({ name, value }) => ({ name, value: Buffer.from(value) })) }
}

function refuseChanged(entry: LayerEntry, fd: number): void {
  const { ctimeMs, size, hostPath } = entry as PlannedEntry
  if (ctimeMs === undefined) return
  const now = fstatSync(fd)
  if (now.ctimeMs !== ctimeMs || now.size !== size) throw changedWhileReading(hostPath)
}

/** The file that an error of reading is about, when the reason is that it changed under our hands. */
function changedPath(error: unknown): string | undefined {
  if (error instanceof BuildError && error.code === 'LAYER_CHANGED') return error.message.slice(1, error.message.indexOf('"', 1))
  const code = systemCode(error)
  if (code !== 'ENOENT' && code !== 'ELOOP' && code !== 'ENOTDIR') return undefined
  return (error as NodeJS.ErrnoException).path
}
