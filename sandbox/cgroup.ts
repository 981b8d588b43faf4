/** Which cgroups this host has. */
import { existsSync } from 'node:fs'

/** 2 when the unified hierarchy is all there is, else 1. */
export function cgroupVersion(): 1 | 2 {
  return existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : 1
}
