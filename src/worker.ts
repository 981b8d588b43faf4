/** The functions that `io/pool.ts` runs in worker threads: each takes and returns plain data. */
export { hashEntries } from './context/hash.js'
export { exportDirectoryTask } from './exporter/rootfs.js'
export { applyLayerTask, compressLayerTask, digestLayerTask } from './layer/tasks.js'
export { stageArchive } from './ops/archive.js'
export { writeFiles } from './ops/copy-write.js'
