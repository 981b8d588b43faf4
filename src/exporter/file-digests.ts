/** The sha256 of every regular file of a root filesystem: the subjects of statements about a `local` or `tar` output. */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { fsPath } from '../core/path-bytes.js'
import { layerStack } from '../layer/stack.js'
import { walkView } from './rootfs.js'

/** For `fileDigestsTask`. */
export interface FileDigestsTask {
  /** Directories of the layers, bottom first. */
  readonly hostLowers: readonly string[]
}

/** A file by its path in the output. */
export interface FileDigest {
  readonly path: string
  /** Hex. */
  readonly sha256: string
}

/** Reads all files; synchronous: for a worker. */
export function fileDigestsTask({ hostLowers }: FileDigestsTask): FileDigest[] {
  const buffer = Buffer.allocUnsafe(1 << 20)
  const digests: FileDigest[] = []
  for (const { path, entry } of walkView(layerStack(hostLowers))) {
    if (entry.type === 'file') digests.push({ path, sha256: hashFile(entry.hostPath, buffer) })
  }
  return digests
}

function hashFile(path: string, buffer: Buffer): string {
  const hash = createHash('sha256')
  const fd = openSync(fsPath(path), 'r')
  try {
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer)) hash.update(buffer.subarray(0, read))
  } finally {
    closeSync(fd)
  }
  return hash.digest('hex')
}
