/**
 * `Context`: what every long-running function is handed, and the events it may report.
 *
 * Library code never prints. It emits these events; the command line listens and renders them.
 */
import type { Diagnostic } from './diagnostic.js'
import type { StepReason } from './reason.js'

/** How the work is told to stop, and where it reports. Stays this small. */
export interface Context {
  readonly signal: AbortSignal
  readonly emit: (event: BuildEvent) => void
}

/** A process that others wait for. `pid` is its number where it runs, which may be another container. */
export interface WorkingProcess {
  readonly pid: number
  /** What it does: `mille build -t app .`. */
  readonly command: string
  /** When it began with what is waited for, ms since 1970. */
  readonly sinceMs: number
  /** It was stopped (Ctrl-Z, SIGSTOP) and keeps what it has until it is continued or ended. */
  readonly isStopped?: true
}

/** What happens during a build, a pull, a push. `atMs` is milliseconds since 1970. */
export type BuildEvent =
  | { readonly type: 'plan'; readonly vertices: readonly { readonly id: string; readonly name: string }[] }
  | {
      readonly type: 'vertex-started'
      readonly id: string
      readonly name: string
      readonly atMs: number
      /** Why it runs; absent for what was found or is only looked at. */
      readonly reason?: StepReason
    }
  | {
      readonly type: 'vertex-done'
      readonly id: string
      readonly name: string
      readonly atMs: number
      readonly cached: boolean
      /** Set when the step failed or was cancelled: one line for the progress. */
      readonly error?: string
    }
  /** Another process does the same work, and this one waits; or it does so no longer. Said again when the other one is stopped or goes on. */
  | {
      readonly type: 'waiting'
      readonly id: string
      readonly name: string
      readonly atMs: number
      readonly isOver: boolean
      /** What the other one does, after "which": `runs this step`. */
      readonly work: string
      /** Whom it waits for; absent when that cannot be said. */
      readonly process?: WorkingProcess
    }
  /** Output of a step's command. `stream` is 1 for stdout, 2 for stderr. */
  | { readonly type: 'log'; readonly id: string; readonly atMs: number; readonly stream: 1 | 2; readonly data: Uint8Array }
  /** A part of a step that takes time: a transfer, an unpack, an export. `current` and `total` are bytes. */
  | {
      readonly type: 'progress'
      readonly id: string
      readonly item: string
      readonly current: number
      readonly total?: number
      readonly done: boolean
      readonly atMs: number
    }
  | { readonly type: 'warning'; readonly diagnostic: Diagnostic }
  | { readonly type: 'debug'; readonly area: string; readonly message: string }

/** A context that never stops and reports nowhere, for tests and one-shot calls. */
export function quietContext(): Context {
  return { signal: new AbortController().signal, emit: () => undefined }
}
