/** What lowering one instruction needs at hand: the stage's state, the plan so far, and names of steps. */

import type { Word } from '../../grammar/ast.js'
import { expandWord } from '../../grammar/words.js'
import { hideCredentials } from '../core/address.js'
import type { Diagnostic } from '../core/diagnostic.js'
import type { VertexId } from '../graph/op.js'
import type { VertexDetails } from '../graph/vertex.js'
import { sourceOf } from './dependencies.js'
import { type ExpandScope, expand } from './expand.js'
import { summarizeHeredoc } from './heredoc-text.js'
import { configHistory, layerHistory } from './history.js'
import type { PlanBuilder } from './plan-builder.js'
import { placeIn } from './problem.js'
import { imageKey, type Resolved, type ResolvedImage } from './resolve.js'
import type { StageState } from './stage-state.js'
import type { FileSource, Stage, Step } from './stages.js'

/** Files that an instruction takes from somewhere. `vertex` is undefined for an empty tree. */
export interface InputFiles {
  readonly vertex: VertexId | undefined
  /** True for stages and images: their files have owners worth keeping. */
  readonly isRootfs: boolean
}

/** Lowers the steps of one stage; the functions in `lower-*.ts` are its verbs. */
export class StageLowering {
  readonly resolved: Resolved
  readonly stage: Stage
  readonly state: StageState
  readonly plan: PlanBuilder
  readonly diagnostics: Diagnostic[]
  readonly #finished: ReadonlyMap<number, StageState>
  readonly #stepCount: number
  #stepNumber = 0

  constructor(
    resolved: Resolved,
    stage: Stage,
    state: StageState,
    shared: {
      readonly plan: PlanBuilder
      readonly diagnostics: Diagnostic[]
      readonly finished: ReadonlyMap<number, StageState>
      readonly stepNumber: number
    },
  ) {
    this.resolved = resolved
    this.stage = stage
    this.state = state
    this.plan = shared.plan
    this.diagnostics = shared.diagnostics
    this.#finished = shared.finished
    this.#stepCount = countSteps(stage)
    this.#stepNumber = shared.stepNumber
  }

  get options(): Resolved['analysis']['options'] {
    return this.resolved.analysis.options
  }

  /** How words are expanded here and now. A trigger of an image was written with the default escape character. */
  scope(step: Step): ExpandScope {
    return { env: this.state.env, escape: step.trigger === undefined ? this.resolved.analysis.escape : '\\' }
  }

  /** Expands a word against the environment as it is now. */
  expand(step: Step, word: Word): string {
    return expand(step, word, this.scope(step))
  }

  /** Whether results of this stage's steps may come from the cache. */
  get ignoreCache(): boolean {
    const { noCache } = this.options
    if (typeof noCache === 'boolean') return noCache
    return noCache.some((name) => name.toLowerCase() === this.stage.name || name === String(this.stage.index))
  }

  /** The name and place of a step's vertex: `[build 2/5] RUN npm ci`. Counts the step. */
  details(step: Step, ignoreCache: boolean, heredoc?: string): VertexDetails {
    this.#stepNumber++
    const { keyword, rest } = step.instruction
    const text = expandWord(rest, this.state.env, { escape: this.scope(step).escape, mode: 'keep' })
    const written = `${keyword.toUpperCase()} ${text.problem === undefined ? text.value : rest}`
    const shown = step.instruction.kind === 'add' ? hideCredentials(written) : written
    const summary = heredoc === undefined ? '' : ` (${summarizeHeredoc(heredoc)})`
    const { span } = placeIn(step, step.instruction.span)
    return { name: `${stepPrefix(this.stage, this.#stepNumber, this.#stepCount)}${shown}${summary}`, span, ignoreCache }
  }

  /** Makes `vertex` the root filesystem and writes the history line of the layer it adds. */
  commitLayer(createdBy: string, vertex: VertexId, suffix?: string): void {
    this.state.rootfs = vertex
    this.state.history.push(layerHistory(createdBy, vertex, suffix))
  }

  /** Writes the history line of an instruction that changed the config only. */
  commitConfig(createdBy: string): void {
    this.state.history.push(configHistory(createdBy))
  }

  /** The files that a name in `--from` stands for. */
  filesOf(step: Step, name: Word, numbers: boolean): InputFiles {
    const { analysis } = this.resolved
    const source = sourceOf(
      step,
      name,
      {
        ...{ stageNames: analysis.stages.map((stage) => stage.name), contexts: analysis.options.contexts },
        ...{ stage: this.stage.index, platform: this.stage.platform, escape: this.scope(step).escape },
        ...{ globals: { get: (key) => analysis.globals.get(key) }, globalNames: analysis.globals.keys() },
      },
      numbers,
    )
    return this.#files(source)
  }

  /** The main build context. */
  contextFiles(): InputFiles {
    const { contextImage, ignore } = this.resolved.analysis.options
    if (contextImage !== undefined) return this.#files({ kind: 'image', reference: contextImage })
    return { vertex: this.plan.addContext('context', ignore), isRootfs: false }
  }

  #files(source: FileSource): InputFiles {
    switch (source.kind) {
      case 'scratch':
        return { vertex: undefined, isRootfs: true }
      case 'context':
        return { vertex: addNamedContext(this.plan, source.name, this.resolved), isRootfs: false }
      case 'stage':
        return { vertex: finishedStage(this.#finished, source.index).rootfs, isRootfs: true }
      case 'image': {
        const image = findImage(this.resolved, source.reference, this.stage)
        return { vertex: this.plan.addImage(image, this.stage.platform, ''), isRootfs: true }
      }
    }
  }
}

/** The state at the end of an earlier stage. */
export function finishedStage(finished: ReadonlyMap<number, StageState>, index: number): StageState {
  const state = finished.get(index)
  if (state === undefined) throw new Error(`stage ${index} was not planned before it was needed`)
  return state
}

/** An image that `resolve` has found. */
export function findImage(resolved: Resolved, reference: string, stage: Stage): ResolvedImage {
  const image = resolved.images.get(imageKey(reference, stage.platform))
  if (image === undefined) throw new Error(`image ${reference} was not resolved`)
  return image
}

/** The vertex of a named context, with the ignore patterns that it was given with. */
export function addNamedContext(plan: PlanBuilder, name: string, { analysis }: Resolved): VertexId {
  const found = Object.values(analysis.options.contexts).find((each) => each.kind === 'context' && each.name === name)
  return plan.addContext(name, found?.kind === 'context' ? found.ignore : [])
}

/** `[build 2/5] `, with the number as wide as the total. */
export function stepPrefix(stage: Stage, number: number, total: number): string {
  const label = stage.label === '' ? '' : `${stage.label} `
  return `[${label}${String(number).padStart(String(total).length)}/${total}] `
}

/** How many steps a stage shows: its image, and what makes layers. */
export function countSteps(stage: Stage): number {
  const layers = stage.steps.filter(({ instruction }) => ['run', 'copy', 'add', 'workdir'].includes(instruction.kind))
  return layers.length + (stage.base.kind === 'image' ? 1 : 0)
}
