/**
 * The plan's mounts as mounts of an OCI config: sources checked, mount points found or made, views and secrets prepared.
 *
 * Runs on the main thread, with the root filesystem mounted and nothing running in it.
 */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, type Stats, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { SandboxError, systemCode } from '../src/core/errors.js'
import type { Mount } from '../src/core/mount.js'
import { fsPath } from '../src/core/path-bytes.js'
import { mountOverlay, unmountNow } from './mounts.js'
import type { SandboxMount, SandboxPlan } from './plan.js'
import { hostsFile, systemDirectories } from './rootfs.js'
import { mountPointNames } from './state.js'
import { type MountPoints, resolveInside } from './stubs.js'

/** Where the pieces are. `defer` takes what must be undone when the container has ended. */
export interface MountContext {
  readonly bundle: string
  readonly points: MountPoints
  readonly resolvConf: string
  readonly defer: (release: () => void) => void
}

/** Something that is mounted already, for mounts below it. */
interface Placed {
  readonly target: string
  /** Where its files are on this machine; undefined for what exists only in the container (tmpfs, /proc). */
  readonly hostPath: string | undefined
  readonly readonly: boolean
}

/** Prepares all of the plan's mounts and mille's own files, in mount order. */
export function prepareMounts(plan: SandboxPlan, context: MountContext): Mount[] {
  const placed: Placed[] = []
  for (const path of systemDirectories) {
    placed.push({ target: context.points.ensure(path, 'directory'), hostPath: undefined, readonly: false })
  }
  const files: SandboxMount[] = ownFiles(plan, context).map(({ hostPath, target }) => ({
    kind: 'bind',
    hostPath,
    target,
    // They belong to the root filesystem for whoever asked for one that cannot be written to.
    readonly: plan.readonlyRootfs,
  }))
  return [...files, ...plan.mounts].map((mount) => {
    const source = sourceOf(mount, plan, context)
    const destination = placeTarget(mount.target, source.type, placed, context.points)
    placed.push({ target: destination, hostPath: source.hostPath, readonly: source.readonly })
    return { ...source.mount, destination }
  })
}

function ownFiles(plan: SandboxPlan, context: MountContext): { readonly hostPath: string; readonly target: string }[] {
  const file = (name: string, text: string): { readonly hostPath: string; readonly target: string } => {
    const hostPath = join(context.bundle, name)
    writeFileSync(hostPath, text, { mode: 0o644 })
    return { hostPath, target: `/etc/${name}` }
  }
  return [file('resolv.conf', context.resolvConf), file('hosts', hostsFile(plan)), file('hostname', `${plan.hostname}\n`)]
}

/** Makes the mount point in the root filesystem, or looks for it in the mount that covers its place. */
function placeTarget(target: string, type: 'file' | 'directory', placed: readonly Placed[], points: MountPoints): string {
  const cover = placed.findLast((earlier) => isBelow(target, earlier.target))
  if (cover === undefined) return points.ensure(target, type)
  if (cover.hostPath === undefined || cover.target === target) return target
  const inside = target.slice(cover.target === '/' ? 0 : cover.target.length)
  const resolved = resolveInside(cover.hostPath, inside)
  const exists = resolved.existing === resolved.path.split('/').length - 1
  if (!exists && cover.readonly) {
    throw new SandboxError(
      'SANDBOX_MOUNT_FAILED',
      `the mount target "${target}" does not exist in the read-only mount "${cover.target}"`,
      {
        hint: 'make it there, or mount the outer one read-write',
      },
    )
  }
  return target
}

function isBelow(path: string, parent: string): boolean {
  return path === parent || path.startsWith(parent === '/' ? '/' : `${parent}/`)
}

interface Source {
  readonly mount: Omit<Mount, 'destination'>
  readonly type: 'file' | 'directory'
  readonly hostPath: string | undefined
  readonly readonly: boolean
}

function sourceOf(mount: SandboxMount, plan: SandboxPlan, context: MountContext): Source {
  switch (mount.kind) {
    case 'bind':
      return bindOf(mount.hostPath, mount.readonly)
    case 'overlay':
      return viewOf(mount, plan, context)
    case 'tmpfs':
      return tmpfsOf(mount)
    case 'memory-file':
      return memoryFileOf(mount, context)
  }
}

function bindOf(hostPath: string, readonly: boolean): Source {
  const type = statSource(hostPath).isDirectory() ? 'directory' : 'file'
  const options = ['rbind', 'rprivate', readonly ? 'ro' : 'rw']
  return { mount: { type: 'bind', source: hostPath, options }, type, hostPath, readonly }
}

function statSource(hostPath: string): Stats {
  try {
    return statSync(fsPath(hostPath))
  } catch (error) {
    const code = systemCode(error)
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EACCES') throw error
    const what = code === 'EACCES' ? 'may not be read' : 'does not exist'
    throw new SandboxError('SANDBOX_MOUNT_FAILED', `the mount source ${hostPath} ${what}`, { cause: error })
  }
}

/** An overlay of its own, whose changes go to a scratch pair beside the root filesystem's work directory. */
function viewOf(mount: Extract<SandboxMount, { kind: 'overlay' }>, plan: SandboxPlan, context: MountContext): Source {
  const point = mkdtempSync(join(context.bundle, mountPointNames.views))
  const scratch = mkdtempSync(join(dirname(plan.rootfs.hostWork), 'view-'))
  context.defer(() => rmSync(scratch, { recursive: true, force: true }))
  const [upper, work, empty] = [join(scratch, 'upper'), join(scratch, 'work'), join(scratch, 'empty')]
  for (const path of [upper, work, empty]) mkdirSync(path, { mode: 0o755 })
  mountOverlay({ lowers: mount.hostLowers.length > 0 ? mount.hostLowers : [empty], upper, work }, point)
  context.defer(() => unmountNow(point))
  const inside = resolveInside(point, mount.subpath)
  const hostPath = inside.path === '/' ? point : point + inside.path
  return bindOf(hostPath, mount.readonly)
}

function tmpfsOf(mount: Extract<SandboxMount, { kind: 'tmpfs' }>): Source {
  const mode = (mount.mode ?? 0o1777).toString(8)
  const size = mount.sizeBytes === undefined ? [] : [`size=${mount.sizeBytes}`]
  const options = ['nosuid', 'nodev', `mode=${mode}`, ...size]
  return { mount: { type: 'tmpfs', source: 'tmpfs', options }, type: 'directory', hostPath: undefined, readonly: false }
}

function memoryFileOf(mount: Extract<SandboxMount, { kind: 'memory-file' }>, context: MountContext): Source {
  // The bundle is in memory as a whole: what is written here reaches no disk.
  const directory = mkdtempSync(join(context.bundle, 'memory-'))
  const hostPath = join(directory, 'content')
  writeFileSync(hostPath, mount.content, { mode: 0o600 })
  chownSync(hostPath, mount.uid, mount.gid)
  chmodSync(hostPath, mount.mode)
  const options = ['bind', 'rprivate', 'ro', 'nosuid', 'nodev', 'noexec']
  return { mount: { type: 'bind', source: hostPath, options }, type: 'file', hostPath, readonly: true }
}
