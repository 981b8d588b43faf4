/**
 * The error classes and the list of all error codes.
 *
 * One base class; a subclass only where some `catch` asks for it. `message` is one lower-case sentence without a full
 * stop, with the values that are wrong; `hint` is one sentence on what to do next. Tests and scripts match `code`.
 * A broken invariant is not one of these: it is a plain `Error` from `node:assert`, reported as a bug.
 */
import type { Diagnostic, Note } from './diagnostic.js'
import type { Digest } from './digest.js'
import type { SourceFile, Span } from './span.js'

/** Every code that mille can report. Stable: a code may be added, never renamed. */
export type ErrorCode =
  // the Dockerfile: its text
  | 'DOCKERFILE_NOT_FOUND'
  | 'DOCKERFILE_SYNTAX'
  | 'DOCKERFILE_EMPTY'
  | 'DOCKERFILE_UNKNOWN_INSTRUCTION'
  | 'DOCKERFILE_UNKNOWN_FLAG'
  | 'DOCKERFILE_BAD_FLAG'
  | 'DOCKERFILE_BAD_ARGUMENT'
  | 'DOCKERFILE_BAD_DIRECTIVE'
  | 'DOCKERFILE_HEREDOC_UNTERMINATED'
  | 'DOCKERFILE_BAD_SUBSTITUTION'
  | 'DOCKERFILE_VARIABLE_REQUIRED'
  | 'DOCKERFILE_UNSUPPORTED'
  // the Dockerfile: its meaning
  | 'DOCKERFILE_NO_STAGE'
  | 'DOCKERFILE_UNKNOWN_STAGE'
  | 'DOCKERFILE_STAGE_ORDER'
  | 'DOCKERFILE_BAD_STAGE_NAME'
  | 'DOCKERFILE_BAD_BASE'
  | 'DOCKERFILE_CHECK_FAILED'
  // building
  | 'CONTEXT_NOT_FOUND'
  | 'CONTEXT_UNREADABLE'
  | 'CONTEXT_CHANGED'
  | 'CONTEXT_BAD_IGNORE_PATTERN'
  | 'CONTEXT_UNSUPPORTED'
  | 'CONTEXT_BAD_ARCHIVE'
  | 'COPY_SOURCE_NOT_FOUND'
  | 'COPY_DESTINATION_CONFLICT'
  | 'COPY_UNKNOWN_USER'
  | 'COPY_BAD_ARCHIVE'
  | 'ADD_DOWNLOAD_FAILED'
  | 'ADD_CHECKSUM_MISMATCH'
  | 'ADD_GIT_FAILED'
  | 'SOLVE_CYCLE'
  | 'SOLVE_SECRET_MISSING'
  | 'BUILD_NOT_REPRODUCIBLE'
  | 'EXPORT_FAILED'
  | 'EXPORT_UNSUPPORTED'
  // the sandbox
  | 'SANDBOX_NO_RUNTIME'
  | 'SANDBOX_SETUP_FAILED'
  | 'SANDBOX_MOUNT_FAILED'
  | 'SANDBOX_NETWORK_FAILED'
  | 'SANDBOX_COMMAND_FAILED'
  | 'SANDBOX_COMMAND_NOT_FOUND'
  | 'SANDBOX_COMMAND_NOT_EXECUTABLE'
  | 'SANDBOX_COMMAND_KILLED'
  | 'SANDBOX_UNKNOWN_USER'
  | 'SANDBOX_UNSUPPORTED'
  // the store
  | 'STORE_BLOB_MISSING'
  | 'STORE_DIGEST_MISMATCH'
  | 'STORE_SIZE_MISMATCH'
  | 'STORE_SNAPSHOT_MISSING'
  | 'STORE_CORRUPT'
  | 'STORE_NEWER_VERSION'
  | 'STORE_NO_SPACE'
  | 'STORE_NO_PERMISSION'
  | 'STORE_LOCKED'
  | 'STORE_IN_USE'
  // layers and archives
  | 'LAYER_BAD_TAR'
  | 'LAYER_ESCAPES_ROOT'
  | 'LAYER_TRUNCATED'
  | 'LAYER_UNSUPPORTED'
  | 'LAYER_CHANGED'
  | 'LAYER_LINK_LOOP'
  | 'ARCHIVE_BAD'
  // images and registries
  | 'IMAGE_NOT_FOUND'
  | 'IMAGE_BAD_NAME'
  | 'HISTORY_AMBIGUOUS'
  | 'HISTORY_NOT_FOUND'
  | 'IMAGE_AMBIGUOUS'
  | 'IMAGE_BAD_MANIFEST'
  | 'IMAGE_BAD_CONFIG'
  | 'IMAGE_NO_PLATFORM'
  | 'IMAGE_INVALID'
  | 'REGISTRY_UNREACHABLE'
  | 'REGISTRY_UNAUTHORIZED'
  | 'REGISTRY_DENIED'
  | 'REGISTRY_NOT_FOUND'
  | 'REGISTRY_PROTOCOL'
  | 'REGISTRY_SERVER_ERROR'
  | 'REGISTRY_DIGEST_MISMATCH'
  | 'REGISTRY_RATE_LIMITED'
  | 'REGISTRY_TLS'
  | 'REGISTRY_CREDENTIALS'
  // caches of other machines
  | 'CACHE_BAD'
  | 'CACHE_DENIED'
  | 'CACHE_UNREACHABLE'
  | 'CACHE_EXPORT_FAILED'
  // running containers
  | 'CONTAINER_NAME_IN_USE'
  | 'CONTAINER_BAD_VOLUME'
  | 'CONTAINER_NO_COMMAND'
  // the command line
  | 'OUTPUT_UNWRITABLE'
  | 'USAGE_UNKNOWN_COMMAND'
  | 'USAGE_UNKNOWN_FLAG'
  | 'USAGE_BAD_FLAG'
  | 'USAGE_BAD_ARGUMENT'
  | 'USAGE_BAD_VARIABLE'
  | 'CANCELLED'

/** What every `BuildError` can carry besides its message. */
export interface ErrorDetails {
  readonly hint?: string | undefined
  readonly source?: SourceFile | undefined
  readonly span?: Span | undefined
  readonly notes?: readonly Note[] | undefined
  readonly cause?: unknown
}

/** The base of all expected errors. `source` and `span` are added once, by the solver, as the error passes it. */
export class BuildError extends Error {
  readonly code: ErrorCode
  hint: string | undefined
  source: SourceFile | undefined
  span: Span | undefined
  notes: readonly Note[]

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = code
    this.hint = details.hint
    this.source = details.source
    this.span = details.span
    this.notes = details.notes ?? []
  }
}

/** The Dockerfile has errors; all of them are in `diagnostics`, the first is the message. */
export class DockerfileError extends BuildError {
  readonly diagnostics: readonly Diagnostic[]

  constructor(diagnostics: readonly [Diagnostic, ...Diagnostic[]]) {
    const [first] = diagnostics
    super(first.code as ErrorCode, first.message, {
      hint: first.hint,
      source: first.source,
      span: first.span,
      notes: first.notes,
    })
    this.diagnostics = diagnostics
  }
}

/** A step could not be done. `vertex` is the step's display name. */
export class SolveError extends BuildError {
  vertex: string | undefined
}

/** A command in a sandbox failed, or the sandbox could not be set up (then `exitCode` is undefined). */
export class SandboxError extends BuildError {
  readonly exitCode: number | undefined
  readonly signal: string | undefined
  /** The last lines of the command's output, oldest first. */
  logTail: readonly string[]
  /** Where the whole output is. */
  logPath: string | undefined

  constructor(
    code: ErrorCode,
    message: string,
    details: ErrorDetails & {
      readonly exitCode?: number | undefined
      readonly signal?: string | undefined
      readonly logTail?: readonly string[]
    } = {},
  ) {
    super(code, message, details)
    this.exitCode = details.exitCode
    this.signal = details.signal
    this.logTail = details.logTail ?? []
  }
}

/** The store is damaged, full, or not ours to write. */
export class StoreError extends BuildError {
  readonly digest: Digest | undefined
  readonly path: string | undefined

  constructor(
    code: ErrorCode,
    message: string,
    details: ErrorDetails & { readonly digest?: Digest; readonly path?: string } = {},
  ) {
    super(code, message, details)
    this.digest = details.digest
    this.path = details.path
  }
}

/** A registry answered with an error or not at all. `url` has no credentials in it. */
export class RegistryError extends BuildError {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly status: number | undefined
  /** The error codes of the answer's body (distribution-spec, "Error codes"). */
  readonly errors: readonly string[]

  constructor(
    code: ErrorCode,
    message: string,
    details: ErrorDetails & {
      readonly method?: string
      readonly url?: string
      readonly status?: number
      readonly errors?: readonly string[]
    } = {},
  ) {
    super(code, message, details)
    this.method = details.method
    this.url = details.url
    this.status = details.status
    this.errors = details.errors ?? []
  }
}

/** The command line is wrong: exit code 2. */
export class UsageError extends BuildError {}

/** The work was stopped by its `AbortSignal`: exit code 130. */
export class CancelledError extends BuildError {
  constructor(message = 'cancelled') {
    super('CANCELLED', message)
  }
}

/** The `code` of a Node system error (`ENOENT`), or undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
