/**
 * Removes directory trees.
 *
 * Synchronous calls in slices, with the event loop in between: 20,000 files take a quarter of the processor time that the
 * promises of `rm` take, and nothing else waits longer than some milliseconds.
 */
import { readdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { setImmediate } from 'node:timers/promises'
import { systemCode } from '../core/errors.js'
import { isLossy } from '../core/path-bytes.js'
import { randomName } from './fs.js'

const sliceMs = 5

/** Removes what is at `path`, whatever it is. Links are not followed; not being there is fine. */
export async function removeFiles(path: string): Promise<void> {
  const work: Work = { root: path, aside: [], sliceEnd: performance.now() + sliceMs }
  await removeDirectory(path, work)
  for (let next = work.aside.pop(); next !== undefined; next = work.aside.pop()) await removeDirectory(next, work)
}

interface Work {
  readonly root: string
  /** Directories that were too deep to be reached by their path, moved beside the root. */
  readonly aside: string[]
  sliceEnd: number
}

/** A path of the kernel's has 4,095 bytes, a name 255: at half of that there is room for whatever is in a directory. */
const longestPath = 2048

/** A tree can be deeper than a path can be long: what is far down is moved up, and removed later. */
function removeBelow(path: string, work: Work): Promise<void> | undefined {
  if (Buffer.byteLength(path) <= longestPath) return removeDirectory(path, work)
  const aside = `${work.root}-${randomName(8)}`
  renameSync(path, aside)
  work.aside.push(aside)
  return undefined
}

async function removeDirectory(path: string, clock: Work): Promise<void> {
  try {
    const entries = readdirSync(path, { withFileTypes: true })
    // Names that are not UTF-8 are rare: Node's own removal handles bytes.
    if (entries.some((entry) => isLossy(entry.name))) return await rm(path, { recursive: true, force: true })
    for (const entry of entries) {
      const child = `${path}/${entry.name}`
      if (entry.isDirectory()) await removeBelow(child, clock)
      else unlinkSync(child)
      if (performance.now() < clock.sliceEnd) continue
      await setImmediate()
      clock.sliceEnd = performance.now() + sliceMs
    }
    rmdirSync(path)
  } catch (error) {
    // Something in it is gone already, is no directory, or came meanwhile: the slow way knows all that.
    const code = systemCode(error)
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'ENOTEMPTY') throw error
    await rm(path, { recursive: true, force: true })
  }
}
