/**
 * Carries a RUN out: a command in a sandbox on top of the layers below; what it changed becomes a layer.
 *
 * The overlay's upper directory is the new layer's snapshot, so nothing is copied. Records are written by the solver, after
 * the layer.
 */
import type { NetworkMode, Sandbox, SandboxPlan, SandboxUser } from '../../sandbox/plan.js'
import type { Context } from '../core/context.js'
import { SandboxError } from '../core/errors.js'
import { homeOf, isResolvedUser, parseGroup, parsePasswd, resolveUser, withHome } from '../core/users.js'
import type { FileView } from '../core/view.js'
import type { ExecOp, Vertex } from '../graph/op.js'
import { Scope } from '../io/scope.js'
import { layerStack } from '../layer/stack.js'
import type { OpResult, VertexResult } from '../solver/ports.js'
import { commitLayer } from './commit.js'
import type { ExecPorts } from './exec.js'
import { commandFailed } from './exec-error.js'
import { prepareMounts } from './exec-mounts.js'
import { readTextInView } from './read-text.js'
import { baseLayers, layerDirectories } from './stack.js'
import { openStepOutput, type StepOutput } from './step-output.js'

/** Runs one command and commits its layer. */
export async function runExec(
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
  const view = layerStack(lowers)
  const { user, home } = findUser(op.user, view)
  const { mounts, env, secrets } = await prepareMounts({ op, user, view }, inputs, vertex, ports, scope, ctx)
  const output = openStepOutput(vertex.id, () => ports.store.directory('logs'), ports.now, ctx, secrets)
  scope.defer(() => output.close())
  const plan: SandboxPlan = {
    argv: op.argv,
    env: withHome([...ports.settings.env, ...op.env, ...env], home),
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
    ...confinementOf(op),
  }
  await runCommand(plan, sandbox, output, ports, ctx)
  return await commitLayer(active, { knownContent: noKnownContent }, ports, ctx)
}

function confinementOf({ confinement = {} }: ExecOp): Partial<SandboxPlan> {
  const { ulimits, cgroupParent, noNewPrivileges, seccomp } = confinement
  return {
    ...(ulimits === undefined ? {} : { rlimits: ulimits }),
    ...(cgroupParent === undefined ? {} : { cgroupParent }),
    ...(noNewPrivileges === undefined ? {} : { noNewPrivileges }),
    ...(seccomp === undefined ? {} : { seccompUnconfined: true }),
  }
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
  output.finish()
  // A command that was told to stop also ends with a code; that is not the failure to report.
  ctx.signal.throwIfAborted()
  if (status.exitCode === 0) return
  throw commandFailed(plan.argv, status, ports.now() - startedMs, output)
}

/** The ids and the home directory of the user, by the image's own files. */
function findUser(spec: string, view: FileView): { readonly user: SandboxUser; readonly home: string } {
  const passwd = parsePasswd(readTextInView(view, '/etc/passwd') ?? '')
  // Nobody named is root with all of root's groups; a group that is named leaves the others out.
  const user =
    spec === '0:0'
      ? { uid: 0, gid: 0, additionalGids: [] }
      : resolveUser(spec, passwd, parseGroup(readTextInView(view, '/etc/group') ?? ''))
  if (isResolvedUser(user)) return { user, home: homeOf(user.uid, passwd) }
  throw new SandboxError('SANDBOX_UNKNOWN_USER', user.problem, {
    hint: 'create it in a RUN before, or use a number in USER',
  })
}
