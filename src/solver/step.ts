/**
 * One vertex whose definition key found nothing: its inputs are solved, its content key is looked for, and only when that
 * misses too it is run. What it made is saved under both keys.
 *
 * Early cutoff (design.md, section 5) is here: a step that ran again and left the same files gets its earlier layers back,
 * with their digests, and so everything after it is found by content.
 */

import type { Context } from '../core/context.js'
import type { Digest } from '../core/digest.js'
import type { StepReason } from '../core/reason.js'
import type { BuildPlan, MergeOp, Vertex, VertexId } from '../graph/op.js'
import { type ClaimedStep, runClaimed } from './claimed.js'
import { expectSteps } from './expect.js'
import { contentKey, resultKey, stackContent } from './key.js'
import { type Found, isSource, type KeyedVertex, runnerOf } from './lookup.js'
import type { CacheKey, CacheRecord, MissedStep, OpResult, SolverPorts, VertexResult } from './ports.js'
import type { Report } from './report.js'
import type { Schedule } from './schedule.js'
import type { SolvedLayers } from './solution.js'

/** How to solve. */
export interface SolveOptions {
  /** How many steps run at once. */
  readonly jobs: number
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** One solving: everything its functions share. */
export interface Solving {
  readonly plan: BuildPlan
  readonly options: SolveOptions
  readonly ports: SolverPorts
  readonly ctx: Context
  readonly keyed: ReadonlyMap<VertexId, KeyedVertex>
  readonly found: Found
  readonly schedule: Schedule
  /** Each vertex that was asked for, once. */
  readonly outcomes: Map<VertexId, Promise<StepOutcome>>
  /** The same by definition key: two vertices can turn out to be the same step. */
  readonly running: Map<string, Promise<StepOutcome>>
  readonly demand: (id: VertexId) => Promise<StepOutcome>
  readonly fetched: Map<VertexId, Promise<void>>
  readonly report: Report
}

/** What a vertex gave. `layers` is undefined where it gave files that are no root filesystem. */
export interface StepOutcome {
  readonly layers: SolvedLayers | undefined
  readonly result: VertexResult
}

/** A step that made a layer, ready to be saved. */
interface Made {
  readonly layers: SolvedLayers
  readonly contentId: Digest | undefined
  readonly size: number
  readonly createdAt: number
}

/** Solves one vertex that has no record by definition. */
export async function solveStep(item: KeyedVertex, solving: Solving): Promise<StepOutcome> {
  const { vertex } = item
  try {
    const inputs = await Promise.all(vertex.inputs.map((id) => solving.demand(id)))
    solving.ctx.signal.throwIfAborted()
    if (isSource(vertex)) return await runSource(item, inputs, solving)
    if (vertex.op.kind === 'merge') return mergeLayers(item, vertex.op, inputs, solving)
    const { key, record } = await findByContent(item, inputs, solving)
    if (record !== undefined) return useRecord(item, key, record, solving)
    const isPart = takesParts(vertex, inputs, solving)
    if (isPart) await fetchInputs(vertex, inputs, solving)
    const selected = isPart ? await selectedKey(item, inputs, solving) : undefined
    const same = selected === undefined || vertex.ignoreCache ? undefined : solving.ports.records.find(selected.digest)
    if (same !== undefined) {
      solving.ports.records.save({ ...same, key: key.digest, by: 'content', components: key.components })
      return useRecord(item, key, same, solving)
    }
    return await runStep(item, key, selected, inputs, solving)
  } catch (error) {
    solving.report.failed(vertex, error)
    throw error
  }
}

/**
 * The content key and its record. An image that was never unpacked here is nothing but itself; when its files are here, it
 * may turn out to be an earlier one. A step that was not found needs them anyway.
 */
async function findByContent(
  item: KeyedVertex,
  inputs: readonly StepOutcome[],
  solving: Solving,
): Promise<{ readonly key: CacheKey; readonly record: CacheRecord | undefined }> {
  const { layers, records } = solving.ports
  const find = (key: CacheKey): CacheRecord | undefined => (item.vertex.ignoreCache ? undefined : records.find(key.digest))
  const key = contentKeyOf(item, inputs, solving)
  const record = find(key)
  const diffIds = inputs.flatMap((input) => input.layers?.diffIds ?? [])
  const mayTurnOut = diffIds.some((diffId) => layers.contentIdOf(diffId) === undefined) && !layers.areHere(diffIds)
  if (record !== undefined || !mayTurnOut) return { key, record }
  expectSteps(item.vertex, solving)
  await fetchInputs(item.vertex, inputs, solving)
  const known = contentKeyOf(item, inputs, solving)
  return { key: known, record: find(known) }
}

/** Makes the files of the inputs be here, and runs the step unless another process does. */
async function runStep(
  item: KeyedVertex,
  content: CacheKey,
  selected: CacheKey | undefined,
  inputs: readonly StepOutcome[],
  solving: Solving,
): Promise<StepOutcome> {
  const { vertex } = item
  const { records, claims } = solving.ports
  expectSteps(vertex, solving)
  await fetchInputs(vertex, inputs, solving)
  const keys: readonly [CacheKey, ...CacheKey[]] = selected === undefined ? [content] : [content, selected]
  const step: ClaimedStep<StepOutcome> = {
    vertex,
    // What two builds take a part of may differ in the rest.
    key: (selected ?? content).digest,
    run: () => runAlone(item, keys, inputs, solving),
    find() {
      const record = keys.map(({ digest }) => records.find(digest)).find((found) => found !== undefined)
      return record && useRecord(item, content, record, solving)
    },
  }
  const { schedule, report, ctx } = solving
  return await runClaimed(step, { claims, schedule, report, signal: ctx.signal })
}

/** Says why, runs the step and saves what it made. */
async function runAlone(
  item: KeyedVertex,
  keys: readonly [CacheKey, ...CacheKey[]],
  inputs: readonly StepOutcome[],
  solving: Solving,
): Promise<StepOutcome> {
  const { vertex } = item
  const { explainer } = solving.ports
  const missed: MissedStep = { vertex, key: item.key, content: keys[0], parts: item.parts, stale: item.stale }
  if (explainer !== undefined) solving.report.because(vertex, await explainer.explain(missed, solving.ctx))
  let result: OpResult
  try {
    result = await runOp(vertex, inputs, solving)
  } catch (error) {
    if (!solving.ctx.signal.aborted) explainer?.failed(missed)
    throw error
  }
  const outcome = saveResult(item, keys, inputs, result, solving)
  explainer?.succeeded(missed)
  return outcome
}

/** Downloads take no place among the steps: they wait for the network, not for a core. */
async function runSource(item: KeyedVertex, inputs: readonly StepOutcome[], solving: Solving): Promise<StepOutcome> {
  if (solving.ports.explainer !== undefined) solving.report.because(item.vertex, neededReason)
  const result = await runOp(item.vertex, inputs, solving)
  if (result.kind === 'layer') throw new Error(`${item.vertex.name} made a layer from nothing`)
  solving.report.done(item.vertex, 'ran')
  return { layers: undefined, result }
}

const neededReason: StepReason = { kind: 'needed', text: 'a step needs its files' }

/** The layers of the base with those of each linked stack on top. */
function mergeLayers(item: KeyedVertex, op: MergeOp, inputs: readonly StepOutcome[], solving: Solving): StepOutcome {
  const stacks = [...(op.base === undefined ? [] : [op.base]), ...op.layers].map((i) => inputs[i]?.layers)
  const layers = stacks.flatMap((stack) => stack?.diffIds ?? [])
  const layerTimes = stacks.flatMap((stack) => stack?.times ?? [])
  const createdAt = Math.max(0, ...layerTimes)
  const { digest: key, components } = item.key
  solving.ports.records.save({
    key,
    by: 'definition',
    layers,
    layerTimes,
    createdAt,
    size: 0,
    components,
    name: item.vertex.name,
  })
  solving.report.done(item.vertex, 'known')
  return outcomeOf({ diffIds: layers, times: layerTimes })
}

function runOp(vertex: Vertex, inputs: readonly StepOutcome[], solving: Solving): Promise<OpResult> {
  const runner = runnerOf(vertex, solving.ports)
  if (runner === undefined) throw new Error(`${vertex.name} cannot be run`)
  solving.report.started(vertex)
  return runner.run(
    vertex.op,
    inputs.map((input) => input.result),
    vertex,
    solving.ctx,
  )
}

/** A hit by content is saved by definition too: next time no input is looked at. */
function useRecord(item: KeyedVertex, content: CacheKey, record: CacheRecord, solving: Solving): StepOutcome {
  solving.ports.records.save({ ...record, ...byDefinition(item, content.digest) })
  solving.ports.explainer?.succeeded({ vertex: item.vertex, key: item.key, content, parts: item.parts, stale: item.stale })
  solving.report.done(item.vertex, 'content')
  return outcomeOf({ diffIds: record.layers, times: record.layerTimes })
}

/** What a record by definition has that one by content has not. */
function byDefinition(
  { key }: KeyedVertex,
  contentKey: Digest | undefined,
): Pick<CacheRecord, 'key' | 'by' | 'components' | 'contentKey'> {
  return { key: key.digest, by: 'definition', components: key.components, ...(contentKey === undefined ? {} : { contentKey }) }
}

function outcomeOf(layers: SolvedLayers): StepOutcome {
  return { layers, result: { kind: 'layers', diffIds: layers.diffIds } }
}

/** True when the step has an input that is a root filesystem but not its own: it may take only a part of that. */
function takesParts(vertex: Vertex, inputs: readonly StepOutcome[], { ports }: Solving): boolean {
  const base = 'base' in vertex.op ? vertex.op.base : undefined
  return runnerOf(vertex, ports)?.selected !== undefined && inputs.some(({ layers }, i) => layers !== undefined && i !== base)
}

/** The key by what the step takes of its inputs; undefined where that is all of them. */
async function selectedKey(item: KeyedVertex, inputs: readonly StepOutcome[], solving: Solving): Promise<CacheKey | undefined> {
  const { vertex } = item
  const results = inputs.map(({ result }) => result)
  const parts = await runnerOf(vertex, solving.ports)?.selected?.(vertex.op, results, item.parts, vertex, solving.ctx)
  return parts === undefined ? undefined : contentKeyOf({ ...item, parts }, inputs, solving)
}

function contentKeyOf(item: KeyedVertex, inputs: readonly StepOutcome[], solving: Solving): CacheKey {
  const contents = inputs.map((input, i) => contentOf(input) ?? definitionOf(item.vertex, i))
  return contentKey(item.vertex, contents, item.parts)

  function contentOf(input: StepOutcome): Digest | undefined {
    return input.layers && stackContent(input.layers.diffIds, solving.ports.layers.contentIdOf)
  }
  /** The definition key of files is made of their content. */
  function definitionOf(vertex: Vertex, i: number): Digest {
    const input = vertex.inputs[i]
    const key = input && solving.keyed.get(input)?.key
    if (key === undefined) throw new Error(`input ${i} of ${vertex.name} has no key`)
    return key.digest
  }
}

/** Before a step runs, the files of all layers below it must be here; an image is unpacked once, for all who need it. */
async function fetchInputs(vertex: Vertex, inputs: readonly StepOutcome[], solving: Solving): Promise<void> {
  await Promise.all(
    inputs.map(async ({ layers }, i) => {
      const id = vertex.inputs[i]
      const input = id && solving.keyed.get(id)?.vertex
      if (layers === undefined || input === undefined) return
      if (input.op.kind === 'image') await fetchImage(input, solving)
      else if (!solving.ports.layers.areHere(layers.diffIds)) {
        await solving.ports.layers.bringHere(layers.diffIds, vertex, solving.ctx)
      }
    }),
  )
}

function fetchImage(image: Vertex, solving: Solving): Promise<void> {
  const known = solving.fetched.get(image.id)
  if (known !== undefined) return known
  const fetched = runImage(image, solving)
  solving.fetched.set(image.id, fetched)
  return fetched
}

async function runImage(image: Vertex, solving: Solving): Promise<void> {
  if (image.op.kind === 'image' && solving.ports.layers.areHere(image.op.diffIds)) {
    return solving.report.done(image, 'known')
  }
  try {
    await runOp(image, [], solving)
    solving.report.done(image, 'ran')
  } catch (error) {
    solving.report.failed(image, error)
    throw error
  }
}

/** Saves what a step made: by definition, by content, and by what the files are. The records come last, after the layer. */
function saveResult(
  item: KeyedVertex,
  contents: readonly [CacheKey, ...CacheKey[]],
  inputs: readonly StepOutcome[],
  result: OpResult,
  solving: Solving,
): StepOutcome {
  const made = resultLayers(item.vertex, inputs, result, solving)
  const earlier =
    made.contentId === undefined ? undefined : earlierResult(item, inputs, { ...made, contentId: made.contentId }, solving)
  const [content, selected] = contents
  const found: Omit<CacheRecord, 'key' | 'by' | 'components'> = earlier ?? {
    layers: made.layers.diffIds,
    layerTimes: made.layers.times,
    createdAt: made.createdAt,
    size: made.size,
    name: item.vertex.name,
    ...(made.contentId === undefined ? {} : { contentId: made.contentId }),
  }
  const record = selected === undefined ? found : { ...found, selectedKey: selected.digest }
  for (const { digest: key, components } of contents) solving.ports.records.save({ ...record, key, by: 'content', components })
  solving.ports.records.save({ ...record, ...byDefinition(item, content.digest) })
  solving.report.done(item.vertex, 'ran')
  return outcomeOf({ diffIds: record.layers, times: record.layerTimes })
}

/** The earlier layers that have the same files; when there are none, these are remembered as such. */
function earlierResult(
  item: KeyedVertex,
  inputs: readonly StepOutcome[],
  made: Made & { readonly contentId: Digest },
  solving: Solving,
): CacheRecord | undefined {
  const { records, layers } = solving.ports
  const base = baseOf(item.vertex, inputs)
  const key = resultKey(base && stackContent(base.diffIds, layers.contentIdOf), made.contentId)
  const earlier = records.find(key)
  if (earlier !== undefined && earlier.layers.length === made.layers.diffIds.length) return earlier
  records.save({
    key,
    by: 'content',
    layers: made.layers.diffIds,
    layerTimes: made.layers.times,
    createdAt: made.createdAt,
    contentId: made.contentId,
    size: made.size,
    components: {},
    name: item.vertex.name,
  })
  return undefined
}

function baseOf(vertex: Vertex, inputs: readonly StepOutcome[]): SolvedLayers | undefined {
  return 'base' in vertex.op && vertex.op.base !== undefined ? inputs[vertex.op.base]?.layers : undefined
}

function resultLayers(vertex: Vertex, inputs: readonly StepOutcome[], result: OpResult, { options }: Solving): Made {
  const base = baseOf(vertex, inputs)
  const below = base ?? { diffIds: [], times: [] }
  const createdAt = options.now()
  if (result.kind === 'files') throw new Error(`${vertex.name} gave files where layers are due`)
  if (result.kind === 'layer') {
    const layers = { diffIds: [...below.diffIds, result.diffId], times: [...below.times, createdAt] }
    return { layers, contentId: result.contentId, size: result.size, createdAt }
  }
  const times = result.diffIds.map((diffId, i) => (below.diffIds[i] === diffId ? (below.times[i] ?? createdAt) : createdAt))
  return { layers: { diffIds: result.diffIds, times }, contentId: undefined, size: 0, createdAt }
}
