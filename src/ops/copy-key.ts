/** The key of a COPY: what it selects of contexts goes in by content, so that the context itself stays out. */
import { ContextView } from '../context/context.js'
import { type SelectionSource, selectRoots } from '../context/select.js'
import { type CanonicalValue, canonicalJson } from '../core/canonical.js'
import type { Context } from '../core/context.js'
import type { FileView } from '../core/view.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { CopyOp, CopySource } from '../graph/op.js'
import type { WorkerPool } from '../io/pool.js'
import type { FileSelection, KeyParts, VertexInput, VertexResult } from '../solver/ports.js'

/** Sources in contexts are in the key by the digest of what they select; their names and excludes then say nothing more. */
export async function copyKey(op: CopyOp, inputs: readonly VertexInput[], ctx: Context): Promise<KeyParts> {
  const components: Record<string, string> = {}
  const covered = new Set<number>()
  const selections: FileSelection[] = []
  const sources = []
  for (const [i, source] of op.sources.entries()) {
    const view = inputs[source.input]?.view
    if (!(view instanceof ContextView)) {
      sources.push({ ...source, exclude: op.exclude })
      continue
    }
    const selection = selectionOf(op, source)
    const digest = await view.digestSelection(selection, selectionName(op, source, view.root), ctx)
    covered.add(source.input)
    components[`files.${i}`] = digest
    selections.push({ component: `files.${i}`, digest, list: () => view.listSelection(digest, selection, ctx) })
    sources.push({ files: digest, unpack: source.unpack, keepOwner: source.keepOwner, ...ownModes(view, source, selection) })
  }
  const { kind, base, destination, owner, chmod, parents } = op
  const ownerFields = owner === undefined ? undefined : { user: owner.user, group: owner.group }
  const fields = { kind, base, destination, owner: ownerFields, chmod, parents, sources }
  return { fields, components, selections, coveredInputs: [...covered].filter((input) => input !== base) }
}

/**
 * The key with the files that are taken of stages and images by content, given the key that has the contexts so. All of a
 * stage is no selection: its layers say as much for less.
 */
export async function selectedCopyKey(
  op: CopyOp,
  inputs: readonly VertexResult[],
  parts: KeyParts | undefined,
  { pool, viewOf }: { readonly pool: WorkerPool; readonly viewOf: (input: VertexResult) => Promise<FileView> },
  ctx: Context,
): Promise<KeyParts | undefined> {
  const { fields } = parts ?? {}
  if (typeof fields !== 'object' || fields === null || !('sources' in fields) || !Array.isArray(fields.sources)) return undefined
  const known = fields.sources as readonly CanonicalValue[]
  const taken = op.sources.map((source) => inputs[source.input]?.kind === 'layers' && source.path !== '.')
  if (!taken.includes(true)) return undefined
  const { digestSelected } = await import('./selected-files.js')
  const covered = new Set(parts?.coveredInputs)
  for (const [i, { input }] of op.sources.entries()) {
    const isWhole = op.sources.every((source, j) => source.input !== input || taken[j])
    if (taken[i] && isWhole && input !== op.base) covered.add(input)
  }
  const sources: CanonicalValue[] = []
  for (const [i, source] of op.sources.entries()) {
    const input = inputs[source.input]
    if (!covered.has(source.input) || !taken[i] || input === undefined) {
      sources.push(known[i])
      continue
    }
    const owners = source.keepOwner && op.owner === undefined
    const files = await digestSelected(await viewOf(input), selectionOf(op, source), { owners, pool }, ctx)
    sources.push({ selected: files, unpack: source.unpack, keepOwner: source.keepOwner })
  }
  return { fields: { ...fields, sources }, components: parts?.components ?? {}, coveredInputs: [...covered] }
}

/** Modes of the directories that come themselves: a selection is what is below them. */
function ownModes(view: FileView, source: CopySource, selection: SelectionSource): { readonly modes?: readonly number[] } {
  if (source.wholeDirectory !== true || source.path === '.') return {}
  return { modes: selectRoots(view, selection).map(({ entry }) => entry.mode) }
}

/** The same text for the same selection of one context: names its memo. */
function selectionName(op: CopyOp, source: CopySource, root: string): string {
  return canonicalJson([root, source.path, source.wildcard, op.parents, op.exclude])
}

/** The part of a source that selects. `--parents` takes whole paths: what is after the pivot, or all. */
export function selectionOf(op: CopyOp, source: CopySource): SelectionSource {
  const exclude = compileIgnore(op.exclude)
  const { path, wildcard } = source
  if (!op.parents) return { path, wildcard, exclude, include: undefined }
  const at = path.indexOf('/./')
  const below = at < 0 ? path : path.slice(at + '/./'.length)
  // An ignore pattern would take a "!" in front for its opposite.
  const pattern = below.startsWith('!') ? `\\${below}` : below
  const include = below === '' || below === '.' ? undefined : compileIgnore([pattern])
  return { path: at < 0 ? '.' : path.slice(0, at), wildcard, exclude, include }
}
