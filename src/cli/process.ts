/** The one place that touches `process`: streams, signals, environment. Makes the `Shell` that commands get. */
import { fstatSync, writeSync } from 'node:fs'
import type { BuildEvent } from '../core/context.js'
import type { Diagnostic } from '../core/diagnostic.js'
import { BuildError, CancelledError, systemCode, UsageError } from '../core/errors.js'
import { renderDiagnostic, renderError } from '../core/render.js'
import { sleepSync } from '../io/sleep.js'
import { exitCodes } from './exit.js'
import type { GlobalOptions, Output, Shell } from './shell.js'

/** What the signals of the process have asked for. */
export interface Interrupts {
  readonly signal: AbortSignal
  /** The exit code that the first signal calls for; undefined while none came. */
  readonly exitCode: () => number | undefined
  /** Stops the work as a signal does. */
  readonly stop: (exitCode: number) => void
  /** A stream whose errors are looked for when the command has ended. */
  readonly watch: (stream: { readonly errored: Error | null }) => void
  /** Why results could not be written; undefined when all were, or when nobody wanted to read them. */
  readonly unwritten: () => BuildError | undefined
  /** From now on signals go to `handler` and stop nothing. */
  readonly take: (handler: (signal: NodeJS.Signals) => void) => void
}

/** Ctrl-C and SIGTERM cancel the work; a second one ends the process at once. SIGHUP is the end of the terminal. */
export function listenForSignals(): Interrupts {
  const controller = new AbortController()
  let code: number | undefined
  let taker: ((signal: NodeJS.Signals) => void) | undefined
  const stop = (exitCode: number): void => {
    code ??= exitCode
    controller.abort(new CancelledError())
  }
  const take: Interrupts['take'] = (handler) => {
    taker = handler
  }
  const signals = [
    ['SIGINT', exitCodes.cancelled],
    ['SIGTERM', exitCodes.terminated],
    ['SIGHUP', 129],
  ] as const
  for (const [name, exitCode] of signals) {
    process.on(name, () => {
      if (code !== undefined) process.exit(exitCode)
      if (taker === undefined) stop(exitCode)
      else taker(name)
    })
  }
  // Nobody waits for it, so nobody can clean up after it: a bug, but for what the abort made of a forgotten promise.
  process.on('unhandledRejection', (error) => {
    if (code !== undefined && isCancellation(error)) return
    reportError(error, true)
    process.exit(exitCodes.bug)
  })
  const streams: { readonly errored: Error | null }[] = []
  const watch: Interrupts['watch'] = (stream) => void streams.push(stream)
  const unwritten = (): BuildError | undefined => streams.map(({ errored }) => outputError(errored)).find((error) => error)
  return { signal: controller.signal, exitCode: () => code, stop, watch, unwritten, take }
}

function outputError(error: Error | null): BuildError | undefined {
  if (error === null || systemCode(error) === 'EPIPE' || isCancellation(error)) return undefined
  const why = systemCode(error) === 'ENOSPC' ? 'no space is left' : error.message
  return new BuildError('OUTPUT_UNWRITABLE', `the output cannot be written: ${why}`, { cause: error })
}

/** True for what an aborted signal makes of the work. */
export function isCancellation(error: unknown): boolean {
  return error instanceof CancelledError || (error instanceof Error && error.name === 'AbortError')
}

/** The shell of this process. */
export function openShell(globals: GlobalOptions, interrupts: Interrupts): Shell {
  const stdoutStream = lazily(() => openStdoutStream(interrupts))
  const stdout = lazily(() => openStdout(interrupts))
  const stderr = lazily(() => openDirect(2, interrupts) ?? guarded(process.stderr, interrupts))
  const color = lazily(() => wantsColor(process.env, stderr()))
  const warn = (diagnostic: Diagnostic): void => {
    stderr().write(renderDiagnostic(diagnostic, { color: color() }))
  }
  const note = (text: string): void => {
    stderr().write(`${text}\n`)
  }
  return {
    env: process.env,
    get cwd() {
      return workingDirectory()
    },
    globals,
    signal: interrupts.signal,
    takeSignals: interrupts.take,
    get stdin() {
      return process.stdin
    },
    get stdoutStream() {
      return stdoutStream()
    },
    get stdout() {
      return stdout()
    },
    get stderr() {
      return stderr()
    },
    get color() {
      return color()
    },
    now: Date.now,
    print: (text) => stdout().write(text),
    note,
    warn,
    emit: (event) => printEvent(event, globals, process.uptime(), warn, note),
  }
}

function workingDirectory(): string {
  try {
    return process.cwd()
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    throw new UsageError('USAGE_BAD_ARGUMENT', 'the current directory was deleted', {
      cause: error,
      hint: 'change to another one',
    })
  }
}

function printEvent(
  event: BuildEvent,
  globals: GlobalOptions,
  elapsedSeconds: number,
  warn: (diagnostic: Diagnostic) => void,
  note: (text: string) => void,
): void {
  if (event.type === 'warning') warn(event.diagnostic)
  if (event.type !== 'debug') return
  if (globals.debug.has(event.area) || globals.debug.has('all')) {
    note(`debug: +${elapsedSeconds.toFixed(3)} ${event.area}: ${event.message}`)
  }
}

/** Prints what ended the command. */
export function reportError(error: unknown, verbose: boolean): void {
  const color = wantsColor(process.env, process.stderr)
  process.stderr.write(renderError(error, { color, verbose }))
}

/** Where results go; that one could not be written ends the program with an error. */
export function openStdout(interrupts: Interrupts): Output {
  return openDirect(1, interrupts) ?? openStdoutStream(interrupts)
}

function openStdoutStream(interrupts: Interrupts): NodeJS.WriteStream {
  interrupts.watch(process.stdout)
  return guarded(process.stdout, interrupts)
}

/** What is written to a stream that does not take it stops the work: a reader that went away (`mille … | head`) like a signal. */
function guarded(stream: NodeJS.WriteStream, interrupts: Interrupts): NodeJS.WriteStream {
  stream.on('error', (error) => {
    // A pipeline into the stream that was cancelled ends it with that.
    if (interrupts.exitCode() !== undefined && isCancellation(error)) return
    if (systemCode(error) === 'EPIPE') interrupts.stop(exitCodes.brokenPipe)
    else if (stream === process.stdout) {
      // Node forgets the error at once: this stream can be written to again.
      interrupts.watch({ errored: error })
      interrupts.stop(exitCodes.failed)
    }
  })
  return stream
}

/**
 * Output to a file, a pipe or `/dev/null` as it is, undefined for anything else: the stream that Node would make for it
 * takes 3 ms of a command's time. As with Node's, what was written is out when `write` returns.
 */
function openDirect(fd: 1 | 2, interrupts: Interrupts): Output | undefined {
  const stats = fstatSync(fd)
  if (!stats.isFile() && !stats.isFIFO() && !(stats.isCharacterDevice() && stats.rdev === nullDevice)) return undefined
  const state: { errored: Error | null } = { errored: null }
  if (fd === 1) interrupts.watch(state)
  return {
    isTTY: false,
    write(text) {
      if (state.errored !== null) return false
      try {
        writeWhole(fd, typeof text === 'string' ? Buffer.from(text) : text)
        return true
      } catch (error) {
        if (systemCode(error) === undefined) throw error
        state.errored = error as Error
        if (systemCode(error) === 'EPIPE') interrupts.stop(exitCodes.brokenPipe)
        else if (fd === 1) interrupts.stop(exitCodes.failed)
        return false
      }
    },
  }
}

function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at)
    } catch (error) {
      // Somebody else has made the pipe non-blocking, and its reader is slow.
      if (systemCode(error) !== 'EAGAIN') throw error
      sleepSync(1)
    }
  }
}

/** `/dev/null`: major 1, minor 3. */
const nullDevice = 0x103

/** NO_COLOR and FORCE_COLOR as their conventions say; otherwise colours on a terminal that is not `dumb`. */
function wantsColor(env: NodeJS.ProcessEnv, stream: Output): boolean {
  if (env.NO_COLOR) return false
  if (env.FORCE_COLOR && env.FORCE_COLOR !== '0') return true
  return stream.isTTY === true && env.TERM !== 'dumb'
}

function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
