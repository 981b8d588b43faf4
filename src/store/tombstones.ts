/**
 * When cache records were pruned, so that a step that runs again can say so.
 *
 * One file for each collection, `explain/<ms since 1970>.pruned`, with the beginnings of the keys. Only the newest are
 * kept. They explain and decide nothing: a missing one costs a sentence.
 */
import { rmSync } from 'node:fs'
import { type Digest, hexOf } from '../core/digest.js'
import { readTextIfExists, writeFileAtomic } from '../io/fs.js'
import { listFolder } from './lock.js'

/** Builds collect often and little. */
const keptFiles = 100
/** Enough of a key to know it again. */
const keyLength = 20

/** Writes down which records go. `folder` is the store's `explain`. */
export function writeTombstones(folder: string, keys: readonly Digest[], nowMs: number): void {
  if (keys.length === 0) return
  writeFileAtomic(`${folder}/${nowMs}.pruned`, keys.map((key) => `${hexOf(key).slice(0, keyLength)}\n`).join(''))
  for (const name of tombstoneFiles(folder).slice(keptFiles)) rmSync(`${folder}/${name}`, { force: true })
}

/** When a record with one of these keys was pruned, ms since 1970; the last time, when there were several. */
export function findTombstone(folder: string, keys: readonly Digest[]): number | undefined {
  const wanted = keys.map((key) => hexOf(key).slice(0, keyLength))
  for (const name of tombstoneFiles(folder)) {
    const text = readTextIfExists(`${folder}/${name}`) ?? ''
    if (wanted.some((key) => text.includes(key))) return Number.parseInt(name, 10)
  }
  return undefined
}

/** Newest first. */
function tombstoneFiles(folder: string): string[] {
  return listFolder(folder)
    .filter((name) => /^\d+\.pruned$/.test(name))
    .sort((a, b) => Number.parseInt(b, 10) - Number.parseInt(a, 10))
}
