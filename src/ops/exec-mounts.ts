/** The mounts of an exec op as mounts of a sandbox. What must be let go of afterwards is given to a scope. */

import type { SandboxMount } from '../../sandbox/plan.js'
import type { Context } from '../core/context.js'
import { SandboxError, SolveError } from '../core/errors.js'
import type { ExecMount, ExecOp } from '../graph/op.js'
import type { Scope } from '../io/scope.js'
import type { VertexResult } from '../solver/ports.js'
import type { Store } from '../store/types.js'
import { holdCache } from './cache-mounts.js'
import { layerDirectories } from './stack.js'

/** The value of a secret, or undefined when there is none of that name. */
export type FindSecret = (id: string) => Promise<Uint8Array | undefined>

/** What mounts are made from. */
export interface MountPorts {
  readonly store: Store
  readonly findSecret: FindSecret
  /** Puts the files of a tree, owned by root, into an empty directory. */
  readonly copyFiles: (input: VertexResult, source: string, directory: string, ctx: Context) => Promise<void>
}

/** Mounts in order, and the variables that secrets give. */
export interface PreparedMounts {
  readonly mounts: readonly SandboxMount[]
  readonly env: readonly string[]
}

/** docker's limit. */
const secretLimitBytes = 500 * 1024

/** Prepares all mounts of an op. */
export async function prepareMounts(
  op: ExecOp,
  inputs: readonly VertexResult[],
  ports: MountPorts,
  scope: Scope,
  ctx: Context,
): Promise<PreparedMounts> {
  const mounts: SandboxMount[] = []
  const env: string[] = []
  for (const mount of op.mounts) {
    switch (mount.kind) {
      case 'bind':
        mounts.push(await bindMount(mount, inputs, ports, scope, ctx))
        break
      case 'cache':
        mounts.push(await cacheMount(mount, inputs, ports, scope, ctx))
        break
      case 'tmpfs':
        mounts.push(mount)
        break
      case 'secret': {
        const secret = await secretMount(mount, ports)
        mounts.push(...secret.mounts)
        env.push(...secret.env)
        break
      }
      case 'ssh':
        refuseSsh(mount)
    }
  }
  return { mounts, env }
}

async function bindMount(
  mount: Extract<ExecMount, { kind: 'bind' }>,
  inputs: readonly VertexResult[],
  ports: MountPorts,
  scope: Scope,
  ctx: Context,
): Promise<SandboxMount> {
  const { source, target, readonly } = mount
  const input = inputOf(inputs, mount.input)
  if (input.kind === 'layers') {
    const hostLowers = layerDirectories(ports.store, input.diffIds)
    return { kind: 'overlay', hostLowers, subpath: source, target, readonly }
  }
  // A context may have an ignore file and owners of its own, so the step sees a copy and never the directory itself.
  const active = scope.use(await ports.store.snapshots.prepare())
  await ports.copyFiles(input, '/', active.upper, ctx)
  return { kind: 'overlay', hostLowers: [active.upper], subpath: source, target, readonly }
}

async function cacheMount(
  mount: Extract<ExecMount, { kind: 'cache' }>,
  inputs: readonly VertexResult[],
  ports: MountPorts,
  scope: Scope,
  ctx: Context,
): Promise<SandboxMount> {
  const input = mount.input === undefined ? undefined : inputOf(inputs, mount.input)
  const startsFrom = input?.kind === 'layers' ? input.diffIds.join(' ') : input === undefined ? '' : 'files'
  const cache = scope.use(await holdCache(mount, ports.store.directory('cache-mounts'), startsFrom, ctx))
  if (cache.isNew && input !== undefined) await ports.copyFiles(input, mount.source, cache.path, ctx)
  return { kind: 'bind', hostPath: cache.path, target: mount.target, readonly: mount.readonly }
}

/** A secret that is not required and not there gives neither a file nor a variable. */
async function secretMount(mount: Extract<ExecMount, { kind: 'secret' }>, ports: MountPorts): Promise<PreparedMounts> {
  const content = await ports.findSecret(mount.id)
  if (content === undefined) {
    if (!mount.required) return { mounts: [], env: [] }
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
  return { mounts: target === undefined ? [] : [{ kind: 'memory-file', target, content, uid, gid, mode }], env }
}

function refuseSsh(mount: Extract<ExecMount, { kind: 'ssh' }>): void {
  if (!mount.required) return
  throw new SandboxError('SANDBOX_UNSUPPORTED', 'RUN --mount=type=ssh cannot be had yet', {
    hint: 'give a key as a secret (RUN --mount=type=secret), or add required=false',
  })
}

function inputOf(inputs: readonly VertexResult[], index: number): VertexResult {
  const input = inputs[index]
  if (input === undefined) throw new Error(`a mount names input ${index}, which is not there`)
  return input
}
