/** The mounts of an exec op as mounts of a sandbox. What must be let go of afterwards is given to a scope. */

import type { SandboxMount, SandboxUser } from '../../sandbox/plan.js'
import type { Context } from '../core/context.js'
import { SolveError } from '../core/errors.js'
import type { FileView } from '../core/view.js'
import type { CopyOp, ExecMount, ExecOp, Vertex } from '../graph/op.js'
import type { Scope } from '../io/scope.js'
import type { OpRunner, VertexResult } from '../solver/ports.js'
import type { Store } from '../store/types.js'
import type { CacheTravel } from './cache-mounts.js'
import { holdCaches } from './exec-cache-mounts.js'
import { copyOfSource } from './exec-mounts-copy.js'
import type { SshSource } from './ssh-agent.js'
import { inputOf, layerDirectories } from './stack.js'

/** The value of a secret, or undefined when there is none of that name. */
export type FindSecret = (id: string) => Promise<Uint8Array | undefined>

/** Where the volume for a target is on this machine; a new one starts with what `view` has there. */
export type OpenVolume = (target: string, view: FileView) => Promise<string>

/** What mounts are made from. */
export interface MountPorts {
  readonly store: Store
  readonly findSecret: FindSecret
  /** What answers for the ssh mounts with these ids. */
  readonly ssh: Readonly<Record<string, SshSource>>
  /** Where sockets are made: gone with this process, however it ends. */
  readonly privateDirectory: () => Promise<string>
  /** Directories of this machine that stand in for the cache mounts with these ids (`--cache-mount`). */
  readonly cacheDirectories: Readonly<Record<string, string>>
  /** Caches of other machines that may have cache mounts. */
  readonly cacheTravel: CacheTravel | undefined
  /** Makes layers of what is mounted from a context: filtered, and owned by root as for COPY. */
  readonly copyRunner: OpRunner<CopyOp>
  readonly openVolume: OpenVolume
}

/** Mounts in order, and the variables that secrets give. */
export interface PreparedMounts {
  readonly mounts: readonly SandboxMount[]
  readonly env: readonly string[]
  /** Values that must not be shown. */
  readonly secrets: readonly Uint8Array[]
}

/** docker's limit. */
const secretLimitBytes = 500 * 1024

/** What is mounted for: the op, its user and the files that it starts from. */
export interface Mounting {
  readonly op: ExecOp
  readonly user: SandboxUser
  readonly view: FileView
}

/** Prepares all mounts of an op. */
export async function prepareMounts(
  { op, user, view }: Mounting,
  inputs: readonly VertexResult[],
  vertex: Vertex,
  ports: MountPorts,
  scope: Scope,
  ctx: Context,
): Promise<PreparedMounts> {
  const filesOf = (input: number, source: string): Promise<readonly string[]> =>
    directoriesOf(inputOf(inputs, input), source, vertex, ports, ctx)
  const mounts: SandboxMount[] = []
  const env: string[] = []
  const secrets: Uint8Array[] = []
  const caches = await holdCaches(op, inputs, filesOf, vertex, ports, scope, ctx)
  for (const mount of op.mounts) {
    switch (mount.kind) {
      case 'bind':
        mounts.push(await bindMount(mount, filesOf))
        break
      case 'cache':
        mounts.push(caches.mountOf(mount))
        break
      case 'tmpfs':
        mounts.push(mount)
        break
      case 'volume': {
        const { volumeMount } = await import('./exec-volumes.js')
        mounts.push(volumeMount(mount, await ports.openVolume(mount.target, view), user))
        break
      }
      case 'secret': {
        const secret = await secretMount(mount, ports)
        mounts.push(...secret.mounts)
        env.push(...secret.env)
        secrets.push(...secret.secrets)
        break
      }
      case 'ssh':
        mounts.push(...(await sshMount(mount, ports, scope)))
    }
  }
  const agents = op.mounts.flatMap((mount) => (mount.kind === 'ssh' && ports.ssh[mount.id] !== undefined ? mount.target : []))
  const hasOwn = op.env.some((variable) => variable.startsWith('SSH_AUTH_SOCK='))
  if (agents[0] !== undefined && !hasOwn) env.push(`SSH_AUTH_SOCK=${agents[0]}`)
  return { mounts, env, secrets }
}

/** The directories, bottom first, in which the files of an input are; a context is copied to a layer before. */
async function directoriesOf(
  input: VertexResult,
  source: string,
  vertex: Vertex,
  ports: MountPorts,
  ctx: Context,
): Promise<readonly string[]> {
  if (input.kind === 'layers') return layerDirectories(ports.store, input.diffIds)
  const made = await ports.copyRunner.run(copyOfSource(source, false), [input], vertex, ctx)
  if (made.kind !== 'layer') throw new Error('a copy made no layer')
  return layerDirectories(ports.store, [made.diffId])
}

/** The directories with the files of an input, bottom first. */
export type FilesOf = (input: number, source: string) => Promise<readonly string[]>

async function bindMount(mount: Extract<ExecMount, { kind: 'bind' }>, filesOf: FilesOf): Promise<SandboxMount> {
  const { input, source, target, readonly } = mount
  return { kind: 'overlay', hostLowers: await filesOf(input, source), subpath: source, target, readonly }
}

/** A secret that is not required and not there gives neither a file nor a variable. */
async function secretMount(mount: Extract<ExecMount, { kind: 'secret' }>, ports: MountPorts): Promise<PreparedMounts> {
  const content = await ports.findSecret(mount.id)
  if (content === undefined) {
    if (!mount.required) return { mounts: [], env: [], secrets: [] }
    throw new SolveError('SOLVE_SECRET_MISSING', `secret "${mount.id}" was not given`, {
      hint: `build with --secret id=${mount.id},src=FILE or --secret id=${mount.id},env=NAME`,
    })
  }
  if (content.length > secretLimitBytes) {
    throw new SolveError(
      'SOLVE_SECRET_MISSING',
      `secret "${mount.id}" has ${content.length} bytes, at most ${secretLimitBytes} can be given`,
    )
  }
  const { target, uid, gid, mode } = mount
  const env = mount.env === undefined ? [] : [`${mount.env}=${Buffer.from(content).toString('utf8')}`]
  const mounts: SandboxMount[] = target === undefined ? [] : [{ kind: 'memory-file', target, content, uid, gid, mode }]
  return { mounts, env, secrets: [content] }
}

async function sshMount(
  mount: Extract<ExecMount, { kind: 'ssh' }>,
  ports: MountPorts,
  scope: Scope,
): Promise<readonly SandboxMount[]> {
  const source = Object.hasOwn(ports.ssh, mount.id) ? ports.ssh[mount.id] : undefined
  if (source === undefined) {
    if (!mount.required) return []
    throw new SolveError('SOLVE_SECRET_MISSING', `no ssh agent or key "${mount.id}" was given`, {
      hint: `build with --ssh ${mount.id}${mount.id === 'default' ? '' : '=SOCKET'} or --ssh ${mount.id}=KEYFILE`,
    })
  }
  const { openSshSocket } = await import('./ssh-agent.js')
  const socket = scope.use(await openSshSocket(source, await ports.privateDirectory(), mount))
  return [{ kind: 'bind', hostPath: socket.path, target: mount.target, readonly: false }]
}
