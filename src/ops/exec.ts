/**
 * RUN: a command in a sandbox on top of the layers below; what it changed becomes a layer.
 *
 * The overlay's upper directory is the new layer's snapshot, so nothing is copied. Records are written by the solver, after
 * the layer. What is outside the key (design.md, section 5) comes from `ExecSettings`, not from the op.
 */
import type { NetworkMode, ResourceLimits, Sandbox, SandboxPlan, SandboxUser } from '../../sandbox/plan.js'
import type { CanonicalValue } from '../core/canonical.js'
import type { Context } from '../core/context.js'
import { SandboxError } from '../core/errors.js'
import { isResolvedUser, parseGroup, parsePasswd, resolveUser } from '../core/users.js'
import type { FileView } from '../core/view.js'
import type { ExecOp, Vertex } from '../graph/op.js'
import { Scope } from '../io/scope.js'
import { layerStack } from '../layer/stack.js'
import type { KeyParts, OpResult, OpRunner, VertexInput, VertexResult } from '../solver/ports.js'
import { type CommitPorts, commitLayer } from './commit.js'
import { commandFailed } from './exec-error.js'
import { copyOfSource, type MountPorts, prepareMounts } from './exec-mounts.js'
import { readTextInView } from './read-text.js'
import { baseLayers, layerDirectories } from './stack.js'
import { openStepOutput, type StepOutput } from './step-output.js'

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
  readonly now: () => number
}

/** The runner of exec ops. */
export function createExecRunner(ports: ExecPorts): OpRunner<ExecOp> {
  return {
    key: (op, inputs, vertex, ctx) => execKey(op, inputs, vertex, ports, ctx),
    run: (op, inputs, vertex, ctx) => runExec(op, inputs, vertex, ports, ctx),
  }
}

/** Files that are mounted from a context are in the key as COPY has them: by what is selected, not as the whole context. */
async function execKey(
  op: ExecOp,
  inputs: readonly VertexInput[],
  vertex: Vertex,
  { copyRunner }: ExecPorts,
  ctx: Context,
): Promise<KeyParts> {
  const components: Record<string, string> = {}
  const covered = new Set<number>()
  const files: CanonicalValue[] = []
  for (const mount of op.mounts) {
    const index = mount.kind === 'bind' || mount.kind === 'cache' ? mount.input : undefined
    const input = index === undefined ? undefined : inputs[index]
    if (index === undefined || input?.vertex.op.kind !== 'context' || !('source' in mount)) continue
    const parts = await copyRunner.key?.(copyOfSource(mount.source, false), [input], vertex, ctx)
    if (parts === undefined) throw new Error('copies have no key')
    files.push(parts.fields)
    covered.add(index)
    for (const [name, value] of Object.entries(parts.components)) components[`mount.${mount.target}.${name}`] = value
  }
  // An op is plain data; an interface is just not assignable to an index signature.
  const fields = files.length === 0 ? op : { op, files }
  return { fields: fields as unknown as CanonicalValue, components, coveredInputs: [...covered] }
}

async function runExec(
  op: ExecOp,
  inputs: readonly VertexResult[],
  vertex: Vertex,
  ports: ExecPorts,
  ctx: Context,
): Promise<OpResult> {
  await using scope = new Scope()
  const lowers = layerDirectories(ports.store, baseLayers(inputs, op.base))
  const [sandbox, active] = await Promise.all([ports.openSandbox(), ports.store.snapshots.prepare()])
  scope.use(active)
  const user = findUser(op.user, layerStack(lowers))
  const { mounts, env } = await prepareMounts(op, inputs, vertex, ports, scope, ctx)
  const output = openStepOutput(vertex.id, () => ports.store.directory('logs'), ports.now, ctx)
  scope.defer(() => output.close())
  const plan: SandboxPlan = {
    argv: op.argv,
    env: [...ports.settings.env, ...op.env, ...env],
    cwd: op.cwd,
    user,
    hostname: op.hostname,
    rootfs: { hostLowers: lowers, hostUpper: active.upper, hostWork: active.work },
    mounts,
    network: op.network satisfies NetworkMode,
    extraHosts: ports.settings.hosts.filter(({ name }) => op.hostNames.includes(name)),
    security: op.security,
    readonlyRootfs: false,
    terminal: false,
    ...(op.shmSizeBytes === undefined ? {} : { shmSizeBytes: op.shmSizeBytes }),
    limits: ports.settings.limits,
  }
  await runCommand(plan, sandbox, output, ports, ctx)
  return await commitLayer(active, noKnownContent, ports, ctx)
}

/** Nothing that a command wrote was hashed before. */
const noKnownContent: ReadonlyMap<string, string> = new Map()

async function runCommand(
  plan: SandboxPlan,
  sandbox: Sandbox,
  output: StepOutput,
  ports: ExecPorts,
  ctx: Context,
): Promise<void> {
  const startedMs = ports.now()
  const io = {
    stdin: 'ignore',
    onStdout: (data: Uint8Array) => output.write(1, data),
    onStderr: (data: Uint8Array) => output.write(2, data),
  } as const
  const status = await sandbox.run(plan, io, ctx.signal)
  // A command that was told to stop also ends with a code; that is not the failure to report.
  ctx.signal.throwIfAborted()
  if (status.exitCode === 0) return
  throw commandFailed(plan.argv, status, ports.now() - startedMs, output)
}

function findUser(spec: string, view: FileView): SandboxUser {
  if (spec === '' || spec === '0:0') return { uid: 0, gid: 0, additionalGids: [] }
  const passwd = parsePasswd(readTextInView(view, '/etc/passwd') ?? '')
  const user = resolveUser(spec, passwd, parseGroup(readTextInView(view, '/etc/group') ?? ''))
  if (isResolvedUser(user)) return user
  throw new SandboxError('SANDBOX_UNKNOWN_USER', user.problem, {
    hint: 'create it in a RUN before, or use a number in USER',
  })
}
