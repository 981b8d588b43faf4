/** Exit codes, and which error has which (style.md, section 5). */
import { BuildError, UsageError } from '../core/errors.js'

/** The exit codes of mille itself. `run` has docker's 125, 126 and 127 besides. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, bug: 70, cancelled: 130, terminated: 143, brokenPipe: 141 } as const

/** The exit code for something that was thrown. A `CancelledError` is 130 whatever the signal was; main knows better. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return exitCodes.usage
  if (!(error instanceof BuildError)) return exitCodes.bug
  return error.code === 'CANCELLED' ? exitCodes.cancelled : exitCodes.failed
}
