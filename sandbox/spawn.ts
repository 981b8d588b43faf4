/**
 * Starts processes. The only file in the tool that does.
 *
 * A process is handed nothing by accident: its argv, its environment and its three streams are all that it gets.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { awaitedLater } from '../src/core/awaited.js'

/** Where one output stream goes. */
export type OutputTarget = 'ignore' | 'inherit' | ((data: Uint8Array) => void)

/** How a process is started. */
export interface ProcessOptions {
  readonly env: Readonly<Record<string, string>>
  /** A number is an open file descriptor. */
  readonly stdin: 'ignore' | 'inherit' | 'pipe' | number
  readonly stdout: OutputTarget
  readonly stderr: OutputTarget
  /** A session of its own: signals from the terminal do not reach it. */
  readonly ownSession: boolean
}

/** How a process ended: one of the two is set. */
export interface ProcessEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A started process. */
export interface RunningProcess {
  /** Undefined when it could not be started; `ended` then rejects. */
  readonly pid: number | undefined
  /** Settles when the process has ended and its streams have been read; rejects when it could not be started. */
  readonly ended: Promise<ProcessEnd>
  /** Sends a signal; nothing happens when it has ended. */
  kill(signal: NodeJS.Signals): void
  /** Writes to its stdin; an error of a process that has gone is not one. */
  write(text: string): void
  /** Closes its stdin. */
  closeStdin(): void
  /** Lets Node exit while this process still runs; `ref` takes that back. */
  unref(): void
  ref(): void
}

/** Starts `argv[0]` (a path, or a name looked up in the PATH of `env`). */
export function startProcess(argv: readonly string[], options: ProcessOptions): RunningProcess {
  const [file = '', ...args] = argv
  const child = spawn(file, args, {
    env: options.env,
    stdio: [options.stdin, streamOf(options.stdout), streamOf(options.stderr)],
    detached: options.ownSession,
  })
  if (typeof options.stdout === 'function') child.stdout?.on('data', options.stdout)
  if (typeof options.stderr === 'function') child.stderr?.on('data', options.stderr)
  child.stdin?.on('error', ignoreClosedPipe)
  return {
    pid: child.pid,
    ended: endOf(child),
    kill: (signal) => {
      child.kill(signal)
    },
    write: (text) => {
      child.stdin?.write(text)
    },
    closeStdin: () => {
      child.stdin?.end()
    },
    unref: () => {
      child.unref()
      if (child.stdin instanceof Socket) child.stdin.unref()
    },
    ref: () => {
      child.ref()
      if (child.stdin instanceof Socket) child.stdin.ref()
    },
  }
}

/** Runs a program to its end and returns all it wrote (at most a few kilobytes are expected). */
export async function captureProcess(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<ProcessEnd & { readonly stdout: string; readonly stderr: string }> {
  const out: Uint8Array[] = []
  const err: Uint8Array[] = []
  const child = startProcess(argv, {
    env,
    stdin: 'ignore',
    stdout: (data) => out.push(data),
    stderr: (data) => err.push(data),
    ownSession: true,
  })
  const end = await child.ended
  return { ...end, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }
}

function streamOf(target: OutputTarget): 'ignore' | 'inherit' | 'pipe' {
  return typeof target === 'function' ? 'pipe' : target
}

function endOf(child: ChildProcess): Promise<ProcessEnd> {
  // Nobody may be waiting yet when a helper fails to start.
  return awaitedLater(
    new Promise<ProcessEnd>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => resolve({ code, signal }))
    }),
  )
}

function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') throw error
}
