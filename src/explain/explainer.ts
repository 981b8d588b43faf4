/**
 * Says why steps run: compares what a step depends on with the nearest state in which it had a result.
 *
 * The nearest: of the same step (match.ts) of the same Dockerfile, the state with the fewest differences, and of those the
 * last. Loaded with the first step that is not found; a build in which nothing runs reads and writes nothing of this.
 */
import type { Context } from '../core/context.js'
import type { Digest } from '../core/digest.js'
import type { StepReason } from '../core/reason.js'
import type { BuildPlan, Vertex } from '../graph/op.js'
import type { FoundStep, MissedStep } from '../solver/ports.js'
import { findTombstone } from '../store/tombstones.js'
import { countDifferences, findChanges, type ListFiles } from './differences.js'
import {
  hasFileList,
  type Journal,
  type JournalName,
  readFileList,
  readJournal,
  type StepTrace,
  writeFileList,
  writeJournal,
} from './journal.js'
import { matchSteps } from './match.js'
import { placeOf, type StepPlace, type StepState, stateOf } from './state.js'
import { agoText, changesText } from './text.js'

/** What explanations need to know of a build. */
export interface ExplainOptions {
  readonly plan: BuildPlan
  /** The store's `explain` directory. */
  readonly folder: string
  readonly name: JournalName
  /** `--no-cache`, or the stages of `--no-cache-filter`. */
  readonly noCache: boolean | readonly string[]
  /** `--verify-reproducible`: no step of either build is looked for in the cache. */
  readonly verifies: boolean
  readonly now: () => number
  /** False for a dry run: nothing is written. */
  readonly keep: boolean
}

/** How a step ended. */
export interface EndedStep {
  readonly step: MissedStep
  readonly succeeded: boolean
}

/** Every step keeps this many states: going back and forth between branches compares with the right one. */
const keptStates = 6

/** The explanations of one build. */
export class Explanations {
  readonly #options: ExplainOptions
  readonly #journal: Journal
  readonly #steps: readonly Vertex[]
  readonly #places: readonly StepPlace[]
  readonly #matches: ReadonlyMap<number, number>

  constructor(options: ExplainOptions) {
    const { plan, folder, name } = options
    this.#options = options
    this.#journal = readJournal(folder, name)
    this.#steps = plan.vertices.filter(({ op }) => ['copy', 'exec', 'mkdir'].includes(op.kind))
    this.#places = this.#steps.map((vertex) => placeOf(vertex, plan))
    this.#matches = matchSteps(
      this.#places,
      this.#journal.steps.map(({ place }) => place),
    )
  }

  /** True for a step of this plan. */
  has({ id }: Vertex): boolean {
    return this.#steps.some((step) => step.id === id)
  }

  /** Why `step` runs. */
  async explain(step: MissedStep, ctx: Context): Promise<StepReason> {
    const { vertex, key, content } = step
    if (this.#options.keep) await this.#keepLists(step)
    if (this.#options.verifies) return { kind: 'no-cache', text: '--verify-reproducible' }
    if (vertex.ignoreCache) return this.#noCacheReason(vertex)
    const index = this.#steps.findIndex(({ id }) => id === vertex.id)
    const trace = this.#journal.steps[this.#matches.get(index) ?? -1]
    if (trace === undefined) return neverBuilt
    const keys = [key.digest, content.digest]
    const failed = failureReason(trace, keys, this.#options.now())
    if (failed !== undefined) return failed
    const known = trace.states.find(
      (state) => content.digest === state.content || (!step.stale && key.digest === state.definition),
    )
    if (known !== undefined) return this.#goneReason(keys, known)
    const now = stateOf(step, this.#options.plan, this.#options.now())
    const nearest = nearestState(now, trace.states)
    if (nearest === undefined) return neverBuilt
    ctx.emit({ type: 'debug', area: 'explain', message: `${vertex.name}: nearest is ${nearest.definition}` })
    const files = await this.#listFiles(step, nearest)
    const changes = findChanges(now, nearest, files, this.#declared)
    if (changes.length === 0) changes.push(step.stale ? { kind: 'input', name: now.inputs[0]?.name ?? '' } : { kind: 'version' })
    return { kind: 'changed', text: changesText(changes), changes }
  }

  /** Writes down how the steps are now. `found`: those that were found by definition, with their keys. */
  save(ended: readonly EndedStep[], found: readonly FoundStep[]): void {
    const { plan, now, folder, name } = this.#options
    const at = now()
    const byVertex = new Map(ended.map((each) => [each.step.vertex.id, each]))
    const foundByVertex = new Map(found.map((step) => [step.vertex.id, step]))
    const steps = this.#steps.flatMap((vertex, i): StepTrace[] => {
      const place = this.#places[i]
      if (place === undefined) return []
      const trace = this.#journal.steps[this.#matches.get(i) ?? -1]
      const end = byVertex.get(vertex.id)
      if (end !== undefined) return [nextTrace(place, trace, end, stateOf(end.step, plan, at))]
      const step = foundByVertex.get(vertex.id)
      if (step === undefined) return trace === undefined ? [] : [{ ...trace, place }]
      const isKnown = trace?.states.some(({ definition }) => definition === step.key.digest)
      if (isKnown && trace !== undefined) return [{ ...trace, place }]
      return [{ place, states: [stateOf(step, plan, at), ...(trace?.states ?? [])].slice(0, keptStates) }]
    })
    writeJournal(folder, name, { version: 1, steps: [...steps, ...this.#otherSteps()] })
  }

  /** Steps of other targets of the same file, and of stages that were not needed now. */
  #otherSteps(): StepTrace[] {
    const matched = new Set(this.#matches.values())
    const stages = new Set(this.#places.map(({ stage }) => stage))
    return this.#journal.steps.filter(({ place }, i) => !matched.has(i) && !stages.has(place.stage))
  }

  /** Keeps what the step selects now for later comparisons; what was kept already is not listed again. */
  async #keepLists({ parts }: MissedStep): Promise<void> {
    const { folder, now } = this.#options
    for (const { digest, list } of parts?.selections ?? []) {
      if (!hasFileList(folder, digest, now())) writeFileList(folder, digest, await list())
    }
  }

  /** The lists of the selections that are not what they were, now and in `nearest`. */
  async #listFiles({ parts }: MissedStep, nearest: StepState): Promise<ListFiles> {
    const { folder } = this.#options
    const lists = new Map<string, ReturnType<ListFiles>>()
    for (const { component, digest, list } of parts?.selections ?? []) {
      const old = nearest.parts[component]
      if (old === undefined || old === digest) continue
      lists.set(component, { now: await list(), earlier: readFileList(folder, old) })
    }
    return (component) => lists.get(component) ?? { now: undefined, earlier: undefined }
  }

  #noCacheReason(vertex: Vertex): StepReason {
    const { noCache, plan } = this.#options
    const stage = typeof noCache === 'boolean' ? '' : ` ${placeOf(vertex, plan).stage}`
    const text = typeof noCache === 'boolean' ? '--no-cache' : `--no-cache-filter${stage}`.trimEnd()
    return { kind: 'no-cache', text }
  }

  /** Pruned, if that was after it last had a result. */
  #goneReason(keys: readonly Digest[], known: StepState): StepReason {
    const at = findTombstone(this.#options.folder, [...keys, ...keysOf(known)])
    if (at === undefined || at < known.at) return { kind: 'lost', text: 'its result is not in the store any more' }
    return { kind: 'pruned', text: `its result was pruned ${agoText(this.#options.now() - at)}` }
  }

  readonly #declared = (name: string): 'arg' | 'env' => {
    const pattern = new RegExp(`^\\s*(?:ONBUILD\\s+)?ARG\\s(?:.*\\s)?${name.replaceAll(/[^\w]/g, '\\$&')}(?:[=\\s]|$)`, 'im')
    return pattern.test(this.#options.plan.source.text) ? 'arg' : 'env'
  }
}

const neverBuilt: StepReason = { kind: 'new', text: 'never built here' }

function keysOf({ definition, content }: StepState): Digest[] {
  return content === undefined ? [definition] : [definition, content]
}

function failureReason({ failed }: StepTrace, keys: readonly string[], nowMs: number): StepReason | undefined {
  if (failed === undefined || !keys.some((key) => key === failed.definition || key === failed.content)) return undefined
  return { kind: 'failed', text: `it did not succeed ${agoText(nowMs - failed.at)}` }
}

/** The fewest differences; of equals the newest, which comes first. */
function nearestState(now: StepState, states: readonly StepState[]): StepState | undefined {
  let best: StepState | undefined
  let fewest = Number.POSITIVE_INFINITY
  for (const state of states) {
    const count = countDifferences(now, state)
    if (count >= fewest) continue
    best = state
    fewest = count
  }
  return best
}

function nextTrace(place: StepPlace, trace: StepTrace | undefined, { succeeded }: EndedStep, state: StepState): StepTrace {
  const earlier = trace?.states ?? []
  if (!succeeded) {
    const { at, definition, content } = state
    return { place, states: earlier, failed: { at, definition, ...(content === undefined ? {} : { content }) } }
  }
  const others = earlier.filter(({ definition }) => definition !== state.definition)
  return { place, states: [state, ...others].slice(0, keptStates) }
}
