/**
 * The process as commands see it: streams, environment, working directory, the signal that stops the work.
 *
 * The streams are opened by their first use: Node needs a millisecond for each, and `--version` needs one.
 */
import type { BuildEvent } from '../core/context.js'
import type { Diagnostic } from '../core/diagnostic.js'

/** What can be written to. */
export interface Output {
  write(text: string | Uint8Array): boolean
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
}

/** Flags before the verb. */
export interface GlobalOptions {
  /** The store's directory. */
  readonly root: string | undefined
  /** The OCI runtime, by name or path. */
  readonly runtime: string | undefined
  /** Docker's configuration directory, with the credentials. */
  readonly configDir: string | undefined
  /** Registry hosts that may be spoken to over http. */
  readonly insecureRegistries: readonly string[]
  /** Areas whose debug events are printed; `all` for every one. */
  readonly debug: ReadonlySet<string>
}

/** The surroundings of a command. */
export interface Shell {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  readonly globals: GlobalOptions
  readonly signal: AbortSignal
  /** From now on SIGINT, SIGTERM and SIGHUP go to `handler` instead of stopping the work. */
  readonly takeSignals: (handler: (signal: NodeJS.Signals) => void) => void
  readonly stdin: NodeJS.ReadStream
  /** For archives: Node's own stream. */
  readonly stdoutStream: NodeJS.WritableStream
  readonly stdout: Output
  readonly stderr: Output
  /** Use ANSI colours on stderr. */
  readonly color: boolean
  /** ms since 1970. */
  readonly now: () => number
  /** Writes a result. */
  readonly print: (text: string) => void
  /** Writes a remark to stderr. */
  readonly note: (text: string) => void
  readonly warn: (diagnostic: Diagnostic) => void
  /** For events outside a progress display: warnings and debug lines are printed, the others dropped. */
  readonly emit: (event: BuildEvent) => void
}
