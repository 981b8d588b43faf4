/** The other tools that must accept what mille makes, each with a store of its own in a temporary directory. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { mustRun, type RunOptions } from './cli.js'

/** Flags with which buildah and podman keep everything below `directory`. */
export function containersStore(directory: string): string[] {
  return ['--root', join(directory, 'containers/root'), '--runroot', join(directory, 'containers/run')]
}

/** podman flags that work for a root that cannot raise limits, on hosts with cgroup v1 beside v2. */
export const podmanRunFlags = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024', '--network', 'host']

/** Runs buildah on a store below `directory`. */
export function buildah(directory: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return mustRun('buildah', [...containersStore(directory), ...args], options)
}

/** Runs podman on a store below `directory`. */
export function podman(directory: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return mustRun('podman', [...containersStore(directory), '--runtime', 'runc', '--cgroup-manager', 'cgroupfs', ...args], options)
}

/** Unpacks an image of an OCI layout with umoci and returns the path of its root filesystem. */
export async function unpackWithUmoci(layout: string, tag: string, into: string): Promise<string> {
  mkdirSync(into, { recursive: true })
  const bundle = join(into, 'bundle')
  await mustRun('umoci', ['unpack', '--image', `${layout}:${tag}`, bundle])
  return join(bundle, 'rootfs')
}

/** What `skopeo inspect --config` says of an image. */
export async function inspectConfig(image: string): Promise<Record<string, unknown>> {
  return JSON.parse(await mustRun('skopeo', ['inspect', '--config', image])) as Record<string, unknown>
}
