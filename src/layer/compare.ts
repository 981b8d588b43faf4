/**
 * Compares two layers that should be the same, and says where they first differ, in words.
 *
 * A difference in what files are comes before one in when they were written, which has another cause and another remedy.
 */
import { readFileSync } from 'node:fs'
import { fsPath } from '../core/path-bytes.js'
import { type LayerUpper, layerEntries } from './squash.js'
import type { LayerEntry } from './walk.js'

/** One difference. `first` and `second` are for people. */
export interface LayerDifference {
  /** Relative to the root of the layer; empty for the root itself. */
  readonly path: string
  /** `content`, `mode`, `mtime` …; `entry` when one layer lacks the path. */
  readonly field: string
  readonly first: string
  readonly second: string
}

/** For `compareLayersTask`. */
export interface CompareLayersTask {
  /** Snapshot directories. */
  readonly first: LayerUpper
  readonly second: LayerUpper
  /** Seconds since 1970: later times are equal to it. */
  readonly epoch?: number
}

/** `compareLayers` in a worker. */
export function compareLayersTask({ first, second, epoch }: CompareLayersTask): LayerDifference | undefined {
  return compareLayers(first, second, epoch)
}

/** The first difference of two layers in tar order; one of times only when there is no other. Synchronous. */
export function compareLayers(first: LayerUpper, second: LayerUpper, epoch?: number): LayerDifference | undefined {
  const others = new Map([...layerEntries(second)].map((entry) => [keyOf(entry), entry]))
  let ofTimes: LayerDifference | undefined
  for (const entry of layerEntries(first)) {
    const other = others.get(keyOf(entry))
    others.delete(keyOf(entry))
    if (other === undefined) return { path: entry.path, field: 'entry', first: entry.type, second: 'nothing' }
    const found = compareEntries(entry, other)
    if (found !== undefined) return found
    ofTimes ??= compareTimes(entry, other, epoch)
  }
  const [extra] = others.values()
  return extra === undefined ? ofTimes : { path: extra.path, field: 'entry', first: 'nothing', second: extra.type }
}

/** A deletion, an opaque mark and what stands at a path can have one name. */
function keyOf({ type, path }: LayerEntry): string {
  return type === 'whiteout' || type === 'opaque' ? `${type} ${path}` : path
}

function compareEntries(entry: LayerEntry, other: LayerEntry): LayerDifference | undefined {
  const { path } = entry
  for (const [field, read] of fields) {
    const [first, second] = [read(entry), read(other)]
    if (first !== second) return { path, field, first, second }
  }
  return entry.type === 'file' ? compareContents(entry, other) : undefined
}

const fields: readonly (readonly [string, (entry: LayerEntry) => string])[] = [
  ['type', ({ type }) => type],
  ['mode', ({ mode }) => `0${mode.toString(8)}`],
  ['uid', ({ uid }) => String(uid)],
  ['gid', ({ gid }) => String(gid)],
  ['target', ({ target }) => target],
  ['device', ({ major, minor }) => `${major}:${minor}`],
  ['extended attributes', ({ xattrs }) => xattrs.map(({ name, value }) => `${name}=${value.toString('hex')}`).join(' ')],
]

function compareTimes(entry: LayerEntry, other: LayerEntry, epoch: number | undefined): LayerDifference | undefined {
  const [first, second] = [entry, other].map(({ mtime }) => Math.min(mtime, epoch ?? mtime))
  if (first === second || first === undefined || second === undefined) return undefined
  return { path: entry.path, field: 'mtime', first: timeText(first), second: timeText(second) }
}

function timeText(seconds: number): string {
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString().replace('.000Z', 'Z')
}

const comparedBytes = 64 << 20
const shownLength = 120

function compareContents(entry: LayerEntry, other: LayerEntry): LayerDifference | undefined {
  const { path } = entry
  if (Math.max(entry.size, other.size) > comparedBytes && entry.size !== other.size) {
    return { path, field: 'size', first: `${entry.size} bytes`, second: `${other.size} bytes` }
  }
  const [first, second] = [entry, other].map(({ hostPath }) => readFileSync(fsPath(hostPath)))
  if (first === undefined || second === undefined || first.equals(second)) return undefined
  return isText(first) && isText(second) ? compareTexts(path, first, second) : compareBytes(path, first, second)
}

function isText(bytes: Buffer): boolean {
  return bytes.length < 1 << 20 && !bytes.includes(0) && Buffer.from(bytes.toString('utf8')).equals(bytes)
}

function compareTexts(path: string, first: Buffer, second: Buffer): LayerDifference {
  const [lines, others] = [first, second].map((bytes) => bytes.toString('utf8').split('\n'))
  const length = Math.max(lines?.length ?? 0, others?.length ?? 0)
  const at = Array.from({ length }, (_, i) => i).find((i) => lines?.[i] !== others?.[i]) ?? 0
  return { path, field: `line ${at + 1}`, first: shown(lines?.[at]), second: shown(others?.[at]) }
}

function shown(line: string | undefined): string {
  if (line === undefined) return 'the end of the file'
  return JSON.stringify(line.length > shownLength ? `${line.slice(0, shownLength - 1)}…` : line)
}

function compareBytes(path: string, first: Buffer, second: Buffer): LayerDifference {
  const shorter = Math.min(first.length, second.length)
  let at = 0
  while (at < shorter && first[at] === second[at]) at++
  const around = (bytes: Buffer): string =>
    at >= bytes.length ? 'the end of the file' : bytes.subarray(at, at + 16).toString('hex')
  return { path, field: `byte ${at}`, first: around(first), second: around(second) }
}
