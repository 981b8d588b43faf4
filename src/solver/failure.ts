/** How errors of steps get their place, and which of several is the one to report. */
import { BuildError, SolveError } from '../core/errors.js'
import type { SourceFile } from '../core/span.js'
import type { Vertex } from '../graph/op.js'
import { asOwnerError, asPlaceError } from '../io/disk-error.js'

/**
 * Adds the place in the Dockerfile and the step's name, once. Errors that are not `BuildError`s are bugs or come from
 * the system: they are left alone, but for owners that files cannot have, full disks and paths that are too long.
 */
export function placeError(raw: unknown, vertex: Vertex, source: SourceFile): unknown {
  const error = asPlaceError(asOwnerError(raw))
  if (!(error instanceof BuildError) || error.span !== undefined || vertex.span === undefined) return error
  error.source = source
  error.span = vertex.span
  error.notes = [{ message: `in step ${vertex.name}` }, ...error.notes]
  if (error instanceof SolveError) error.vertex ??= vertex.name
  return error
}

/** One line about an error for the progress. */
export function errorLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? ''
}
