/** Stages as data: what `analyze` makes of a syntax tree and `resolve` completes. */
import type { Instruction } from '../../grammar/ast.js'
import type { Diagnostic } from '../core/diagnostic.js'
import type { Platform } from '../core/platform.js'
import type { SourceFile, Span } from '../core/span.js'
import type { SourceDateEpoch } from './epoch.js'
import type { FrontendOptions } from './options.js'

/** Where an instruction stands; what is said about it points there. */
export interface Step {
  readonly instruction: Instruction
  /** The text that the instruction's spans point into. */
  readonly source: SourceFile
  /** Set for the ONBUILD triggers of a base image: they are not in the Dockerfile, its FROM line stands for them. */
  readonly trigger: { readonly text: string; readonly source: SourceFile; readonly span: Span } | undefined
}

/** Where files come from: a stage, an image, a build context, or nowhere. */
export type FileSource =
  | { readonly kind: 'stage'; readonly index: number }
  | { readonly kind: 'image'; readonly reference: string }
  | { readonly kind: 'context'; readonly name: string }
  | { readonly kind: 'scratch' }

/** A source that could not be found, or may not be used here. */
export interface SourceProblem {
  readonly kind: 'problem'
  readonly diagnostic: Diagnostic
}

/** One use of a stage, image or context by an instruction. */
export interface Dependency {
  readonly source: FileSource
  /** The word that names it. */
  readonly span: Span
}

/** One stage. */
export interface Stage {
  readonly index: number
  /** In lower case; undefined when it has none. */
  readonly name: string | undefined
  /** What progress lines say: the name, `stage-N`, or nothing in a file of one unnamed stage; after the platform if there are several. */
  readonly label: string
  readonly base: FileSource
  /** The base as written, expanded. */
  readonly baseName: string
  readonly baseSpan: Span
  readonly platform: Platform
  readonly span: Span
  /** The instructions after FROM. Triggers of a base that is a stage of this file come first. */
  readonly steps: readonly Step[]
  readonly dependencies: readonly Dependency[]
  /** Errors that matter only when the stage is needed. */
  readonly problems: readonly Diagnostic[]
}

/** Arguments before the first FROM and the predefined ones; undefined: declared without a value. */
export type GlobalArgs = ReadonlyMap<string, string | undefined>

/** The whole file, understood but not resolved. */
export interface Analysis {
  readonly source: SourceFile
  readonly escape: '\\' | '`'
  readonly options: FrontendOptions
  readonly platform: Platform
  readonly globals: GlobalArgs
  /** The time that SOURCE_DATE_EPOCH asks for; undefined: none, or what it says is wrong. */
  readonly epoch: SourceDateEpoch | undefined
  readonly stages: readonly Stage[]
  /** The stage asked for; undefined when there is none (then `diagnostics` says why). */
  readonly target: number | undefined
  /** Indexes of the stages that the target needs, itself included, in order of the file. */
  readonly reachable: readonly number[]
  readonly diagnostics: readonly Diagnostic[]
}
