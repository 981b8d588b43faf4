/**
 * Build contexts: a filtered view of a directory that can say what a selection of its files is, by content.
 *
 * The digest of a selection covers, for each selected entry, the path it will have, type, mode, size, link target, device
 * number, extended attributes and content; never times, never owners (a context belongs to 0:0). When no metadata
 * changed since the last build, nothing is read but the directories and one small memo.
 */
import { createHash } from 'node:crypto'
import type { Context } from '../core/context.js'
import { type Digest, digestFromHex } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { encodePath } from '../core/path-bytes.js'
import type { WorkerPool } from '../io/pool.js'
import type { PathFilter } from './filter.js'
import { fingerprint, isRacy } from './fingerprint.js'
import { type HashAnswer, hashEntries } from './hash.js'
import { ListingMemo } from './listings.js'
import { FileMemo, type KnownContent, type MemoFiles, memoFiles, recallSelection, rememberSelection } from './memo.js'
import { type SelectedEntry, type SelectedRoot, type SelectionSource, selectEntries, selectRoots } from './select.js'
import { type ContextEntry, ContextTree, unreadable } from './tree.js'

/** What `openContext` needs. */
export interface ContextOptions {
  readonly ignore: PathFilter
  /** The store's `memo` directory. */
  readonly memoDirectory: string
  readonly pool: WorkerPool
  /** How messages name it; its path. */
  readonly shown?: string | undefined
  /** Milliseconds since 1970, at the latest when the first file is looked at. */
  readonly nowMs: number
  /** False: what was hashed is not remembered for the next build; true. */
  readonly remember?: boolean
}

/** The entries that a digest was made of. */
interface Digested {
  readonly items: readonly SelectedEntry[]
  readonly contents: ReadonlyMap<ContextEntry, KnownContent>
}

/** A context as a view, with digests of what is selected of it. */
export class ContextView extends ContextTree {
  readonly #options: ContextOptions
  readonly #memo: MemoFiles
  readonly #listings: ListingMemo
  #files: FileMemo | undefined
  /** What was not recalled but looked at: also racy files, which no memo may have. */
  readonly #digested = new Map<Digest, Digested>()

  constructor(root: string, options: ContextOptions) {
    super(root, options.ignore, options.shown)
    this.#options = options
    this.#memo = memoFiles(options.memoDirectory, root)
    this.#listings = new ListingMemo(this.#memo, this.top)
    this.listings = this.#listings
  }

  /**
   * The identity of what `source` selects.
   *
   * @param name a text that is the same for the same selection: it names the memo, nothing else
   * @throws BuildError COPY_SOURCE_NOT_FOUND, CONTEXT_UNREADABLE, CONTEXT_CHANGED
   */
  async digestSelection(source: SelectionSource, name: string, ctx: Context): Promise<Digest> {
    for (let tries = 0; ; tries++) {
      try {
        const digest = await this.#digestOnce(source, name, ctx)
        if (this.#options.remember !== false) this.#listings.save(this.#options.nowMs)
        return digest
      } catch (error) {
        // What was listed and is gone when it is read was never there: look again without it.
        if (!(error instanceof VanishedError)) throw error
        if (tries === 100) throw changedWhileReading(error.path)
        this.forget(error.path)
      }
    }
  }

  async #digestOnce(source: SelectionSource, name: string, ctx: Context): Promise<Digest> {
    const roots = selectRoots(this, source)
    const selected = roots.map((root) => ({ root, items: selectEntries(this, root, source) }))
    const entries: ContextEntry[] = []
    const names: string[] = []
    for (const [i, { root, items }] of selected.entries()) {
      const prefix = `${i}:${root.entry.type === 'directory' ? '' : root.name}/`
      // An empty directory is something, and makes a destination; no match is nothing.
      if (items.length === 0) names.push(prefix)
      for (const item of items) {
        entries.push(item.entry as ContextEntry)
        names.push(prefix + item.path)
      }
    }
    const print = await fingerprint(names, entries)
    const recalled = recallSelection(this.#memo, name, print)
    if (recalled !== undefined) return recalled
    const contents = await this.#contentsOf(entries, ctx)
    const digest = digestSelected(this, selected, contents)
    this.#digested.set(digest, { items: selected.flatMap(({ items }) => items), contents })
    if (this.#options.remember !== false && !entries.some((entry) => this.#isRacy(entry)))
      rememberSelection(this.#memo, name, print, digest)
    return digest
  }

  /**
   * What each file of the selection with this digest is, by its path in the context: a text that is another when the file is another. For messages,
   * not for identity: contents are shortened.
   */
  async listSelection(digest: Digest, source: SelectionSource, ctx: Context): Promise<ReadonlyMap<string, string>> {
    const { items, contents } = this.#digested.get(digest) ?? (await this.#lookAt(source, ctx))
    const list = new Map<string, string>()
    for (const { viewPath, entry } of items) {
      const known = contents.get(entry as ContextEntry)
      const content = entry.type === 'symlink' ? this.readlink(viewPath) : (known?.sha256.slice(0, 16) ?? '')
      const xattrs = known === undefined || known.xattrs === '' ? '' : ` ${known.xattrs}`
      list.set(viewPath.slice(1), `${entry.type} ${entry.mode.toString(8)} ${content}${xattrs}`)
    }
    return list
  }

  /** What vanished meanwhile has no content. */
  async #lookAt(source: SelectionSource, ctx: Context): Promise<Digested> {
    const items = selectRoots(this, source).flatMap((root) => selectEntries(this, root, source))
    const entries = items.map(({ entry }) => entry as ContextEntry)
    try {
      return { items, contents: await this.#contentsOf(entries, ctx) }
    } catch (error) {
      if (!(error instanceof VanishedError)) throw error
      return { items, contents: new Map() }
    }
  }

  /** The content of a file where it is known without reading it. */
  known(entry: ContextEntry): KnownContent | undefined {
    this.#files ??= new FileMemo(this.#memo)
    return this.#files.find(entry)
  }

  #isRacy(entry: ContextEntry): boolean {
    return isRacy(entry, this.#options.nowMs)
  }

  async #contentsOf(entries: readonly ContextEntry[], ctx: Context): Promise<Map<ContextEntry, KnownContent>> {
    this.#files ??= new FileMemo(this.#memo)
    const contents = new Map<ContextEntry, KnownContent>()
    const missing: ContextEntry[] = []
    for (const entry of entries) {
      const known = this.#files.find(entry)
      if (known === undefined) missing.push(entry)
      else contents.set(entry, known)
    }
    if (missing.length === 0) return contents
    for (const part of await this.#hash(missing, ctx)) {
      for (const [entry, known] of part) {
        contents.set(entry, known)
        if (!this.#isRacy(entry)) this.#files.add(entry, known)
      }
    }
    if (this.#options.remember !== false) this.#files.save()
    return contents
  }

  async #hash(entries: readonly ContextEntry[], ctx: Context): Promise<Map<ContextEntry, KnownContent>[]> {
    const { pool } = this.#options
    const chunks = chunksOf(entries, pool.size)
    return Promise.all(
      chunks.map(async (chunk) => {
        const request = {
          paths: chunk.map((entry) => entry.hostPath),
          isFile: chunk.map((entry) => entry.type === 'file'),
        }
        const answer = chunks.length === 1 ? hashEntries(request) : await pool.run<HashAnswer>('hashEntries', request, ctx.signal)
        return this.#known(chunk, answer)
      }),
    )
  }

  #known(chunk: readonly ContextEntry[], answer: HashAnswer): Map<ContextEntry, KnownContent> {
    for (const [i, code] of answer.failures) {
      const entry = chunk[i]
      if (entry === undefined) continue
      if (code === 'ENOENT' || code === 'ENOTDIR') throw new VanishedError(entry.path)
      if (code === 'ELOOP') throw changedWhileReading(entry.path)
      throw unreadable(entry.hostPath, Object.assign(new Error(code), { code }))
    }
    const xattrs = new Map(answer.xattrs)
    const digests = Buffer.from(answer.digests.buffer, answer.digests.byteOffset, answer.digests.byteLength)
    return new Map(
      chunk.map((entry, i) => [
        entry,
        { sha256: entry.type === 'file' ? digests.toString('hex', 32 * i, 32 * i + 32) : '', xattrs: xattrs.get(i) ?? '' },
      ]),
    )
  }
}

class VanishedError extends Error {
  readonly path: string

  constructor(path: string) {
    super(`"${path}" vanished while it was read`)
    this.path = path
  }
}

/** Opens the context in the directory `root` (an absolute path). Nothing is read yet but the directory itself. */
export function openContext(root: string, options: ContextOptions): ContextView {
  return new ContextView(root, options)
}

/** The error for a file that is not what it was when the build began. */
export function changedWhileReading(path: string): BuildError {
  return new BuildError('CONTEXT_CHANGED', `"${path}" changed while the build was reading it`, {
    hint: 'run the build again, or list the file in .dockerignore',
  })
}

/** Starting a worker takes about 40 ms: below this much work the main thread is done sooner. */
const inlineCost = 40_000

/** Entries in runs of similar cost; a single run when it is not worth a thread. Costs are in microseconds. */
function chunksOf(entries: readonly ContextEntry[], workers: number): ContextEntry[][] {
  const cost = (entry: ContextEntry): number => 25 + entry.size / 1000
  const total = entries.reduce((sum, entry) => sum + cost(entry), 0)
  if (total <= inlineCost || workers < 2) return [[...entries]]
  const limit = Math.max(total / (workers * 4), inlineCost / 4)
  const chunks: ContextEntry[][] = [[]]
  let sum = 0
  for (const entry of entries) {
    if (sum > limit) {
      chunks.push([])
      sum = 0
    }
    chunks.at(-1)?.push(entry)
    sum += cost(entry)
  }
  return chunks
}

interface Selected {
  readonly root: SelectedRoot
  readonly items: readonly SelectedEntry[]
}

/** The digest of selected entries. NUL ends every part that can hold anything else. */
function digestSelected(
  view: ContextTree,
  selected: readonly Selected[],
  contents: ReadonlyMap<ContextEntry, KnownContent>,
): Digest {
  const hash = createHash('sha256')
  for (const { root, items } of selected) {
    const isTree = root.entry.type === 'directory'
    const links = new Map<string, string>()
    const lines = [isTree ? `tree ${items.length}\0` : `file ${root.name}\0`]
    for (const { path, viewPath, entry, isParent } of items) {
      const known = contents.get(entry as ContextEntry)
      const detail = entry.type === 'symlink' ? view.readlink(viewPath) : detailOf(entry as ContextEntry, path, links)
      const mark = isParent ? 'parent ' : ''
      lines.push(`${mark}${entry.type} ${entry.mode.toString(8)}\0${path}\0${detail}\0`)
      lines.push(`${known?.sha256 ?? ''} ${known?.xattrs ?? ''}\0`)
    }
    hash.update(encodePath(lines.join('')))
  }
  return digestFromHex(hash.digest('hex'))
}

/** Size, device number, and the earlier name of the same file: hard links are kept in a copied tree. */
function detailOf(entry: ContextEntry, path: string, links: Map<string, string>): string {
  if (entry.type !== 'file') return entry.type === 'character' || entry.type === 'block' ? String(entry.rdev) : ''
  if (entry.nlink < 2) return String(entry.size)
  const key = `${entry.dev}:${entry.ino}`
  const first = links.get(key)
  if (first === undefined) links.set(key, path)
  return first === undefined ? String(entry.size) : `link ${first}`
}
