/**
 * What the solver needs of the world: types only. `build.ts` plugs in the real ones, tests plug in fakes.
 */
import type { CanonicalValue } from '../core/canonical.js'
import type { Context } from '../core/context.js'
import type { DiffID, Digest } from '../core/digest.js'
import type { StepReason } from '../core/reason.js'
import type { FileView } from '../core/view.js'
import type { Op, Vertex } from '../graph/op.js'
import type { Claim } from '../store/claims.js'

/** A key of the cache. `components` explain it: on a miss they are compared with those of an earlier record. */
export interface CacheKey {
  readonly digest: Digest
  readonly by: 'definition' | 'content'
  readonly components: KeyComponents
}

/** The parts of a key by name (`instruction`, `env.NAME`, `input.0`, `path:src/app.ts`): texts or digests. */
export type KeyComponents = Readonly<Record<string, string>>

/**
 * What a vertex yields.
 *
 * `layers`: a root filesystem, bottom first. `files`: a tree to copy from (a context, a download, heredocs).
 */
export type VertexResult =
  | { readonly kind: 'layers'; readonly diffIds: readonly DiffID[] }
  | { readonly kind: 'files'; readonly view: FileView }

/** A stored result. `layers` is the whole stack, bottom first; times are ms since 1970. */
export interface CacheRecord {
  readonly key: Digest
  readonly by: 'definition' | 'content'
  readonly layers: readonly DiffID[]
  /** When each of `layers` was made; 0 for those of a base image, whose history has its own times. */
  readonly layerTimes: readonly number[]
  readonly createdAt: number
  /** sha256 over the sorted entries of the new layer without times; undefined where the step made no layer. */
  readonly contentId?: Digest
  /** Bytes of the new layer's files. */
  readonly size: number
  readonly components: KeyComponents
  /** The step as people read it. */
  readonly name: string
  /** In a record by definition: the key by content of the same step. */
  readonly contentKey?: Digest
  /** The key by what the step took of its inputs, where that was not all of them. */
  readonly selectedKey?: Digest
}

/** The records of finished steps. */
export interface CacheRecords {
  /** The record of a key whose layers are all still there, else undefined. Damaged records are a miss. */
  find(key: Digest): CacheRecord | undefined
  save(record: CacheRecord): void
}

/** What an op runner makes: a new layer on top of the base input, or a tree of files, or the layers of an image. */
export type OpResult =
  | { readonly kind: 'layer'; readonly diffId: DiffID; readonly contentId: Digest; readonly size: number }
  | { readonly kind: 'layers'; readonly diffIds: readonly DiffID[] }
  | { readonly kind: 'files'; readonly view: FileView }

/** Carries out one kind of op. */
export interface OpRunner<O extends Op> {
  /**
   * What besides the op's own fields and its inputs' keys belongs to the definition key: the digest of the selected
   * context files, of a download. Undefined when the op's fields say everything.
   */
  key?(op: O, inputs: readonly VertexInput[], vertex: Vertex, ctx: Context): Promise<KeyParts>
  /**
   * For an op that takes only a part of the root filesystems among its inputs: the same as `key` with that part by content.
   * Asked for when all other keys found nothing and the files are here; undefined when it would say no more than they do.
   */
  selected?(
    op: O,
    inputs: readonly VertexResult[],
    parts: KeyParts | undefined,
    vertex: Vertex,
    ctx: Context,
  ): Promise<KeyParts | undefined>
  /** It will probably run soon: what it needs and takes time may be brought up. Does not wait, and does not fail. */
  expect?(op: O): void
  /** No step is left to run: what is kept for further ones may go. Does not wait, and does not fail. */
  rest?(): void
  run(op: O, inputs: readonly VertexResult[], vertex: Vertex, ctx: Context): Promise<OpResult>
}

/** An input as `key` sees it: its op, its key, and its files where they need no step to be run. */
export interface VertexInput {
  readonly vertex: Vertex
  readonly key: CacheKey
  readonly view?: FileView
}

/** `fields` replaces the op in the key; `components` are added for explanations. */
export interface KeyParts {
  readonly fields: CanonicalValue
  readonly components: KeyComponents
  /** For explanations: each selection of files that a component is the digest of. Nothing is listed before it is asked for. */
  readonly selections?: readonly FileSelection[]
  /** Inputs that are covered by `fields`, so that their own keys stay out (a context whose selected files were hashed). */
  readonly coveredInputs: readonly number[]
}

/** The files that one component of a key is the digest of. */
export interface FileSelection {
  readonly component: string
  readonly digest: Digest
  /** What each file is, by its path in the context: equal texts for equal files. */
  list(): Promise<ReadonlyMap<string, string>>
}

/** One runner per kind of op; a merge only puts stacks together, which the solver does itself. */
export type OpRunners = { readonly [K in Exclude<Op['kind'], 'merge'>]: OpRunner<Extract<Op, { kind: K }>> }

/** What is known of layers, and how their files get here. */
export interface LayerFiles {
  /** sha256 over the sorted entries without times; undefined while the layer's files were never seen. */
  contentIdOf(diffId: DiffID): Digest | undefined
  /** True when the files of all these layers are here. */
  areHere(diffIds: readonly DiffID[]): boolean
  /** Fetches and unpacks the files of the layers that are only known as blobs. `vertex` is who needs them. */
  bringHere(diffIds: readonly DiffID[], vertex: Vertex, ctx: Context): Promise<void>
}

/** A step that nothing has to be done for. */
export interface FoundStep {
  readonly vertex: Vertex
  readonly key: CacheKey
}

/** A step whose result was not found. */
export interface MissedStep {
  readonly vertex: Vertex
  readonly key: CacheKey
  readonly content: CacheKey
  readonly parts: KeyParts | undefined
  /** Something before it was made to run, so that its definition was not looked for. */
  readonly stale: boolean
}

/** Says why steps run. It is told of a step only when the step is not found, so that a build of nothing loads nothing. */
export interface Explainer {
  /** Something has to be solved; these need not: they were found, or what comes after them was. */
  begin(found: readonly FoundStep[]): void
  /** Asked just before the step runs. */
  explain(step: MissedStep, ctx: Context): Promise<StepReason>
  /** The step has a result now: it ran, or was found by content. */
  succeeded(step: MissedStep): void
  failed(step: MissedStep): void
}

/** Sees that of several processes with the same step one runs it. */
export interface StepClaims {
  /** Takes the claim if it is free. Never waits. */
  take(key: Digest): Claim
}

/** Everything the solver reaches the world through. */
export interface SolverPorts {
  readonly records: CacheRecords
  readonly runners: OpRunners
  readonly layers: LayerFiles
  /** Without it no reasons are given. */
  readonly explainer?: Explainer
  /** Called when something has to be run: records found from then on stay. Without it they always do. */
  readonly hold?: () => void
  /** Without it every step is run here. */
  readonly claims?: StepClaims
}
