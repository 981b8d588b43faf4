/**
 * Peers that live in a root filesystem of their own (made by `.ci/bench-peers`): a process holds a private mount
 * namespace whose root that is, with this machine's /proc, /sys, /dev and the benchmark's directory in it. Every mount is
 * gone when the last process in there ends.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { stopProcess, waitFor } from './servers.js'

/** Where peers are. */
export interface PeerRoot extends AsyncDisposable {
  /** Put before a command to run it there; empty where that is this machine's own root. 1–2 ms are its cost. */
  readonly enter: string
  /** True when crun can be used: not where cgroup v1 is beside v2, which only the private namespace can hide. */
  readonly hasCrun: boolean
}

/** This machine's own root. */
export const ownRoot: PeerRoot = { enter: '', hasCrun: false, [Symbol.asyncDispose]: async () => undefined }

// pivot_root, not chroot: dockerd remounts its /, which must be a mount.
const script = `set -e
mount --bind "$1" "$1"
for d in proc sys dev; do mount --rbind "/$d" "$1/$d"; done
if mountpoint -q "$1/sys/fs/cgroup/unified"; then umount "$1/sys/fs/cgroup/unified"; fi
for d in run tmp; do mount -t tmpfs tmpfs "$1/$d"; done
mkdir -p "$1$2"
mount --rbind "$2" "$1$2"
cd "$1"
pivot_root . mnt
umount -l /mnt
touch "$2/peers-ready"
exec sleep infinity`

/** Opens the root filesystem in `directory`, with `scratch` in it under the same path. */
export async function openPeerRoot(directory: string, scratch: string): Promise<PeerRoot> {
  if (!existsSync(join(directory, 'usr/bin'))) throw new Error(`${directory} is no root filesystem: .ci/bench-peers makes one`)
  const argv = ['--pdeathsig', 'KILL', 'unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh', directory, scratch]
  const child = spawn('setpriv', argv, { stdio: ['ignore', 'ignore', 'inherit'] })
  await waitFor(`the root filesystem ${directory}`, () => existsSync(join(scratch, 'peers-ready')))
  const enter = `nsenter -m -t ${child.pid} `
  const hasCrun = spawnSync('sh', ['-c', `${enter}crun --version`]).status === 0
  return { enter, hasCrun, [Symbol.asyncDispose]: () => stopProcess(child) }
}
