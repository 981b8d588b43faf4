/** The key of a COPY: what it selects of contexts goes in by content, so that the context itself stays out. */
import { ContextView } from '../context/context.js'
import type { SelectionSource } from '../context/select.js'
import { canonicalJson } from '../core/canonical.js'
import type { Context } from '../core/context.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { CopyOp, CopySource } from '../graph/op.js'
import type { FileSelection, KeyParts, VertexInput } from '../solver/ports.js'

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
    selections.push({ component: `files.${i}`, digest, list: () => view.listSelection(selection, ctx) })
    sources.push({ files: digest, unpack: source.unpack, keepOwner: source.keepOwner })
  }
  const { kind, base, destination, owner, chmod, parents } = op
  const ownerFields = owner === undefined ? undefined : { user: owner.user, group: owner.group }
  const fields = { kind, base, destination, owner: ownerFields, chmod, parents, sources }
  return { fields, components, selections, coveredInputs: [...covered].filter((input) => input !== base) }
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
