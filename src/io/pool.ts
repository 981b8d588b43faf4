/**
 * Worker threads for what would block the scheduler: hashing, copying, packing and unpacking of trees.
 *
 * A task is an exported function of `src/worker.ts`, called by name with plain data (its errors: task.ts). Threads start with the first task
 * and end when idle, so a command that needs none pays nothing.
 */
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Tinypool } from 'tinypool'
import { type TaskOutcome, unpackOutcome } from './task.js'

/** Runs tasks in threads. */
export interface WorkerPool extends AsyncDisposable {
  /** Calls the function `name` of `src/worker.ts` with `argument` in a thread; an abort ends the thread. */
  run<Result>(name: string, argument: unknown, signal: AbortSignal): Promise<Result>
  readonly size: number
}

/** Makes the pool; no thread is started yet. */
export function createWorkerPool(size = availableParallelism()): WorkerPool {
  let pool: Promise<Tinypool> | undefined
  return {
    size,
    async run<Result>(name: string, argument: unknown, signal: AbortSignal): Promise<Result> {
      signal.throwIfAborted()
      pool ??= openPool(size)
      return unpackOutcome((await (await pool).run(argument, { name, signal })) as TaskOutcome<Result>)
    },
    async [Symbol.asyncDispose]() {
      await (await pool)?.destroy()
    },
  }
}

async function openPool(size: number): Promise<Tinypool> {
  const { Tinypool } = await import('tinypool')
  return new Tinypool({ filename: workerPath(), runtime: 'worker_threads', minThreads: 0, maxThreads: size, idleTimeout: 10_000 })
}

/** In the bundle the worker lies beside this code; in dist/src one folder up. */
function workerPath(): string {
  const beside = fileURLToPath(new URL('./worker.js', import.meta.url))
  return existsSync(beside) ? beside : fileURLToPath(new URL('../worker.js', import.meta.url))
}
