/** A wait without the event loop. */

/** Blocks this thread: only for what takes a moment. */
export function sleepSync(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
