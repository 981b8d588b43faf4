/**
 * The one place that limits how many steps run at once.
 *
 * Signals are not passed to the queue: it would then reject, and be idle, while the body still runs, and mounts would be
 * released under it (style.md, section 12). A body looks at its signal itself; the queue waits for it.
 */

/** Runs work with a limit. */
export interface Schedule {
  /** Runs `work` when there is room, unless `signal` was aborted until then. */
  run<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result>
}

/** A schedule with room for `jobs` steps; p-queue is loaded here, when the first step has to run. */
export async function openSchedule(jobs: number): Promise<Schedule> {
  const { default: PQueue } = await import('p-queue')
  const queue = new PQueue({ concurrency: Math.max(1, jobs) })
  return {
    run: <Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> =>
      queue.add(async () => {
        signal.throwIfAborted()
        return work()
      }),
  }
}
