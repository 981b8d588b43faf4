/** Reading cgroups: which version this host has, and whether the out-of-memory killer was at work in one. */
import { closeSync, existsSync, openSync, readSync } from 'node:fs'
import { systemCode } from '../src/core/errors.js'

/** 2 when the unified hierarchy is all there is, else 1. */
export function cgroupVersion(): 1 | 2 {
  return existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : 1
}

/**
 * Watches a container's cgroup for kills by the out-of-memory killer.
 *
 * The file is opened while the container runs and read when it has ended: the runtime removes the cgroup with it.
 *
 * @returns a function that says whether there was one and closes the file; undefined when there is no such cgroup (yet)
 */
export function outOfMemoryKills(cgroupsPath: string, version: 1 | 2): (() => boolean) | undefined {
  const path =
    version === 2 ? `/sys/fs/cgroup${cgroupsPath}/memory.events` : `/sys/fs/cgroup/memory${cgroupsPath}/memory.oom_control`
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
  return () => {
    try {
      const buffer = Buffer.alloc(4096)
      const text = buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, 0))
      return Number(/^oom_kill (\d+)/m.exec(text)?.[1] ?? 0) > 0
    } catch (error) {
      // The cgroup is gone: the kernel has nothing left to say.
      if (systemCode(error) === 'ENODEV') return false
      throw error
    } finally {
      closeSync(fd)
    }
  }
}
