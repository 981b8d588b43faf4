/**
 * What is kept of steps between builds, in the store's `explain` directory:
 *
 *     <place>-<kin>.journal     the steps of one Dockerfile with the last states in which each had a result
 *     <digest>.files            what each file of a selection was, named by the selection's digest
 *
 * `place` names the Dockerfile and the platform, `kin` what a copy of it elsewhere has in common: another check-out of the
 * same project finds the newest journal of its kin. Nothing here decides anything: what is missing or damaged costs a
 * sentence, never a build. Old files are removed when a new one is written.
 */
import { createHash } from 'node:crypto'
import { rmSync, statSync, utimesSync } from 'node:fs'
import { decodePath, encodePath } from '../core/path-bytes.js'
import { readBytesIfExists, writeFileAtomic } from '../io/fs.js'
import { listFolder } from '../store/lock.js'
import { isObject, readRecord, writeRecord } from '../store/record-file.js'
import type { InputState, StepPlace, StepState } from './state.js'

/** A step and how it was. */
export interface StepTrace {
  readonly place: StepPlace
  /** Newest first. */
  readonly states: readonly StepState[]
  /** The key with which it did not succeed last, and when. */
  readonly failed?: { readonly definition: string; readonly content?: string; readonly at: number }
}

/** The steps of one Dockerfile. */
export interface Journal {
  readonly version: 1
  readonly steps: readonly StepTrace[]
}

/** What names a journal. */
export interface JournalName {
  readonly place: string
  readonly kin: string
}

const keptJournals = 200
const keptLists = 400
/** Selections of more files are not listed: the list would cost more than the sentence is worth. */
const longestList = 100_000

/** The journal of a Dockerfile, or the newest of its kin; an empty one when there is neither. */
export function readJournal(folder: string, name: JournalName): Journal {
  const files = listFolder(folder)
  const candidates = [files.filter(isOf(name)), files.filter((file) => file.endsWith(`-${shortHash(name.kin)}.journal`))]
  for (const file of candidates.flatMap((some) => byAge(folder, some))) {
    const journal = readRecord(`${folder}/${file}`, isJournal)
    if (journal !== undefined) return journal
  }
  return { version: 1, steps: [] }
}

/** The journals of a place; an edited FROM line makes another kin of it. */
function isOf({ place }: JournalName): (file: string) => boolean {
  return (file) => file.endsWith('.journal') && file.startsWith(`${shortHash(place)}-`)
}

/** Writes a journal and removes the oldest files where there are too many. */
export function writeJournal(folder: string, name: JournalName, journal: Journal): void {
  writeRecord(journalPath(folder, name), journal)
  const files = listFolder(folder)
  const own = journalPath(folder, name)
  for (const file of files.filter(isOf(name))) if (`${folder}/${file}` !== own) rmSync(`${folder}/${file}`, { force: true })
  removeOldest(
    folder,
    files.filter((file) => file.endsWith('.journal')),
    keptJournals,
  )
  removeOldest(
    folder,
    files.filter((file) => file.endsWith('.files')),
    keptLists,
  )
}

/** The files of a selection as they were kept. */
export function readFileList(folder: string, digest: string): ReadonlyMap<string, string> | undefined {
  const bytes = readBytesIfExists(listPath(folder, digest))
  if (bytes === undefined) return undefined
  const fields = decodePath(bytes).split('\0')
  const list = new Map<string, string>()
  for (let i = 0; i + 1 < fields.length; i += 2) list.set(fields[i] ?? '', fields[i + 1] ?? '')
  return list
}

/** True when the files of this selection are kept already; they are then kept for longer. */
export function hasFileList(folder: string, digest: string, nowMs: number): boolean {
  const path = listPath(folder, digest)
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return false
  utimesSync(path, nowMs / 1000, nowMs / 1000)
  return true
}

/** Keeps the files of a selection. */
export function writeFileList(folder: string, digest: string, list: ReadonlyMap<string, string>): void {
  if (list.size > longestList) return
  const parts: string[] = []
  for (const [path, state] of list) parts.push(path, state)
  writeFileAtomic(listPath(folder, digest), encodePath(`${parts.join('\0')}\0`))
}

function journalPath(folder: string, { place, kin }: JournalName): string {
  return `${folder}/${shortHash(place)}-${shortHash(kin)}.journal`
}

function listPath(folder: string, digest: string): string {
  return `${folder}/${digest.slice(digest.indexOf(':') + 1)}.files`
}

function shortHash(text: string): string {
  return createHash('sha256').update(encodePath(text)).digest('hex').slice(0, 20)
}

function removeOldest(folder: string, files: readonly string[], kept: number): void {
  if (files.length <= kept) return
  for (const file of byAge(folder, files).slice(kept)) rmSync(`${folder}/${file}`, { force: true })
}

/** Newest first. */
function byAge(folder: string, files: readonly string[]): string[] {
  if (files.length < 2) return [...files]
  return files
    .map((file) => ({ file, at: timeOf(`${folder}/${file}`) }))
    .sort((a, b) => b.at - a.at)
    .map(({ file }) => file)
}

function timeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** The checksum says that mille wrote it; a journal of another version is none. */
function isJournal(value: unknown): value is Journal {
  return isObject(value) && value.version === 1 && Array.isArray(value.steps) && value.steps.every(isTrace)
}

function isTrace(value: unknown): value is StepTrace {
  if (!isObject(value) || !isObject(value.place) || !Array.isArray(value.states)) return false
  const { stage, position, text, keyword } = value.place
  const { failed } = value
  return (
    [stage, text, keyword].every(isText) &&
    typeof position === 'number' &&
    value.states.every(isState) &&
    (failed === undefined || (isObject(failed) && isText(failed.definition) && typeof failed.at === 'number'))
  )
}

function isState(value: unknown): value is StepState {
  if (!isObject(value)) return false
  const { at, text, shown, definition, content, parts, values, inputs } = value
  return (
    typeof at === 'number' &&
    [text, shown, definition, content ?? ''].every(isText) &&
    [parts, values].every((texts) => isObject(texts) && Object.values(texts).every(isText)) &&
    isObject(inputs) &&
    Object.values(inputs).every(isInput)
  )
}

function isInput(value: unknown): value is InputState {
  if (!isObject(value)) return false
  const { definition, content, name, image } = value
  const isImage = image === undefined || (isObject(image) && isText(image.reference) && isText(image.digest))
  return [definition, content ?? '', name].every(isText) && isImage
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}
