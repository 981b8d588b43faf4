/**
 * RUN: its key, and what is outside the key (design.md, section 5), which comes from `ExecSettings` and not from the op.
 * What carries it out (exec-run.ts) is loaded with the first step that is not cached.
 */
import type { ResourceLimits, Sandbox } from '../../sandbox/plan.js'
import type { CanonicalValue } from '../core/canonical.js'
import type { Context } from '../core/context.js'
import type { ExecMount, ExecOp, Vertex } from '../graph/op.js'
import type { FileSelection, KeyParts, OpRunner, VertexInput, VertexResult } from '../solver/ports.js'
import type { CommitPorts } from './commit.js'
import type { MountPorts } from './exec-mounts.js'
import { copyOfSource } from './exec-mounts-copy.js'

/** What is the same for all steps of a build and outside their keys. */
export interface ExecSettings {
  /** `NAME=value` of proxies; what the op declares itself wins. */
  readonly env: readonly string[]
  readonly hosts: readonly { readonly name: string; readonly address: string }[]
  readonly limits: ResourceLimits
}

/** What running a command needs. */
export interface ExecPorts extends MountPorts, Pick<CommitPorts, 'pool'> {
  readonly openSandbox: () => Promise<Sandbox>
  readonly settings: ExecSettings
  /** Secrets whose value the key depends on. */
  readonly secretsInKey: ReadonlySet<string>
  readonly now: () => number
}

/** The runner of exec ops. */
export function createExecRunner(ports: ExecPorts): OpRunner<ExecOp> {
  let expected: Promise<Sandbox> | undefined
  return {
    expect({ network }) {
      if (expected !== undefined) return
      expected = ports.openSandbox()
      // Whoever runs a command gets the error of a sandbox that cannot be opened.
      expected.then(
        (sandbox) => sandbox.warmUp(network),
        () => undefined,
      )
    },
    rest() {
      expected?.then(
        (sandbox) => sandbox.rest(),
        () => undefined,
      )
    },
    key: (op, inputs, vertex, ctx) => execKey(op, inputs, vertex, ports, ctx),
    async selected(op, inputs, parts, _vertex, ctx) {
      if (!op.mounts.some((mount) => isSelection(mount, inputs))) return undefined
      const { selectedExecKey } = await import('./exec-selected.js')
      return selectedExecKey(op, inputs, parts, ports, ctx)
    },
    async run(op, inputs, vertex, ctx) {
      const { runExec } = await import('./exec-run.js')
      return runExec(op, inputs, vertex, ports, ctx)
    },
  }
}

/** True for a mount of a part of a stage or image; all of one is no selection. */
export function isSelection(mount: ExecMount, inputs: readonly VertexResult[]): mount is SelectedMount {
  return mount.kind === 'bind' && mount.source !== '/' && inputs[mount.input]?.kind === 'layers'
}

/** A bind mount. */
export type SelectedMount = Extract<ExecMount, { kind: 'bind' }>

/** A salted hash for each secret that is to be in the key. Without the salt, which is this store's, it says nothing. */
async function secretHashes(
  op: ExecOp,
  { secretsInKey, findSecret, store }: Pick<ExecPorts, 'secretsInKey' | 'findSecret' | 'store'>,
): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {}
  for (const mount of op.mounts) {
    if (mount.kind !== 'secret' || !secretsInKey.has(mount.id)) continue
    const { hashSecret } = await import('./secret-hash.js')
    const content = await findSecret(mount.id)
    if (content !== undefined) hashes[`secret.${mount.id}`] = hashSecret(content, store.directory('memo'))
  }
  return hashes
}

/** Files that are mounted from a context are in the key as COPY has them: by what is selected, not as the whole context. */
async function execKey(
  op: ExecOp,
  inputs: readonly VertexInput[],
  vertex: Vertex,
  { copyRunner, ...ports }: ExecPorts,
  ctx: Context,
): Promise<KeyParts> {
  const components: Record<string, string> = {}
  const covered = new Set<number>()
  const files: CanonicalValue[] = []
  const selections: FileSelection[] = []
  for (const mount of op.mounts) {
    const index = mount.kind === 'bind' || mount.kind === 'cache' || mount.kind === 'volume' ? mount.input : undefined
    const input = index === undefined ? undefined : inputs[index]
    if (index === undefined || input?.vertex.op.kind !== 'context' || !('source' in mount) || mount.source === undefined) continue
    const parts = await copyRunner.key?.(copyOfSource(mount.source, false), [input], vertex, ctx)
    if (parts === undefined) throw new Error('copies have no key')
    files.push(parts.fields)
    covered.add(index)
    const prefix = `mount.${mount.target}.`
    for (const [name, value] of Object.entries(parts.components)) components[prefix + name] = value
    for (const selection of parts.selections ?? []) selections.push({ ...selection, component: prefix + selection.component })
  }
  // An op is plain data; an interface is just not assignable to an index signature.
  const secrets = await secretHashes(op, ports)
  Object.assign(components, secrets)
  const hasSecrets = Object.keys(secrets).length > 0
  const fields = files.length === 0 && !hasSecrets ? op : { op, files, ...(hasSecrets ? { secrets } : {}) }
  return { fields: fields as unknown as CanonicalValue, components, selections, coveredInputs: [...covered] }
}
