/** The functions that `io/pool.ts` runs in worker threads: each takes and returns plain data. */
import * as mountChunks from './cache/mount-chunks.js'
import * as contextHash from './context/hash.js'
import * as fileDigests from './exporter/file-digests.js'
import * as exporterRootfs from './exporter/rootfs.js'
import { asTask } from './io/task.js'
import * as layerCompare from './layer/compare.js'
import * as compressTask from './layer/compress-task.js'
import * as layerTasks from './layer/tasks.js'
import * as archive from './ops/archive.js'
import * as copyDigest from './ops/copy-digest.js'
import * as copyWrite from './ops/copy-write.js'

export const hashEntries = asTask(contextHash.hashEntries)
export const exportDirectoryTask = asTask(exporterRootfs.exportDirectoryTask)
export const fileDigestsTask = asTask(fileDigests.fileDigestsTask)
export const applyLayerTask = asTask(layerTasks.applyLayerTask)
export const compareLayersTask = asTask(layerCompare.compareLayersTask)
export const compressLayerTask = asTask(compressTask.compressLayerTask)
export const digestLayerTask = asTask(layerTasks.digestLayerTask)
export const digestPlannedTask = asTask(copyDigest.digestPlannedTask)
export const squashLayerTask = asTask(layerTasks.squashLayerTask)
export const stageArchive = asTask(archive.stageArchive)
export const writeFiles = asTask(copyWrite.writeFiles)
export const chunkMountTask = asTask(mountChunks.chunkMountTask)
