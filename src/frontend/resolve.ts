/**
 * Stages → resolved stages: every image that is needed is pinned and its config read; ONBUILD triggers of base images
 * become steps, which may make more stages and images needed (semantics.md 52, 53). The only arrow of the frontend that
 * touches the world, through `ResolveWorld`.
 */
import type { Parsed } from '../../grammar/ast.js'
import type { Context } from '../core/context.js'
import type { Diagnostic } from '../core/diagnostic.js'
import type { DiffID, Digest } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { ImageConfig } from '../core/image.js'
import { formatPlatform, type Platform } from '../core/platform.js'
import type { SourceFile, Span } from '../core/span.js'
import { findDependencies } from './dependencies.js'
import { errorAt, type Place, placeIn, problem, throwErrors } from './problem.js'
import { reachableStages } from './reachable.js'
import type { Analysis, Stage, Step } from './stages.js'

/** An image that was pinned. */
export interface ResolvedImage {
  /** In full: `docker.io/library/debian:12`. */
  readonly reference: string
  /** Undefined for an image that exists only in the local store. */
  readonly manifest?: Digest
  /** The digest of the config blob. */
  readonly configDigest: Digest
  readonly config: ImageConfig
  readonly platform: Platform
  /** Bottom first. */
  readonly diffIds: readonly DiffID[]
}

/** Finds an image by its name as written. Rejects with a BuildError when there is none. */
export type ImageLookup = (reference: string, platform: Platform) => Promise<ResolvedImage>

/** What `resolve` needs of the world: images, and the parser for triggers (an argument, because it is slow to load). */
export interface ResolveWorld {
  readonly lookup: ImageLookup
  readonly parse: (source: SourceFile) => Parsed | Promise<Parsed>
}

/** An analysis with nothing left to look up: input of `lower`. */
export interface Resolved {
  readonly analysis: Analysis
  /** All stages of the file; those in `reachable` have the triggers of their base images in front of their steps. */
  readonly stages: readonly Stage[]
  /** The stages that are needed now that triggers are known, in order of the file. */
  readonly reachable: readonly number[]
  /** Images by `imageKey`. */
  readonly images: ReadonlyMap<string, ResolvedImage>
  readonly diagnostics: readonly Diagnostic[]
}

/** The key of an image in `Resolved.images`. */
export function imageKey(reference: string, platform: Platform): string {
  return `${formatPlatform(platform)} ${reference}`
}

/**
 * Pins all images that the target needs, several at a time.
 *
 * @throws DockerfileError when the analysis has errors or a trigger is wrong
 * @throws whatever `lookup` rejects with, with the place in the Dockerfile added
 */
export async function resolve(analysis: Analysis, world: ResolveWorld, ctx: Context): Promise<Resolved> {
  throwErrors(analysis.diagnostics)
  if (analysis.target === undefined) throw new Error('an analysis without errors has a target')
  const work = new Resolution(analysis, world, ctx)
  const reachable = await work.run(analysis.target)
  const { stages, images, diagnostics } = work
  throwErrors(diagnostics)
  return { analysis, stages, reachable, images, diagnostics: [...analysis.diagnostics, ...diagnostics] }
}

/** One run of `resolve`: repeats until triggers add no more stages. */
class Resolution {
  readonly stages: Stage[]
  readonly images = new Map<string, ResolvedImage>()
  readonly diagnostics: Diagnostic[] = []
  readonly #analysis: Analysis
  readonly #world: ResolveWorld
  readonly #ctx: Context
  readonly #pending = new Map<string, Promise<ResolvedImage>>()
  readonly #done = new Set<number>()

  constructor(analysis: Analysis, world: ResolveWorld, ctx: Context) {
    this.#analysis = analysis
    this.#world = world
    this.#ctx = ctx
    this.stages = [...analysis.stages]
  }

  async run(target: number): Promise<readonly number[]> {
    for (;;) {
      const reachable = reachableStages(this.stages, [target])
      const next = reachable.filter((index) => !this.#done.has(index))
      if (next.length === 0) return reachable
      this.#ctx.signal.throwIfAborted()
      await Promise.all(next.map((index) => this.#resolveStage(index)))
    }
  }

  async #resolveStage(index: number): Promise<void> {
    this.#done.add(index)
    const stage = this.stages[index]
    if (stage === undefined) throw new Error(`there is no stage ${index}`)
    if (!this.#analysis.reachable.includes(index)) this.diagnostics.push(...stage.problems)
    // Images that instructions name do not wait for the base, whose triggers may name more.
    const [complete] = await Promise.all([this.#withTriggers(stage), this.#resolveNamed(stage), this.#resolveContext(stage)])
    this.stages[index] = complete
    if (complete !== stage) await this.#resolveNamed(complete)
  }

  async #resolveNamed(stage: Stage): Promise<void> {
    await Promise.all(
      stage.dependencies.map(async ({ source, span }) => {
        if (source.kind === 'image') await this.#image(source.reference, stage.platform, { source: this.#analysis.source, span })
      }),
    )
  }

  /** A main context that is an image: any instruction may copy from it. */
  async #resolveContext({ platform, baseSpan: span }: Stage): Promise<void> {
    const { options, source } = this.#analysis
    if (options.contextImage !== undefined) await this.#image(options.contextImage, platform, { source, span })
  }

  async #withTriggers(stage: Stage): Promise<Stage> {
    if (stage.base.kind !== 'image') return stage
    const place = { source: this.#analysis.source, span: stage.baseSpan }
    const image = await this.#image(stage.base.reference, stage.platform, place)
    const triggers = await this.#triggers(image.config.config?.OnBuild ?? [], stage)
    if (triggers.length === 0) return stage
    const analysis = this.#analysis
    const found = findDependencies(triggers, {
      ...{ stageNames: analysis.stages.map(({ name }) => name), contexts: analysis.options.contexts },
      ...{ stage: stage.index, platform: stage.platform, escape: '\\' },
      ...{ globals: { get: (name) => analysis.globals.get(name) }, globalNames: analysis.globals.keys() },
    })
    this.diagnostics.push(...found.problems)
    return {
      ...stage,
      steps: [...triggers, ...stage.steps],
      dependencies: [...found.dependencies, ...stage.dependencies],
    }
  }

  async #triggers(texts: readonly string[], stage: Stage): Promise<Step[]> {
    const steps: Step[] = []
    for (const text of texts) {
      const source = { name: `ONBUILD of ${stage.baseName}`, text }
      const { ast, diagnostics } = await this.#world.parse(source)
      const trigger = { text, source: this.#analysis.source, span: stage.baseSpan }
      const place = placeOfTrigger(trigger)
      for (const found of diagnostics) if (found.severity === 'error') this.diagnostics.push({ ...found, ...place })
      const [instruction, second] = ast.instructions
      if (instruction === undefined) continue
      if (second !== undefined) {
        throw problem(place, 'DOCKERFILE_BAD_BASE', `the trigger "${text}" of ${stage.baseName} is more than one instruction`)
      }
      const step: Step = { instruction, source, trigger }
      if (['onbuild', 'from', 'maintainer'].includes(instruction.kind)) this.diagnostics.push(forbidden(step))
      else steps.push(step)
    }
    return steps
  }

  /** Looks an image up once, however many stages need it. */
  async #image(reference: string, platform: Platform, place: Place): Promise<ResolvedImage> {
    const key = imageKey(reference, platform)
    const pending = this.#pending.get(key) ?? this.#world.lookup(reference, platform)
    this.#pending.set(key, pending)
    try {
      const image = await pending
      this.images.set(key, image)
      return image
    } catch (error) {
      if (error instanceof BuildError) this.#addPlace(error, reference, place)
      throw error
    }
  }

  #addPlace(error: BuildError, reference: string, { source, span }: Place): void {
    error.source ??= source
    error.span ??= span
    const later = this.stages.find((stage) => stage.name === reference.toLowerCase())
    if (later !== undefined) error.hint = `the stage "${reference}" is defined after this line: move it before`
  }
}

function placeOfTrigger({ text, source, span }: { text: string; source: SourceFile; span: Span }): Place {
  return { source, span, remark: `in the trigger "ONBUILD ${text}" of the base image` }
}

function forbidden(step: Step): Diagnostic {
  const { keyword, keywordSpan } = step.instruction
  return errorAt(
    placeIn(step, keywordSpan),
    'DOCKERFILE_BAD_BASE',
    `${keyword.toUpperCase()} is not allowed as an ONBUILD trigger`,
  )
}
