/** Which cgroups this host has, which limits they can hold, and the parents that `--cgroup-parent` names. */
import { existsSync, readdirSync, rmdirSync } from 'node:fs'
import { join, posix } from 'node:path'
import { systemCode } from '../src/core/errors.js'
import { readTextIfExists } from '../src/io/fs.js'
import type { ResourceLimits } from './plan.js'

const root = '/sys/fs/cgroup'

/** 2 when the unified hierarchy is all there is, else 1. */
export function cgroupVersion(): 1 | 2 {
  return existsSync(join(root, 'cgroup.controllers')) ? 2 : 1
}

/** The limits that can be set here, and in words those that cannot. */
export interface UsableLimits {
  readonly limits: ResourceLimits
  readonly dropped: readonly string[]
}

/** What controller a limit needs, and what users call it. */
const controllers: Readonly<Record<keyof ResourceLimits, readonly [controller: Controller, name: string]>> = {
  memoryBytes: ['memory', 'memory'],
  memorySwapBytes: ['swap', 'memory-swap'],
  cpus: ['cpu', 'cpus'],
  cpuShares: ['cpu', 'cpu-shares'],
  cpuQuotaUs: ['cpu', 'cpu-quota'],
  cpuPeriodUs: ['cpu', 'cpu-period'],
  cpusetCpus: ['cpuset', 'cpuset-cpus'],
  cpusetMems: ['cpuset', 'cpuset-mems'],
  pids: ['pids', 'pids-limit'],
}

type Controller = 'memory' | 'swap' | 'cpu' | 'cpuset' | 'pids'

/** Takes out the limits that this host has no controller for: a runtime would refuse the whole container. */
export function usableLimits(limits: ResourceLimits, has: (controller: Controller) => boolean): UsableLimits {
  const kept: Record<string, unknown> = {}
  const dropped: string[] = []
  for (const [name, value] of Object.entries(limits)) {
    const [controller, word] = controllers[name as keyof ResourceLimits]
    if (value === undefined) continue
    if (has(controller)) kept[name] = value
    else dropped.push(word)
  }
  return { limits: kept as ResourceLimits, dropped }
}

/** Asks the hierarchy of this host for its controllers. */
export function hostHas(version: 1 | 2): (controller: Controller) => boolean {
  if (version === 1) {
    const isThere = (path: string): boolean => existsSync(join(root, path))
    return (controller) => isThere(controller === 'swap' ? 'memory/memory.memsw.limit_in_bytes' : controller)
  }
  const names = new Set((readTextIfExists(join(root, 'cgroup.controllers')) ?? '').trim().split(' '))
  return (controller) => (controller === 'swap' ? names.has('memory') && existsSync('/proc/swaps') : names.has(controller))
}

/**
 * Looks which directories of a cgroup parent are not there yet.
 *
 * @returns removes those again that the runtime made, as far as nobody is in them
 */
export function noteCgroupParent(parent: string): () => void {
  const hierarchies = cgroupVersion() === 2 ? [root] : readdirSync(root).map((name) => join(root, name))
  const levels = posix.join('/', parent).split('/').slice(1)
  const missing = hierarchies.flatMap((hierarchy) =>
    levels.map((_, i) => join(hierarchy, ...levels.slice(0, i + 1))).filter((path) => !existsSync(path)),
  )
  return () => {
    for (const path of missing.sort((a, b) => b.length - a.length)) removeCgroup(path)
  }
}

function removeCgroup(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    // Not made after all, or in use by another process now; EROFS, EPERM: then the runtime made none either.
    if (!['ENOENT', 'EBUSY', 'ENOTEMPTY', 'EROFS', 'EPERM', 'EACCES', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw error
  }
}
