/**
 * The cache mounts of a step, all taken before it runs.
 *
 * Each cache is taken once, also where a step mounts it twice, and all are taken in one order: two steps that want the same
 * two for themselves would else wait for one another for ever.
 */
import { existsSync } from 'node:fs'
import type { SandboxMount } from '../../sandbox/plan.js'
import type { Context } from '../core/context.js'
import { fsPath } from '../core/path-bytes.js'
import type { ExecOp, Vertex } from '../graph/op.js'
import type { Scope } from '../io/scope.js'
import { applyLayer } from '../layer/apply.js'
import { layerStack, resolvePath } from '../layer/stack.js'
import { packLayer } from '../layer/tar.js'
import type { VertexResult } from '../solver/ports.js'
import { type CacheMount, type HeldCache, holdCache, placeIdentity } from './cache-mounts.js'
import type { FilesOf, MountPorts } from './exec-mounts.js'
import { copyOfSource } from './exec-mounts-copy.js'
import { inputOf, layerDirectories } from './stack.js'

/** The caches that a step holds. */
export interface HeldCaches {
  mountOf(mount: CacheMount): SandboxMount
}

/** Takes the caches of a step; `scope` gives them back. */
export async function holdCaches(
  op: ExecOp,
  inputs: readonly VertexResult[],
  filesOf: FilesOf,
  vertex: Vertex,
  ports: MountPorts,
  scope: Scope,
  ctx: Context,
): Promise<HeldCaches> {
  const wanted = new Map<string, CacheMount[]>()
  for (const mount of op.mounts) {
    if (mount.kind !== 'cache') continue
    const identity = placeIdentity(mount, ports.cacheDirectories[mount.id], startOf(mount, inputs))
    wanted.set(identity, [...(wanted.get(identity) ?? []), mount])
  }
  const held = new Map<CacheMount, HeldCache>()
  for (const [, mounts] of [...wanted].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [first] = mounts
    if (first === undefined) continue
    const mount = { ...first, sharing: strictest(mounts) }
    const fill = async (path: string): Promise<void> => {
      const input = inputOfCache(mount, inputs)
      if (input === undefined) return
      await fillCache(input, await filesOf(mount.input ?? 0, mount.source), mount.source, path, vertex, ports, ctx)
    }
    const root = ports.store.directory('cache-mounts')
    const hostPath = ports.cacheDirectories[mount.id]
    const place = { root, hostPath, startsFrom: startOf(mount, inputs), fill, travel: ports.cacheTravel }
    const cache = scope.use(await holdCache(mount, place, ctx))
    for (const each of mounts) held.set(each, cache)
  }
  return {
    mountOf(mount) {
      const cache = held.get(mount)
      if (cache === undefined) throw new Error(`the cache ${mount.id} was not taken`)
      return { kind: 'bind', hostPath: cache.path, target: mount.target, readonly: mount.readonly }
    },
  }
}

function inputOfCache(mount: CacheMount, inputs: readonly VertexResult[]): VertexResult | undefined {
  return mount.input === undefined ? undefined : inputOf(inputs, mount.input)
}

/** Says what a new cache is filled with. */
function startOf(mount: CacheMount, inputs: readonly VertexResult[]): string {
  const input = inputOfCache(mount, inputs)
  return input?.kind === 'layers' ? input.diffIds.join(' ') : input === undefined ? '' : 'files'
}

/** How a cache is taken that a step mounts several times. */
function strictest(mounts: readonly CacheMount[]): CacheMount['sharing'] {
  const all = mounts.map(({ sharing }) => sharing)
  return all.includes('locked') ? 'locked' : all.includes('private') ? 'private' : 'shared'
}

/** A new cache starts from a copy, packed and unpacked again so that owners, links and attributes stay. */
async function fillCache(
  input: VertexResult,
  lowers: readonly string[],
  source: string,
  target: string,
  vertex: Vertex,
  ports: MountPorts,
  ctx: Context,
): Promise<void> {
  const hostLowers = lowers.length === 1 ? lowers : await oneLayer(input, source, vertex, ports, ctx)
  const { path } = resolvePath(layerStack(hostLowers), source, { followLast: true })
  const parts = hostLowers.map((lower) => `${lower}${path}`).filter((part) => existsSync(fsPath(part)))
  await applyLayer(packLayer(parts.length === 0 ? `${hostLowers[0]}${path}` : parts), target, { form: 'plain' }, ctx.signal)
}

/** The files below `source` of several layers in one, with their owners. */
async function oneLayer(
  input: VertexResult,
  source: string,
  vertex: Vertex,
  ports: MountPorts,
  ctx: Context,
): Promise<readonly string[]> {
  const made = await ports.copyRunner.run(copyOfSource(source, true), [input], vertex, ctx)
  if (made.kind !== 'layer') throw new Error('a copy made no layer')
  return layerDirectories(ports.store, [made.diffId])
}
