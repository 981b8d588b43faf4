/**
 * The syntax tree of a Dockerfile: what was written, nothing expanded, nothing resolved.
 *
 * Words keep their quotes and `$NAME`s as raw text; `words.ts` expands them later against an environment. Every part
 * has an exact span into the source text. Line continuations are already joined in `text` fields and not in spans.
 */
import type { Diagnostic } from '../src/core/diagnostic.js'
import type { SourceFile, Span } from '../src/core/span.js'

/** What `parse` returns: always a tree, plus everything that is wrong or doubtful. It never throws. */
export interface Parsed {
  readonly ast: Dockerfile
  readonly diagnostics: readonly Diagnostic[]
}

/** A whole Dockerfile. */
export interface Dockerfile {
  readonly source: SourceFile
  readonly escape: '\\' | '`'
  readonly directives: readonly Directive[]
  readonly instructions: readonly Instruction[]
}

/** A parser directive `# name=value`. `name` is lower case. */
export interface Directive {
  readonly name: string
  readonly value: string
  readonly span: Span
}

/** One argument as written, quotes and escapes included, continuations removed. */
export interface Word {
  readonly text: string
  readonly span: Span
}

/** An instruction flag `--name[=value]`. `value` is undefined for a bare `--link`. */
export interface Flag {
  readonly name: string
  readonly value: string | undefined
  readonly span: Span
}

/** A here-document. `name` has no quotes; `content` is raw (tabs stripped for `<<-`). */
export interface Heredoc {
  readonly name: string
  readonly fileDescriptor: number
  readonly content: string
  /** False when the delimiter was quoted: the body is taken literally. */
  readonly expand: boolean
  readonly stripTabs: boolean
  /** The `<<NAME` word. */
  readonly span: Span
  readonly contentSpan: Span
}

/** The command of RUN, CMD, ENTRYPOINT, HEALTHCHECK: JSON form or shell form. */
export type CommandLine =
  | { readonly form: 'exec'; readonly argv: readonly string[]; readonly span: Span }
  | { readonly form: 'shell'; readonly text: string; readonly span: Span }

/** `NAME=value` of ENV, LABEL, ARG. `value` is undefined only for an ARG without default. */
export interface KeyValue {
  readonly key: Word
  readonly value: Word | undefined
  readonly span: Span
}

interface InstructionBase {
  /** The keyword as written (`from`, `RUN`). */
  readonly keyword: string
  readonly keywordSpan: Span
  /** From the keyword to the end of the last line, heredoc bodies included. */
  readonly span: Span
  readonly flags: readonly Flag[]
  /** The instruction's text after the keyword on one line, continuations joined: BuildKit's "original" less the keyword. */
  readonly rest: string
  /** The comment lines directly above, without `#` and joined by newlines. */
  readonly comment: string | undefined
  /** Rules named by `# check=skip=…` directly above. */
  readonly skippedChecks: readonly string[]
}

export interface FromInstruction extends InstructionBase {
  readonly kind: 'from'
  readonly base: Word
  readonly name: Word | undefined
  /** The word between base and name as written (`AS`, `as`). */
  readonly as: Word | undefined
}
export interface RunInstruction extends InstructionBase {
  readonly kind: 'run'
  readonly command: CommandLine
  readonly heredocs: readonly Heredoc[]
}
export interface CommandInstruction extends InstructionBase {
  readonly kind: 'cmd' | 'entrypoint'
  readonly command: CommandLine
}
export interface KeyValueInstruction extends InstructionBase {
  readonly kind: 'env' | 'label' | 'arg'
  readonly pairs: readonly KeyValue[]
  /** True for `ENV name value`: the whole rest of the line is one value. */
  readonly legacy: boolean
}
export interface CopyInstruction extends InstructionBase {
  readonly kind: 'copy' | 'add'
  /** Sources that are not heredocs. */
  readonly sources: readonly Word[]
  readonly heredocs: readonly Heredoc[]
  readonly destination: Word
  readonly json: boolean
}
/**
 * Instructions that are a list of words. USER, WORKDIR, STOPSIGNAL, MAINTAINER and INCLUDE have exactly one (the rest of the
 * line). INCLUDE is gone before stages are made of the tree: the included instructions stand in its place.
 */
export interface WordsInstruction extends InstructionBase {
  readonly kind: 'expose' | 'volume' | 'user' | 'workdir' | 'stopsignal' | 'maintainer' | 'include'
  readonly words: readonly Word[]
  readonly json: boolean
}
export interface HealthcheckInstruction extends InstructionBase {
  readonly kind: 'healthcheck'
  /** Undefined for `HEALTHCHECK NONE`. Interval and the like are in `flags`. */
  readonly command: CommandLine | undefined
}
export interface ShellInstruction extends InstructionBase {
  readonly kind: 'shell'
  readonly argv: readonly string[]
}
export interface OnbuildInstruction extends InstructionBase {
  readonly kind: 'onbuild'
  readonly trigger: Instruction
  /** The trigger as it is stored in the image config. */
  readonly text: string
}

/** The 18 instructions. A line that is none of them gives a diagnostic and no instruction. */
export type Instruction =
  | FromInstruction
  | RunInstruction
  | CommandInstruction
  | KeyValueInstruction
  | CopyInstruction
  | WordsInstruction
  | HealthcheckInstruction
  | ShellInstruction
  | OnbuildInstruction

/** Makes the compiler check that a `switch` over a union has every case. */
export function assertNever(value: never): never {
  throw new Error(`unexpected case ${JSON.stringify(value)}`)
}
