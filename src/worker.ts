/** The functions that `io/pool.ts` runs in worker threads: each takes and returns plain data. */
export { applyLayerTask, compressLayerTask, digestLayerTask } from './layer/tasks.js'
