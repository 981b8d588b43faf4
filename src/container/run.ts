/**
 * `runContainer`: runs one container of an image to its end, in the foreground.
 *
 * The container's changes go to a directory that is removed when it ends. Only what the container needs is read: the
 * image's config, /etc/passwd and /etc/group, and nothing else of its files.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ExitStatus, Sandbox, SandboxIo, SandboxMount, SandboxPlan } from '../../sandbox/plan.js'
import type { Context } from '../core/context.js'
import type { DiffID } from '../core/digest.js'
import { BuildError, SandboxError, StoreError, systemCode } from '../core/errors.js'
import type { ImageConfig } from '../core/image.js'
import { fsPath } from '../core/path-bytes.js'
import { homeOf, isResolvedUser, parseGroup, parsePasswd, resolveUser, withHome } from '../core/users.js'
import type { FileView } from '../core/view.js'
import { makeDirectories } from '../io/fs.js'
import { Scope } from '../io/scope.js'
import { layerFiles, uncovered } from '../store/layer-files.js'
import type { Store, StoredImage } from '../store/types.js'
import type { ContainerMount, RunOptions } from './options.js'
import { type ContainerProcess, containerProcess } from './process.js'

/** What `runContainer` reaches the world through. */
export interface RunPorts {
  readonly store: Store
  readonly sandbox: Sandbox
  /** Fetches and unpacks layers that are only known as blobs. */
  readonly bringHere: (diffIds: readonly DiffID[], ctx: Context) => Promise<void>
  /** The files of a stack of layer directories, bottom first. */
  readonly viewLayers: (hostLowers: readonly string[]) => FileView
  /** Where names of running containers are held. */
  readonly namesDirectory: string
  /** Is given the way to send signals to the container. */
  readonly onStarted?: SandboxIo['onStarted']
  /** Take what a container writes that has a terminal and not the caller's stdin. */
  readonly stdout: (data: Uint8Array) => void
  readonly stderr: (data: Uint8Array) => void
}

/**
 * Runs a container and returns how its first process ended.
 *
 * @throws SandboxError SANDBOX_COMMAND_NOT_FOUND (docker's 127), SANDBOX_COMMAND_NOT_EXECUTABLE (126), SANDBOX_UNKNOWN_USER;
 * BuildError CONTAINER_NO_COMMAND, CONTAINER_NAME_IN_USE, CONTAINER_BAD_VOLUME
 */
export async function runContainer(image: StoredImage, options: RunOptions, ports: RunPorts, ctx: Context): Promise<ExitStatus> {
  await using scope = new Scope()
  const { store, sandbox } = ports
  sandbox.warmUp(options.network)
  if (options.name !== undefined) {
    const { holdName } = await import('./names.js')
    scope.use(holdName(ports.namesDirectory, options.name))
  }
  const config = await readImageConfig(store, image)
  const hostname = options.hostname ?? (options.network === 'host' ? hostName() : randomBytes(6).toString('hex'))
  const process = containerProcess(config.config ?? {}, options, hostname)
  const hostLowers = await bringLowers(image, ports, ctx)
  const files = ports.viewLayers(hostLowers)
  const { user, home } = findUser(process, files)
  const active = scope.use(await store.snapshots.prepare())
  const mounts = await planMounts(config, options, { scope, files, hostLowers, store })
  const plan: SandboxPlan = {
    argv: process.argv,
    env: withHome(process.env, home),
    cwd: process.cwd,
    user,
    hostname,
    rootfs: { hostLowers, hostUpper: active.upper, hostWork: active.work },
    mounts,
    network: options.network,
    extraHosts: options.extraHosts,
    security: options.privileged ? 'insecure' : 'sandbox',
    readonlyRootfs: options.readonlyRootfs,
    terminal: options.terminal,
    ...(options.shmSizeBytes === undefined ? {} : { shmSizeBytes: options.shmSizeBytes }),
    limits: options.limits,
    ...options.confinement,
  }
  return await sandbox.run(plan, streamsOf(options, ports), ctx.signal)
}

/**
 * The container gets the caller's own descriptors, so that nothing is between them, unless it has a terminal and not the
 * caller's stdin: runtimes look for a terminal among all three and would take the settings of the caller's over.
 */
function streamsOf(options: RunOptions, { onStarted, stdout, stderr }: RunPorts): SandboxIo {
  if (options.terminal && !options.interactive) return { stdin: 'ignore', onStdout: stdout, onStderr: stderr, onStarted }
  return { stdin: options.interactive ? 'inherit' : 'ignore', onStdout: 'inherit', onStderr: 'inherit', onStarted }
}

async function readImageConfig(store: Store, image: StoredImage): Promise<ImageConfig> {
  return JSON.parse((await store.blobs.read({ digest: image.id })).toString('utf8')) as ImageConfig
}

function hostName(): string {
  return readFileSync('/proc/sys/kernel/hostname', 'utf8').trim()
}

/** The directories of the image's layers, bottom first. */
async function bringLowers(image: StoredImage, ports: RunPorts, ctx: Context): Promise<string[]> {
  const { store } = ports
  const filesOf = (diffId: DiffID): readonly string[] | undefined => {
    const record = store.layers.find(diffId)
    return record?.snapshot !== undefined && store.snapshots.has(record.snapshot) ? layerFiles(store, record) : undefined
  }
  if (image.diffIds.some((diffId) => filesOf(diffId) === undefined)) await ports.bringHere(image.diffIds, ctx)
  return uncovered(
    image.diffIds.flatMap((diffId) => {
      const files = filesOf(diffId)
      if (files !== undefined) return files
      throw new StoreError('STORE_SNAPSHOT_MISSING', `the files of layer ${diffId} are not in the store`, {
        hint: 'pull or build the image again',
      })
    }),
  )
}

/** The ids and the home directory of the user, by the image's own files. */
function findUser(process: ContainerProcess, files: FileView): { readonly user: SandboxPlan['user']; readonly home: string } {
  const passwd = parsePasswd(readText(files, '/etc/passwd'))
  const found = resolveUser(process.user, passwd, parseGroup(readText(files, '/etc/group')))
  if (!isResolvedUser(found)) {
    throw new SandboxError('SANDBOX_UNKNOWN_USER', found.problem, {
      hint: 'give a number with --user, or add the user to the image',
    })
  }
  return { user: found, home: homeOf(found.uid, passwd) }
}

function readText(files: FileView, path: string): string {
  const etc = files.lstat('/etc')
  const entry = etc?.type === 'directory' ? files.lstat(path) : undefined
  return entry?.type === 'file' ? readFileSync(fsPath(entry.hostPath), 'utf8') : ''
}

interface MountSurroundings {
  readonly scope: Scope
  readonly files: FileView
  readonly hostLowers: readonly string[]
  readonly store: Store
}

/**
 * The mounts asked for, then the image's VOLUMEs: where the root filesystem is read-only, and those that the image has no
 * directory for (the others are just directories of it).
 */
async function planMounts(config: ImageConfig, options: RunOptions, around: MountSurroundings): Promise<SandboxMount[]> {
  const targets = new Set(options.mounts.map((mount) => mount.target))
  const declared = Object.keys(config.config?.Volumes ?? {}).filter((path) => !targets.has(path))
  const { directoryAt } = declared.length === 0 ? {} : await import('./volumes.js')
  const volumes = declared.filter((path) => options.readonlyRootfs || directoryAt?.(around.files, path) === undefined)
  const all = [
    ...options.mounts,
    ...volumes.map((target): ContainerMount => ({ kind: 'volume', name: undefined, target, readonly: false })),
  ]
  const planned: SandboxMount[] = []
  for (const mount of all) planned.push(await planMount(mount, around))
  return planned
}

async function planMount(mount: ContainerMount, around: MountSurroundings): Promise<SandboxMount> {
  const { target } = mount
  if (mount.kind === 'tmpfs') return mount
  if (mount.kind === 'bind') {
    checkSource(mount)
    return { kind: 'bind', hostPath: mount.hostPath, target, readonly: mount.readonly }
  }
  const { directoryAt, openVolume } = await import('./volumes.js')
  if (mount.name !== undefined) {
    const hostPath = openVolume(around.store.root, mount.name, target, around.files)
    return { kind: 'bind', hostPath, target, readonly: mount.readonly }
  }
  if (directoryAt(around.files, target) !== undefined) {
    return { kind: 'overlay', hostLowers: around.hostLowers, subpath: target, target, readonly: mount.readonly }
  }
  const scratch = around.scope.use(await around.store.snapshots.prepare())
  return { kind: 'bind', hostPath: join(scratch.upper), target, readonly: mount.readonly }
}

function checkSource(mount: Extract<ContainerMount, { kind: 'bind' }>): void {
  try {
    statSync(mount.hostPath)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' || !mount.create) throw badVolume(mount.hostPath, error)
    makeSource(mount.hostPath)
  }
}

function makeSource(path: string): void {
  try {
    makeDirectories(path)
  } catch (error) {
    throw badVolume(path, error)
  }
}

function badVolume(path: string, cause: unknown): BuildError {
  return new BuildError(
    'CONTAINER_BAD_VOLUME',
    `the source of the mount, ${path}, cannot be used (${systemCode(cause) ?? 'error'})`,
    {
      cause,
    },
  )
}
