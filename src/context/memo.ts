/**
 * What is remembered of a context between builds, in the store's `memo` directory.
 *
 * `<context>-<selection>.sel`: one line with the fingerprint of a selection and its digest. Read by every build.
 * `<context>.files`: one row for each file ever hashed. Read only when a selection changed. Both are replaced whole, and
 * both begin with a checksum: a damaged memo is a forgotten one, and costs only time.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { type Digest, parseDigest } from '../core/digest.js'
import { decodePath, encodePath } from '../core/path-bytes.js'
import { readBytesIfExists, readTextIfExists, writeFileAtomic } from '../io/fs.js'
import type { ContextEntry } from './tree.js'

/** What is known of one file's content. */
export interface KnownContent {
  /** sha256, 64 hex digits; empty for what has no content. */
  readonly sha256: string
  readonly xattrs: string
}

/** Where the memos of one context are; both names say their format's version. */
export interface MemoFiles {
  readonly directory: string
  readonly context: string
}

/** The place for the memos of the context at `root` (an absolute path). */
export function memoFiles(directory: string, root: string): MemoFiles {
  return { directory, context: shortHash(root) }
}

function shortHash(text: string): string {
  return createHash('sha256').update(encodePath(text)).digest('hex').slice(0, 20)
}

function selectionPath(memo: MemoFiles, selection: string): string {
  return join(memo.directory, `${memo.context}-${shortHash(selection)}.v1.sel`)
}

/** The digest of a selection whose fingerprint is still the same. */
export function recallSelection(memo: MemoFiles, selection: string, print: string): Digest | undefined {
  const [savedPrint, saved = '', check] = (readTextIfExists(selectionPath(memo, selection)) ?? '').trim().split(' ')
  if (savedPrint !== print || check !== shortHash(`${savedPrint} ${saved}`)) return undefined
  return parseDigest(saved)
}

/** Remembers the digest of a selection. */
export function rememberSelection(memo: MemoFiles, selection: string, print: string, digest: Digest): void {
  writeFileAtomic(selectionPath(memo, selection), `${print} ${digest} ${shortHash(`${print} ${digest}`)}\n`)
}

const columns = 5
const digestBytes = 32

/** Rows as they are in the file: decoded one by one, when asked for. */
interface SavedRows {
  /** The row of each path. */
  readonly index: ReadonlyMap<string, number>
  /** The paths in the order of the rows, with NULs between them. */
  readonly names: Uint8Array
  readonly stamps: Float64Array
  readonly digests: Buffer
  readonly xattrs: Readonly<Record<string, string>>
}

const noRows: SavedRows = {
  index: new Map(),
  names: new Uint8Array(),
  stamps: new Float64Array(),
  digests: Buffer.alloc(0),
  xattrs: {},
}

/** Content by file, as far as it is known. */
export class FileMemo {
  readonly #path: string
  readonly #saved: SavedRows
  readonly #added = new Map<string, { readonly entry: ContextEntry; readonly known: KnownContent }>()
  /** 1 for each row that was asked for and is as it was. */
  readonly #isUsed: Uint8Array

  constructor(memo: MemoFiles) {
    this.#path = join(memo.directory, `${memo.context}.v1.files`)
    this.#saved = loadRows(this.#path)
    this.#isUsed = new Uint8Array(this.#saved.index.size)
  }

  /** What the content of `entry` is, if its metadata is the same as when it was read. */
  find(entry: ContextEntry): KnownContent | undefined {
    const added = this.#added.get(entry.path)
    if (added !== undefined) return isSame(stampOf(added.entry), 0, entry) ? added.known : undefined
    const { index, stamps, digests, xattrs } = this.#saved
    const row = index.get(entry.path)
    if (row === undefined || !isSame(stamps, row * columns, entry)) return undefined
    this.#isUsed[row] = 1
    const sha256 = entry.type === 'file' ? digests.toString('hex', row * digestBytes, (row + 1) * digestBytes) : ''
    return { sha256, xattrs: xattrs[entry.path] ?? '' }
  }

  /** Adds what was read now. */
  add(entry: ContextEntry, known: KnownContent): void {
    this.#added.set(entry.path, { entry, known })
  }

  /** Writes all rows; those of files that this build did not see are dropped when they are many. */
  save(): void {
    const { index } = this.#saved
    const used = this.#isUsed.reduce((sum, each) => sum + each, 0)
    const keepUnused = index.size - used <= 2 * (used + this.#added.size) + 10_000
    const rows = keepUnused ? this.#saved : this.#withoutUnused()
    const fresh = [...this.#added.keys()].filter((path) => !rows.index.has(path))
    const count = rows.index.size + fresh.length
    const stamps = new Float64Array(count * columns)
    stamps.set(rows.stamps)
    const digests = Buffer.alloc(count * digestBytes)
    rows.digests.copy(digests)
    const xattrs: Record<string, string> = { ...rows.xattrs }
    let next = rows.index.size
    for (const [path, { entry, known }] of this.#added) {
      const row = rows.index.get(path) ?? next++
      stamps.set(stampOf(entry), row * columns)
      digests.fill(0, row * digestBytes, (row + 1) * digestBytes).write(known.sha256, row * digestBytes, 'hex')
      if (known.xattrs === '') delete xattrs[path]
      else xattrs[path] = known.xattrs
    }
    const separator = rows.index.size > 0 && fresh.length > 0 ? '\0' : ''
    const names = Buffer.concat([rows.names, encodePath(separator + fresh.join('\0'))])
    const head = Buffer.from(`${JSON.stringify({ count, names: names.length, xattrs })}\n`)
    const body = Buffer.concat([head, names, new Uint8Array(stamps.buffer), digests])
    writeFileAtomic(this.#path, Buffer.concat([createHash('sha256').update(body).digest(), body]))
  }

  /** The rows of files that this build saw as they were. */
  #withoutUnused(): SavedRows {
    const { index, stamps, digests, xattrs } = this.#saved
    const kept = [...index].filter(([, row]) => this.#isUsed[row] === 1)
    const keptXattrs = kept.flatMap(([path]) => (xattrs[path] === undefined ? [] : [[path, xattrs[path]]]))
    return {
      index: new Map(kept.map(([path], i) => [path, i])),
      names: encodePath(kept.map(([path]) => path).join('\0')),
      stamps: Float64Array.from(kept.flatMap(([, row]) => [...stamps.subarray(row * columns, (row + 1) * columns)])),
      digests: Buffer.concat(kept.map(([, row]) => digests.subarray(row * digestBytes, (row + 1) * digestBytes))),
      xattrs: Object.fromEntries(keptXattrs),
    }
  }
}

/** The rows of a memo file; none when it is missing or damaged. */
function loadRows(path: string): SavedRows {
  const bytes = readBytesIfExists(path)
  if (bytes === undefined || bytes.length <= digestBytes) return noRows
  const body = bytes.subarray(digestBytes)
  if (!createHash('sha256').update(body).digest().equals(bytes.subarray(0, digestBytes))) return noRows
  const end = body.indexOf(10)
  const head = JSON.parse(body.toString('utf8', 0, end)) as { count: number; names: number; xattrs: Record<string, string> }
  if (head.count === 0) return noRows
  const namesEnd = end + 1 + head.names
  const stampsEnd = namesEnd + head.count * columns * 8
  const names = body.subarray(end + 1, namesEnd)
  const paths = decodePath(names).split('\0')
  // A copy, because a typed array must begin at a multiple of its element size.
  const stamps = new Float64Array(new Uint8Array(body.subarray(namesEnd, stampsEnd)).buffer)
  const index = new Map(paths.map((path, i) => [path, i]))
  return { index, names, stamps, digests: body.subarray(stampsEnd), xattrs: head.xattrs }
}

function stampOf(entry: ContextEntry): readonly number[] {
  return [entry.size, entry.mtimeMs, entry.ctimeMs, entry.ino, entry.dev]
}

/** True when the stamp at `at` is that of the entry. */
function isSame(stamps: ArrayLike<number>, at: number, { size, mtimeMs, ctimeMs, ino, dev }: ContextEntry): boolean {
  return (
    stamps[at] === size &&
    stamps[at + 1] === mtimeMs &&
    stamps[at + 2] === ctimeMs &&
    stamps[at + 3] === ino &&
    stamps[at + 4] === dev
  )
}
