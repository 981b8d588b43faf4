/**
 * COPY and ADD: selects files of contexts, stages and downloads, and writes them as one new layer, without a mount.
 *
 * What is selected from a context is in the key by content, so the context itself stays out of it. Rules of
 * selection are in context/select.ts, those of the destination in ops/copy-place.ts, archives in ops/copy-unpack.ts.
 */
import { ContextView } from '../context/context.js'
import { type SelectionSource, selectEntries, selectRoots } from '../context/select.js'
import { ContextEntry } from '../context/tree.js'
import { canonicalJson } from '../core/canonical.js'
import type { Context } from '../core/context.js'
import { BuildError } from '../core/errors.js'
import type { FileView } from '../core/view.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { CopyOp, CopySource } from '../graph/op.js'
import type { WorkerPool } from '../io/pool.js'
import type { KeyParts, OpRunner, VertexInput, VertexResult } from '../solver/ports.js'
import { parseMode } from './chmod.js'
import { flushTree } from './copy-flush.js'
import { type Placement, placeRoot } from './copy-place.js'
import { LayerTree } from './copy-tree.js'
import { Staging, unpackRoot } from './copy-unpack.js'
import type { LayerPort, LayerResult } from './layer-port.js'
import { resolveOwner } from './owner.js'

/** What the runner of COPY needs. */
export interface CopyRunnerOptions {
  readonly layers: LayerPort
  readonly pool: WorkerPool
  /** A view of layer directories, bottom first (`layerStack`). */
  readonly viewOf: (hostDirectories: readonly string[]) => FileView
  /** Time of directories that no source gave, ms since 1970. */
  readonly nowMs: () => number
}

/** Makes the runner of COPY and ADD. */
export function createCopyRunner(options: CopyRunnerOptions): OpRunner<CopyOp> {
  return {
    key: (op, inputs, _vertex, ctx) => copyKey(op, inputs, ctx),
    run: (op, inputs, _vertex, ctx) => runCopy(op, inputs, options, ctx),
  }
}

/** Sources in contexts are in the key by the digest of what they select; their names and excludes then say nothing more. */
async function copyKey(op: CopyOp, inputs: readonly VertexInput[], ctx: Context): Promise<KeyParts> {
  const components: Record<string, string> = {}
  const covered = new Set<number>()
  const sources = []
  for (const [i, source] of op.sources.entries()) {
    const view = inputs[source.input]?.view
    if (!(view instanceof ContextView)) {
      sources.push({ ...source, exclude: op.exclude })
      continue
    }
    const digest = await view.digestSelection(selectionOf(op, source), selectionName(op, source, view.root), ctx)
    covered.add(source.input)
    components[`files.${i}`] = digest
    sources.push({ files: digest, unpack: source.unpack, keepOwner: source.keepOwner })
  }
  const { kind, base, destination, owner, chmod, parents } = op
  const ownerFields = owner === undefined ? undefined : { user: owner.user, group: owner.group }
  const fields = { kind, base, destination, owner: ownerFields, chmod, parents, sources }
  return { fields, components, coveredInputs: [...covered].filter((input) => input !== base) }
}

/** The same text for the same selection of one context: names its memo. */
function selectionName(op: CopyOp, source: CopySource, root: string): string {
  return canonicalJson([root, source.path, source.wildcard, op.parents, op.exclude])
}

/** The part of a source that selects. `--parents` takes whole paths: from the pivot `/./` on, or all. */
function selectionOf(op: CopyOp, source: CopySource): SelectionSource {
  const exclude = compileIgnore(op.exclude)
  if (!op.parents) return { path: source.path, wildcard: source.wildcard, exclude, include: undefined }
  const pivot = `/${source.path}`.indexOf('/./')
  const path = pivot < 0 ? '.' : source.path.slice(0, Math.max(0, pivot - 1)) || '.'
  const below = (pivot < 0 ? source.path : source.path.slice(pivot + 2)).replace(/^[./]+(?=\/)|^\/+/, '')
  const include = below === '' || below === '.' ? undefined : compileIgnore([below.startsWith('!') ? `\\${below}` : below])
  return { path, wildcard: source.wildcard && include === undefined, exclude, include }
}

async function runCopy(
  op: CopyOp,
  inputs: readonly VertexResult[],
  options: CopyRunnerOptions,
  ctx: Context,
): Promise<LayerResult> {
  const base = op.base === undefined ? undefined : await viewOfInput(inputs[op.base], options, ctx)
  const nowNs = BigInt(options.nowMs()) * 1_000_000n
  const tree = new LayerTree(base, nowNs)
  await using layer = await options.layers.begin()
  await using staging = new Staging(`${layer.upper}.unpacked`, options.pool)
  const placement = placementOf(op, base, nowNs)
  const files = new FileDestinations(op)
  for (const source of op.sources) {
    const view = await viewOfInput(inputs[source.input], options, ctx)
    const selection = selectionOf(op, source)
    const roots = selectRoots(view, selection)
    for (const root of roots) {
      ctx.signal.throwIfAborted()
      if (source.unpack !== 'never' && root.entry.type === 'file') {
        if (await unpackRoot(tree, root, source.unpack, { ...placement, keepOwner: true }, staging, ctx)) continue
      }
      const items = selectEntries(view, root, selection)
      if (selection.include !== undefined && items.length === 0 && !source.wildcard) throw nothingBelow(source)
      if (root.entry.type !== 'directory') files.add(tree)
      placeRoot(tree, view, root, items, { ...placement, keepOwner: source.keepOwner, sha256Of: sha256From(view) })
    }
  }
  const known = await flushTree(tree, layer.upper, options.pool, ctx)
  return options.layers.finish(layer, known, ctx)
}

async function viewOfInput(input: VertexResult | undefined, options: CopyRunnerOptions, ctx: Context): Promise<FileView> {
  if (input === undefined) throw new Error('a copy names an input that it does not have')
  if (input.kind === 'files') return input.view
  return options.viewOf(await options.layers.directoriesOf(input.diffIds, ctx))
}

function placementOf(op: CopyOp, base: FileView | undefined, nowNs: bigint): Placement {
  const changeMode = op.chmod === undefined ? undefined : parseMode(op.chmod)
  if (op.chmod !== undefined && changeMode === undefined) {
    throw new BuildError('DOCKERFILE_BAD_FLAG', `--chmod=${op.chmod} is no mode`, {
      hint: 'write octal digits up to 7777, or a symbolic mode such as u=rwX,go=rX',
    })
  }
  return {
    destination: op.destination,
    owner: op.owner === undefined ? undefined : resolveOwner(base, op.owner),
    keepOwner: false,
    changeMode,
    nowNs,
    sha256Of: () => undefined,
  }
}

function sha256From(view: FileView): Placement['sha256Of'] {
  if (!(view instanceof ContextView)) return () => undefined
  return (entry) => (entry instanceof ContextEntry ? view.knownSha256(entry) : undefined)
}

function nothingBelow(source: CopySource): BuildError {
  return new BuildError('COPY_SOURCE_NOT_FOUND', `"${source.path}" does not exist in what is copied from`, {
    hint: 'with --parents, the path is taken as it is written: symlinks in it are not followed',
  })
}

/** Several files cannot share one destination name: the last would silently win. */
class FileDestinations {
  readonly #op: CopyOp
  #count = 0

  constructor(op: CopyOp) {
    this.#op = op
  }

  /** Counts one more file that is about to be put; call it before. */
  add(tree: LayerTree): void {
    const { destination } = this.#op
    if (++this.#count < 2 || destination.endsWith('/') || tree.lstat(destination)?.type === 'directory') return
    throw new BuildError('COPY_DESTINATION_CONFLICT', `several files cannot all be copied to the one name "${destination}"`, {
      hint: `end the destination in "/": ${destination}/`,
    })
  }
}
