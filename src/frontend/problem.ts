/** Makes diagnostics and errors of what is wrong with an instruction, at the exact word. */
import type { Diagnostic } from '../core/diagnostic.js'
import { DockerfileError, type ErrorCode } from '../core/errors.js'
import type { SourceFile, Span } from '../core/span.js'
import type { Step } from './stages.js'

/** A place in a file that a diagnostic points at. */
export interface Place {
  readonly source: SourceFile
  readonly span: Span
  /** Added where the words are not in the file. */
  readonly remark?: string
}

/** The place of a part of a step; for a trigger of a base image the FROM line with a remark. */
export function placeIn(step: Step, span: Span): Place {
  const { trigger } = step
  if (trigger === undefined) return { source: step.source, span }
  return { source: trigger.source, span: trigger.span, remark: `in the trigger "ONBUILD ${trigger.text}" of the base image` }
}

/** An error as a value. */
export function errorAt(place: Place, code: ErrorCode, message: string, hint?: string): Diagnostic {
  return diagnostic('error', place, code, message, hint)
}

/** A warning as a value; `rule` is BuildKit's name where it has the rule. */
export function warningAt(place: Place, rule: string, message: string, hint?: string): Diagnostic {
  return diagnostic('warning', place, rule, message, hint)
}

/** An error to throw: whoever loops over instructions collects it and goes on. */
export function problem(place: Place, code: ErrorCode, message: string, hint?: string): DockerfileError {
  return new DockerfileError([errorAt(place, code, message, hint)])
}

function diagnostic(severity: 'error' | 'warning', place: Place, code: string, message: string, hint?: string): Diagnostic {
  const { source, span, remark } = place
  return {
    severity,
    code,
    message,
    source,
    span,
    ...(hint === undefined ? {} : { hint }),
    ...(remark === undefined ? {} : { notes: [{ message: remark }] }),
  }
}

/** Throws all errors of a list as one `DockerfileError`; does nothing when there is none. */
export function throwErrors(diagnostics: readonly Diagnostic[]): void {
  const [first, ...rest] = diagnostics.filter((found) => found.severity === 'error')
  if (first !== undefined) throw new DockerfileError([first, ...rest])
}

/** Runs `body`; what a `DockerfileError` says goes to `into` and the answer is undefined, so that more can be found. */
export function collectProblems<T>(into: Diagnostic[], body: () => T): T | undefined {
  try {
    return body()
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    into.push(...error.diagnostics)
    return undefined
  }
}
