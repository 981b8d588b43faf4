/** Carries a COPY out: selects, places, unpacks, and writes the new layer. */
import { ContextView } from '../context/context.js'
import { selectEntries, selectRoots } from '../context/select.js'
import { ContextEntry } from '../context/tree.js'
import type { Context } from '../core/context.js'
import { BuildError } from '../core/errors.js'
import type { FileView } from '../core/view.js'
import type { CopyOp, CopySource } from '../graph/op.js'
import type { VertexResult } from '../solver/ports.js'
import type { ActiveSnapshot } from '../store/types.js'
import { parseMode } from './chmod.js'
import type { CopyRunnerOptions } from './copy.js'
import { describeLayer, findDifference } from './copy-difference.js'
import { earlierCopyPath, recallCopy, rememberCopy } from './copy-earlier.js'
import { planEntries } from './copy-entries.js'
import { flushTree, inheritsAttributes } from './copy-flush.js'
import { selectionOf } from './copy-key.js'
import { type Placement, placeRoot } from './copy-place.js'
import { LayerTree } from './copy-tree.js'
import { Staging, unpackRoot } from './copy-unpack.js'
import type { LayerResult } from './layer-port.js'
import { resolveOwner } from './owner.js'

/** Carries out one COPY or ADD. */
export async function runCopy(
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
    for (const root of selectRoots(view, selection)) {
      ctx.signal.throwIfAborted()
      if (source.unpack !== 'never' && root.entry.type === 'file') {
        if (await unpackRoot(tree, root, source.unpack, placement, staging, ctx)) {
          if (op.chmod !== undefined) warnOfMode(root.name, ctx)
          continue
        }
      }
      const items = selectEntries(view, root, selection)
      if (selection.include !== undefined && items.length === 0 && !source.wildcard) throw nothingBelow(source)
      if (root.entry.type !== 'directory') files.add(tree)
      const { keepOwner, wholeDirectory = false } = source
      placeRoot(tree, view, root, items, { ...placement, keepOwner, wholeDirectory, knownOf: knownFrom(view) })
    }
  }
  return await writeLayer(tree, layer, earlierCopyPath(op, inputs, options.memoDirectory), options, ctx)
}

/** Writes the tree; where there is an earlier layer of the same copy, only what is other. */
async function writeLayer(
  tree: LayerTree,
  layer: ActiveSnapshot,
  memo: string | undefined,
  { layers, pool }: CopyRunnerOptions,
  ctx: Context,
): Promise<LayerResult> {
  const plan = planEntries(tree)
  const flush = { plan, upper: layer.upper, pool }
  const described = memo === undefined || inheritsAttributes(layer.upper) ? undefined : describeLayer(tree, plan)
  if (memo === undefined || described === undefined) {
    return await layers.finish(layer, await flushTree(tree.root, false, flush, ctx), ctx)
  }
  const earlier = recallCopy(memo)
  const found = earlier === undefined ? undefined : findDifference(tree, described, earlier)
  if (earlier !== undefined && found !== undefined && layers.isWhole(earlier.diffId)) {
    const written = await flushTree(found.root, true, flush, ctx)
    return await layers.finish(layer, { ...written, difference: { over: earlier.diffId, entries: found.entries } }, ctx)
  }
  const made = await layers.finish(layer, await flushTree(tree.root, false, flush, ctx), ctx)
  if (layers.isWhole(made.diffId)) rememberCopy(memo, { diffId: made.diffId, entries: described })
  return made
}

/** The files of an input; those of layers are here or come here. */
export async function viewOfInput(input: VertexResult | undefined, options: CopyRunnerOptions, ctx: Context): Promise<FileView> {
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
    wholeDirectory: false,
    changeMode,
    nowNs,
    knownOf: () => undefined,
  }
}

function knownFrom(view: FileView): Placement['knownOf'] {
  if (!(view instanceof ContextView)) return () => undefined
  return (entry) => (entry instanceof ContextEntry ? view.known(entry) : undefined)
}

/** Docker gives no word of this. */
function warnOfMode(name: string, ctx: Context): void {
  const message = `--chmod does not apply to what is unpacked from "${name}": its entries keep their modes`
  ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: 'ChmodOfArchive', message } })
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
