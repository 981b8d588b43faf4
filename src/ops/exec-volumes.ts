/** Volumes of a build (`--volume`) as mounts of a sandbox. */
import { lchownSync, lstatSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { SandboxMount, SandboxUser } from '../../sandbox/plan.js'
import { SandboxError } from '../core/errors.js'
import { decodePath, fsPath } from '../core/path-bytes.js'
import type { ExecMount } from '../graph/op.js'

/** The mount of the volume that is at `hostPath`. */
export function volumeMount(
  { target, access, chown }: Extract<ExecMount, { kind: 'volume' }>,
  hostPath: string,
  user: SandboxUser,
): SandboxMount {
  const found = statSync(hostPath, { throwIfNoEntry: false })
  if (found === undefined) throw new SandboxError('SANDBOX_MOUNT_FAILED', `the volume ${hostPath} does not exist`)
  if (chown) giveTo(user, hostPath)
  if (access !== 'overlay') return { kind: 'bind', hostPath, target, readonly: access === 'ro' }
  if (found.isDirectory()) return { kind: 'overlay', hostLowers: [hostPath], subpath: '/', target, readonly: false }
  throw new SandboxError('SANDBOX_MOUNT_FAILED', `the volume ${hostPath} is a file: only directories can be mounted with O`)
}

/** Owner and group of everything below `path`; links are changed themselves, never followed. */
function giveTo(user: SandboxUser, path: string): void {
  const found = lstatSync(fsPath(path))
  if (found.uid !== user.uid || found.gid !== user.gid) lchownSync(fsPath(path), user.uid, user.gid)
  if (!found.isDirectory()) return
  for (const name of readdirSync(fsPath(path), 'buffer')) giveTo(user, join(path, decodePath(name)))
}
