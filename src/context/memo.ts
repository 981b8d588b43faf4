/**
 * What is remembered of a context between builds, in the store's `memo` directory.
 *
 * `<context>-<selection>.sel`: one line with the fingerprint of a selection and its digest. Read by every build.
 * `<context>.files`: one row for each file ever hashed. Read only when a selection changed. Both are replaced whole, and
 * both begin with a checksum: a damaged memo is a forgotten one, and costs only time.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Digest, parseDigest } from '../core/digest.js'
import { systemCode } from '../core/errors.js'
import { decodePath, encodePath } from '../core/path-bytes.js'
import { readTextIfExists, writeFileAtomic } from '../io/fs.js'
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
const rowBytes = columns * 8 + 32

/** Content by file, as far as it is known. */
export class FileMemo {
  readonly #path: string
  readonly #rows = new Map<string, { readonly stamp: readonly number[]; readonly known: KnownContent }>()
  readonly #used = new Set<string>()

  constructor(memo: MemoFiles) {
    this.#path = join(memo.directory, `${memo.context}.v1.files`)
    this.#load()
  }

  /** What the content of `entry` is, if its metadata is the same as when it was read. */
  find(entry: ContextEntry): KnownContent | undefined {
    const row = this.#rows.get(entry.path)
    if (row === undefined || !stampOf(entry).every((value, i) => value === row.stamp[i])) return undefined
    this.#used.add(entry.path)
    return row.known
  }

  /** Adds what was read now. */
  add(entry: ContextEntry, known: KnownContent): void {
    this.#rows.set(entry.path, { stamp: stampOf(entry), known })
    this.#used.add(entry.path)
  }

  /** Writes all rows; those of files that this build did not see are dropped when they are many. */
  save(): void {
    const unused = this.#rows.size - this.#used.size
    if (unused > 2 * this.#used.size + 10_000) {
      for (const path of this.#rows.keys()) if (!this.#used.has(path)) this.#rows.delete(path)
    }
    const count = this.#rows.size
    const names = encodePath([...this.#rows.keys()].join('\0'))
    const rows = Buffer.alloc(count * rowBytes)
    const xattrs: Record<string, string> = {}
    let i = 0
    for (const [path, { stamp, known }] of this.#rows) {
      for (const [column, value] of stamp.entries()) rows.writeDoubleLE(value, i * rowBytes + column * 8)
      if (known.sha256 !== '') rows.write(known.sha256, i * rowBytes + columns * 8, 'hex')
      if (known.xattrs !== '') xattrs[path] = known.xattrs
      i++
    }
    const head = Buffer.from(`${JSON.stringify({ count, names: names.length, xattrs })}\n`)
    const body = Buffer.concat([head, names, rows])
    writeFileAtomic(this.#path, Buffer.concat([createHash('sha256').update(body).digest(), body]))
  }

  #load(): void {
    const bytes = readIfExists(this.#path)
    if (bytes === undefined || bytes.length < 33) return
    const body = bytes.subarray(32)
    if (!createHash('sha256').update(body).digest().equals(bytes.subarray(0, 32))) return
    const end = body.indexOf(10)
    const head = JSON.parse(body.toString('utf8', 0, end)) as { count: number; names: number; xattrs: Record<string, string> }
    if (head.count === 0) return
    const names = decodePath(body.subarray(end + 1, end + 1 + head.names)).split('\0')
    const rows = body.subarray(end + 1 + head.names)
    names.forEach((path, i) => {
      const at = i * rowBytes
      const stamp = Array.from({ length: columns }, (_, column) => rows.readDoubleLE(at + column * 8))
      const sha256 = rows.toString('hex', at + columns * 8, at + rowBytes)
      this.#rows.set(path, { stamp, known: { sha256: /^0+$/.test(sha256) ? '' : sha256, xattrs: head.xattrs[path] ?? '' } })
    })
  }
}

function stampOf(entry: ContextEntry): readonly number[] {
  return [entry.size, entry.mtimeMs, entry.ctimeMs, entry.ino, entry.dev]
}

function readIfExists(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}
