/**
 * What a step takes of stages and images, by content: so that a stage that was built anew is no reason to run a step again
 * whose files of it are the same (`COPY --from=build /app`, `RUN --mount=from=build,source=/app`).
 *
 * Made only after definition and content of the whole stage found nothing, because the files must be read for it. The digest
 * covers path, type, mode, owner, size, link target, device, extended attributes and content; never times.
 */
import { createHash } from 'node:crypto'
import { type HashAnswer, hashEntries } from '../context/hash.js'
import { type SelectedEntry, type SelectedRoot, type SelectionSource, selectEntries, selectRoots } from '../context/select.js'
import { unreadable } from '../context/tree.js'
import type { Context } from '../core/context.js'
import { type Digest, digestFromHex } from '../core/digest.js'
import { encodePath } from '../core/path-bytes.js'
import type { FileView } from '../core/view.js'
import type { WorkerPool } from '../io/pool.js'

interface Selected {
  readonly root: SelectedRoot
  readonly items: readonly SelectedEntry[]
}

/** The digest of what `source` selects in a root filesystem. Throws COPY_SOURCE_NOT_FOUND as the copy would. */
export async function digestSelected(
  view: FileView,
  source: SelectionSource,
  options: { readonly owners: boolean; readonly pool: WorkerPool },
  ctx: Context,
): Promise<Digest> {
  const selected = selectRoots(view, source).map((root) => ({ root, items: selectEntries(view, root, source) }))
  const items = selected.flatMap((each) => each.items)
  const contents = await contentsOf(items, options.pool, ctx)
  const hash = createHash('sha256')
  let at = 0
  for (const { root, items } of selected) {
    hash.update(encodePath(headOf({ root, items })))
    const links = new Map<string, string>()
    for (const item of items) hash.update(encodePath(`${lineOf(view, item, links, options.owners)}${contents[at++] ?? ''}\0`))
  }
  return digestFromHex(hash.digest('hex'))
}

/** A file has its name in the destination from here, a tree has it not. NUL ends every part that can hold anything else. */
function headOf({ root, items }: Selected): string {
  const { entry, name } = root
  if (entry.type !== 'directory') return `file ${name}\0`
  return `tree ${items.length} ${entry.mode.toString(8)} ${entry.uid}:${entry.gid}\0`
}

function lineOf(view: FileView, item: SelectedEntry, links: Map<string, string>, owners: boolean): string {
  const { entry, path, viewPath, isParent } = item
  const owner = owners ? ` ${entry.uid}:${entry.gid}` : ''
  return `${isParent ? 'parent ' : ''}${entry.type} ${entry.mode.toString(8)}${owner}\0${path}\0${detailOf(view, viewPath, item, links)}\0`
}

/** Size, device number, link target, and the earlier name of the same file: hard links are kept in a copied tree. */
function detailOf(view: FileView, viewPath: string, { entry, path }: SelectedEntry, links: Map<string, string>): string {
  if (entry.type === 'symlink') return view.readlink(viewPath)
  if (entry.type === 'character' || entry.type === 'block') return String(entry.rdev)
  if (entry.type !== 'file') return ''
  const key = `${entry.dev}:${entry.ino}`
  const first = entry.nlink > 1 ? links.get(key) : undefined
  if (entry.nlink > 1 && first === undefined) links.set(key, path)
  return first === undefined ? String(entry.size) : `link ${first}`
}

const chunkEntries = 2_000
const inlineBytes = 8 << 20

/** Content and attributes of each entry as text. */
async function contentsOf(items: readonly SelectedEntry[], pool: WorkerPool, ctx: Context): Promise<string[]> {
  const size = items.reduce((sum, { entry }) => sum + entry.size, 0)
  const isSmall = items.length < chunkEntries && size < inlineBytes
  const chunks: SelectedEntry[][] = []
  for (let at = 0; at < items.length; at += chunkEntries) chunks.push(items.slice(at, at + chunkEntries))
  const texts = await Promise.all(
    chunks.map(async (chunk) => {
      const request = { paths: chunk.map(({ entry }) => entry.hostPath), isFile: chunk.map(({ entry }) => entry.type === 'file') }
      const answer = isSmall ? hashEntries(request) : await pool.run<HashAnswer>('hashEntries', request, ctx.signal)
      return textsOf(chunk, answer)
    }),
  )
  return texts.flat()
}

function textsOf(chunk: readonly SelectedEntry[], { digests, xattrs, failures }: HashAnswer): string[] {
  const [failure] = failures
  if (failure !== undefined) {
    const [i, code] = failure
    throw unreadable(chunk[i]?.entry.hostPath ?? '', Object.assign(new Error(code), { code }))
  }
  const bytes = Buffer.from(digests.buffer, digests.byteOffset, digests.byteLength)
  const attributes = new Map(xattrs)
  return chunk.map(({ entry }, i) => {
    const content = entry.type === 'file' ? bytes.toString('hex', 32 * i, 32 * i + 32) : ''
    return `${content} ${attributes.get(i) ?? ''}`
  })
}
