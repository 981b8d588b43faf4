/**
 * Runs a small program to its end and collects what it prints: credential helpers and the like.
 *
 * Not for the steps of a build (that is `sandbox/`): no shell, output held in memory and limited.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { systemCode } from '../core/errors.js'

/** How a program ended. `exitCode` is 128 + n when signal n killed it. */
export interface ProcessResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** What `runProcess` gives to the program, and when it loses patience. */
export interface ProcessOptions {
  /** Written to its standard input, which is then closed. */
  readonly input: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** Descriptors that the program gets as 3, 4, …: it holds their locks as long as it lives. None. */
  readonly inherit?: readonly number[]
  /** It starts programs of its own, which must end with it; it then has no terminal to ask anything. False. */
  readonly ownSession?: boolean
}

const outputLimitBytes = 1024 * 1024

/** The numbers of the signals that end a program from outside; others count as 0. */
const signalNumbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 }

/**
 * Runs `file` (looked up in the `PATH` of `env`) with `args`. Rejects with the system error (`ENOENT`) when it cannot be started, with the
 * signal's reason when stopped, with an `Error` when it takes or prints too much.
 */
export async function runProcess(file: string, args: readonly string[], options: ProcessOptions): Promise<ProcessResult> {
  // Here, not above: a push that asks no helper saves 2 ms.
  const { spawn } = await import('node:child_process')
  options.signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const detached = options.ownSession ?? false
    const stdio: ('pipe' | number)[] = ['pipe', 'pipe', 'pipe', ...(options.inherit ?? [])]
    const child = spawn(file, args, { env: options.env as NodeJS.ProcessEnv, stdio, detached }) as ChildProcessWithoutNullStreams
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[], size: 0 }
    let failure: unknown
    const stop = (reason: unknown): void => {
      failure ??= reason
      if (!detached || child.pid === undefined) child.kill('SIGKILL')
      else killGroup(child.pid)
    }
    const onAbort = (): void => stop(options.signal.reason)
    options.signal.addEventListener('abort', onAbort, { once: true })
    const timer = setTimeout(
      () => stop(new Error(`${file} was not done within ${options.timeoutMs / 1000} s`)),
      options.timeoutMs,
    )
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        output.size += chunk.length
        if (output.size > outputLimitBytes) stop(new Error(`${file} printed more than ${outputLimitBytes} bytes`))
        else output[name].push(chunk)
      })
    }
    // A program that ends without reading its input is no failure of ours: its exit code tells.
    child.stdin.on('error', (error) => {
      if (!notRead.has(systemCode(error) ?? '')) stop(error)
    })
    child.stdin.end(options.input)
    child.on('error', (error) => {
      failure ??= error
      if (child.pid === undefined) finish(null, null)
    })
    child.on('close', finish)
    function finish(code: number | null, signal: NodeJS.Signals | null): void {
      clearTimeout(timer)
      options.signal.removeEventListener('abort', onAbort)
      if (failure !== undefined) reject(failure)
      else
        resolve({
          exitCode: code ?? 128 + (signalNumbers[signal ?? ''] ?? 0),
          stdout: Buffer.concat(output.stdout).toString(),
          stderr: Buffer.concat(output.stderr).toString(),
        })
    }
  })
}

const notRead: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET', 'ERR_STREAM_DESTROYED'])

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error
  }
}
