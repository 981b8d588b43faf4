/** The functions that `io/pool.ts` runs in worker threads: each takes and returns plain data. */
export {}
