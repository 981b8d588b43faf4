/**
 * Volumes: named ones live below the store's root in `volumes/NAME/_data`, those without a name end with the container.
 *
 * As docker does, a new volume starts with what the image has at its place.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { systemCode } from '../core/errors.js'
import type { FileEntry, FileView } from '../core/view.js'
import { randomName } from '../io/fs.js'
import { copyTree } from './copy-tree.js'

/** The directory of a named volume; made with the image's files at `target` when it is new. */
export function openVolume(storeRoot: string, name: string, target: string, image: FileView): string {
  const data = join(storeRoot, 'volumes', name, '_data')
  if (existsSync(data)) return data
  const fresh = join(storeRoot, 'volumes', name, `.new-${randomName(8)}`)
  mkdirSync(fresh, { recursive: true })
  try {
    if (directoryAt(image, target) !== undefined) copyTree(image, target, fresh)
    renameSync(fresh, data)
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true })
    // Another process made the same volume first: its directory is the one.
    if (systemCode(error) !== 'ENOTEMPTY' && systemCode(error) !== 'EEXIST') throw error
  }
  return data
}

/** The entry at `path` when that is a directory and no link leads there. */
export function directoryAt(view: FileView, path: string): FileEntry | undefined {
  let entry = view.lstat('/')
  let at = ''
  for (const part of path.split('/').filter((name) => name !== '')) {
    if (entry?.type !== 'directory') return undefined
    at = `${at}/${part}`
    entry = view.lstat(at)
  }
  return entry?.type === 'directory' ? entry : undefined
}
