/**
 * `--verify-reproducible`: compares two builds of the same, layer by layer and then the configs, and explains the first
 * difference: where it is, in which field, and what each build had.
 */
import { BuildError } from '../core/errors.js'
import { formatPlatform } from '../core/platform.js'
import type { AssembledImage } from '../exporter/assemble.js'
import type { CompareLayersTask, LayerDifference } from '../layer/compare.js'
import type { SolvedLayers } from '../solver/solution.js'
import { layerFiles } from '../store/layer-files.js'
import type { ImageTimestamps } from './assembled.js'
import type { Engine } from './engine.js'
import { requireLayer } from './layers.js'

/** One image of a build with the layers it was solved to, which have files. */
export interface BuiltOnce {
  readonly image: AssembledImage
  readonly rootfs: SolvedLayers
}

/** A difference in its place. */
interface Difference {
  readonly place: string
  readonly field: string
  readonly first: string
  readonly second: string
  readonly isTime: boolean
}

/**
 * Compares the images of two builds, pair by pair.
 *
 * @throws BuildError BUILD_NOT_REPRODUCIBLE with the first difference; one of times only when there is no other
 */
export async function compareBuilds(
  first: readonly BuiltOnce[],
  second: readonly BuiltOnce[],
  times: ImageTimestamps,
  engine: Engine,
): Promise<void> {
  const found: Difference[] = []
  for (const [i, a] of first.entries()) {
    const b = second[i]
    if (b === undefined || a.image.id === b.image.id) continue
    const prefix = first.length > 1 ? `${formatPlatform(a.image.platform)}, ` : ''
    const differences = [...(await compareAllLayers(a, b, times, engine)), ...compareConfigs(a.image, b.image)]
    found.push(...differences.map((difference) => ({ ...difference, place: `${prefix}${difference.place}` })))
  }
  const worst = found.find(({ isTime }) => !isTime) ?? found[0]
  if (worst !== undefined) throw explain(worst, times)
}

async function compareAllLayers(a: BuiltOnce, b: BuiltOnce, times: ImageTimestamps, engine: Engine): Promise<Difference[]> {
  const found: Difference[] = []
  const [steps, others] = [a.rootfs.diffIds, b.rootfs.diffIds]
  if (steps.length !== others.length) {
    return [{ place: 'the image', field: 'layers', first: String(steps.length), second: String(others.length), isTime: false }]
  }
  for (const [i, diffId] of steps.entries()) {
    const other = others[i]
    if (other === undefined || other === diffId) continue
    const [first, second] = [diffId, other].map((id) => layerFiles(engine.store, requireLayer(engine, id)))
    if (first === undefined || second === undefined) throw new Error('layers that were made just now have files')
    const epoch = times.rewrite && times.epoch !== undefined ? { epoch: times.epoch } : {}
    const task: CompareLayersTask = { first, second, ...epoch }
    const difference = await engine.pool.run<LayerDifference | undefined>('compareLayersTask', task, engine.ctx.signal)
    if (difference === undefined) continue
    const { path, ...rest } = difference
    found.push({ place: `"/${path}" of ${layerName(a.image, i)}`, ...rest, isTime: rest.field === 'mtime' })
  }
  return found
}

/** The instruction that made a layer, as the history has it. */
function layerName({ config }: AssembledImage, index: number): string {
  const entries = (config.history ?? []).filter((entry) => entry.empty_layer !== true)
  const by = entries[index]?.created_by?.replace(/ # buildkit$/, '')
  return by ? `layer ${index + 1}, ${by}` : `layer ${index + 1}`
}

/** Fields of the configs that differ; those of layers are told apart already. */
function compareConfigs(a: AssembledImage, b: AssembledImage): Difference[] {
  return compareValues(a.config, b.config, '').filter(({ field }) => !field.startsWith('rootfs.diff_ids'))
}

function compareValues(first: unknown, second: unknown, field: string): Difference[] {
  if (isTree(first) && isTree(second)) {
    const keys = new Set([...Object.keys(first), ...Object.keys(second)])
    return [...keys].flatMap((key) => compareValues(first[key], second[key], field === '' ? key : `${field}.${key}`))
  }
  const [one, other] = [JSON.stringify(first) ?? 'nothing', JSON.stringify(second) ?? 'nothing']
  if (one === other) return []
  return [{ place: 'the config', field, first: one, second: other, isTime: /(^|\.)created$/.test(field) }]
}

function isTree(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function explain({ place, field, first, second, isTime }: Difference, { epoch }: ImageTimestamps): BuildError {
  const what = isTime ? 'two builds of this differ in times only' : 'two builds of this differ'
  const notes = [{ message: `first build:  ${first}` }, { message: `second build: ${second}` }]
  return new BuildError('BUILD_NOT_REPRODUCIBLE', `${what}: ${field} of ${place}`, {
    notes,
    hint: isTime ? timesHint(epoch) : 'the step takes in something that changes: the time, random numbers, the network, an order',
  })
}

function timesHint(epoch: number | undefined): string {
  return epoch === undefined
    ? 'set SOURCE_DATE_EPOCH, for example to $(git log -1 --format=%ct): no time is later than that then'
    : 'leave out rewrite-timestamp=false, and give an epoch that is not in the future'
}
