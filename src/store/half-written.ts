/** Files on their way to their names (io/fs.ts: `writeFileAtomic`). */
import { statSync } from 'node:fs'

const unfinishedMs = 3_600_000

/** True for a half-written file whose writer is gone: it is old. */
export function isAbandoned(path: string): boolean {
  if (!path.endsWith('.tmp')) return false
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats !== undefined && Date.now() - stats.mtimeMs > unfinishedMs
}
