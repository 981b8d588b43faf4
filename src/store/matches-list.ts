/**
 * Compares a snapshot with the list of what it held when it was made (written by `layer/snapshot-list.ts`).
 *
 * One line for each entry: a letter for the type, the size of a file, a blank, the path with NULs for newlines.
 */
import { lstatSync, type Stats } from 'node:fs'
import { systemCode } from '../core/errors.js'
import { fsPath } from '../core/path-bytes.js'

/** True when all that the list names is in the directory, each of its type and size. Costs one lstat per entry. */
export function matchesList(directory: string, entries: string): boolean {
  for (const line of entries.split('\n')) {
    if (line === '') continue
    const blank = line.indexOf(' ')
    const path = line.slice(blank + 1).replaceAll('\0', '\n')
    const stats = lookAt(`${directory}/${path}`)
    if (stats === undefined) return false
    if (line[0] === 'f' && (!stats.isFile() || stats.size !== Number(line.slice(1, blank)))) return false
    if (line[0] === 'd' && !stats.isDirectory()) return false
  }
  return true
}

/** Undefined also for what a damaged list says that no path can be. */
function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(fsPath(path), { throwIfNoEntry: false })
  } catch (error) {
    const code = systemCode(error) ?? ''
    if (['ENOTDIR', 'ENAMETOOLONG', 'ELOOP', 'EINVAL', 'ERR_INVALID_ARG_VALUE'].includes(code)) return undefined
    throw error
  }
}
