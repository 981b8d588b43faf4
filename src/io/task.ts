/**
 * Errors across threads: structured clone keeps an error's text and drops its class and its `code`, so a task hands its
 * failure over as a value and the caller makes the error again.
 */
import { BuildError, type ErrorCode, StoreError } from '../core/errors.js'

/** What a task of `src/worker.ts` answers. */
export type TaskOutcome<Result> = { readonly value: Result } | { readonly failure: PackedError }

/** An expected error or a system error as plain data. */
interface PackedError {
  readonly kind: 'build' | 'store' | 'system'
  readonly message: string
  readonly stack: string | undefined
  readonly fields: Readonly<Record<string, unknown>>
  readonly cause: PackedError | undefined
}

/** Makes a function a task: expected errors and system errors become values; a bug stays a thrown error. */
export function asTask<Argument, Result>(
  work: (argument: Argument) => Result | Promise<Result>,
): (argument: Argument) => Promise<TaskOutcome<Result>> {
  return async (argument) => {
    try {
      return { value: await work(argument) }
    } catch (error) {
      const failure = packError(error)
      if (failure === undefined) throw error
      return { failure }
    }
  }
}

/** The result of a task, or its error, thrown. */
export function unpackOutcome<Result>(outcome: TaskOutcome<Result>): Result {
  if ('failure' in outcome) throw unpackError(outcome.failure)
  return outcome.value
}

function packError(error: unknown): PackedError | undefined {
  if (!(error instanceof Error)) return undefined
  const shared = { message: error.message, stack: error.stack, cause: packError(error.cause) }
  if (error instanceof BuildError) {
    const { code, hint } = error
    const place = error instanceof StoreError ? { digest: error.digest, path: error.path } : {}
    return { ...shared, kind: error instanceof StoreError ? 'store' : 'build', fields: { code, hint, ...place } }
  }
  const { code, errno, syscall, path, dest } = error as NodeJS.ErrnoException & { dest?: string }
  if (typeof code !== 'string') return undefined
  return { ...shared, kind: 'system', fields: { code, errno, syscall, path, dest } }
}

function unpackError(packed: PackedError): Error {
  const cause = packed.cause && unpackError(packed.cause)
  const error = rebuild(packed, cause)
  if (packed.stack !== undefined) error.stack = packed.stack
  return error
}

function rebuild({ kind, message, fields }: PackedError, cause: Error | undefined): Error {
  if (kind === 'system') return Object.assign(new Error(message, cause && { cause }), fields)
  const { code, ...details } = fields as { code: ErrorCode }
  const given = { ...details, ...(cause && { cause }) }
  return kind === 'store' ? new StoreError(code, message, given) : new BuildError(code, message, given)
}
