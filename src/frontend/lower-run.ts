/** RUN: command, environment, mounts → one exec op (semantics.md 21–23, 36, 87–93). */
import { posix } from 'node:path'
import type { RunInstruction } from '../../grammar/ast.js'
import type { ExecMount, ExecOp, InlineOp, VertexId } from '../graph/op.js'
import { findFlag, findFlags, flagWord } from './expand.js'
import { isLoneHeredoc, rebuildHeredocs } from './heredoc-text.js'
import { runText } from './history.js'
import { argvOf, shellOf } from './lower-config.js'
import { type MountOptions, parseMount } from './mounts.js'
import { workingDirectory } from './paths.js'
import { InputList } from './plan-builder.js'
import { placeIn, problem } from './problem.js'
import type { StageLowering } from './stage-lowering.js'
import type { Step } from './stages.js'

/** Lowers RUN. */
export function lowerRun(lowering: StageLowering, step: Step, instruction: RunInstruction): void {
  const { state, options, plan } = lowering
  const inputs = new InputList()
  const base = inputs.addBase(state.rootfs)
  const command = commandOf(lowering, step, instruction)
  const mounts = lowerMounts(lowering, step, instruction, inputs)
  const env = state.env.list()
  const op: ExecOp = {
    ...{ kind: 'exec', argv: command.argv, env, cwd: state.cwd, user: state.config.User ?? '' },
    ...(base === undefined ? {} : { base }),
    hostname: options.buildArgs.BUILDKIT_SANDBOX_HOSTNAME ?? 'buildkitsandbox',
    network: networkOf(lowering, step),
    security: securityOf(lowering, step),
    mounts: [
      ...volumeMounts(lowering, mounts, inputs),
      ...mounts,
      ...(command.script === undefined ? [] : [scriptMount(lowering, command.script, inputs)]),
    ],
    hostNames: options.hostNames,
    ...(options.shmSizeBytes === undefined ? {} : { shmSizeBytes: options.shmSizeBytes }),
    ...(Object.keys(options.confinement).length === 0 ? {} : { confinement: options.confinement }),
  }
  rejectDevices(step)
  const isLive = op.mounts.some((mount) => mount.kind === 'volume' && mount.input === undefined && !isCacheable(lowering, mount))
  const details = lowering.details(step, lowering.ignoreCache || isLive, command.heredoc)
  const args = state.args.map(([name, value]) => [name, state.env.get(name) ?? value] as const)
  lowering.commitLayer(runText(command.argv, args), plan.add(op, inputs.ids, details))
}

interface RunCommand {
  readonly argv: readonly string[]
  /** A here-document that is a program of its own (`#!`): a file to mount. */
  readonly script: { readonly name: string; readonly content: string } | undefined
  /** The here-document to show in the step's name. */
  readonly heredoc: string | undefined
}

const scriptDirectory = '/dev/pipes'

function commandOf(lowering: StageLowering, step: Step, { command, heredocs }: RunInstruction): RunCommand {
  const [first] = heredocs
  if (command.form === 'exec' || first === undefined) {
    const argv = argvOf(lowering, command)
    const isEmpty = command.form === 'exec' ? argv.length === 0 : command.text.trim() === ''
    if (isEmpty) throw problem(placeIn(step, step.instruction.span), 'DOCKERFILE_BAD_ARGUMENT', 'RUN has no command')
    return { argv, script: undefined, heredoc: undefined }
  }
  const shell = shellOf(lowering)
  if (!isLoneHeredoc(command.text)) {
    return { argv: [...shell, rebuildHeredocs(command.text, heredocs, step.source)], script: undefined, heredoc: undefined }
  }
  const { name, content } = first
  if (!content.startsWith('#!') || lowering.stage.platform.os === 'windows') {
    return { argv: [...shell, content], script: undefined, heredoc: content }
  }
  return { argv: [...shell, `${scriptDirectory}/${name}`], script: { name, content }, heredoc: content }
}

function scriptMount(lowering: StageLowering, script: { name: string; content: string }, inputs: InputList): ExecMount {
  const op: InlineOp = { kind: 'inline', files: [{ name: script.name, content: script.content, mode: 0o755 }] }
  const vertex = lowering.plan.add(op, [], { name: '[internal] preparing inline document', ignoreCache: false })
  return { kind: 'bind', input: inputs.add(vertex), source: '/', target: scriptDirectory, readonly: true }
}

/** The volumes of the build, but where the step mounts something itself. */
function volumeMounts({ options, plan }: StageLowering, own: readonly ExecMount[], inputs: InputList): ExecMount[] {
  const taken = new Set(own.map((mount) => mount.target))
  return options.volumes
    .filter(({ target }) => !taken.has(target))
    .map(({ target, access, chown, content }) => {
      const mount = { kind: 'volume' as const, target, access, chown }
      if (content === undefined) return mount
      return { ...mount, input: inputs.add(plan.addContext(content.context, [])), source: content.path }
    })
}

function isCacheable({ options }: StageLowering, { target }: ExecMount): boolean {
  return options.volumes.some((volume) => volume.target === target && volume.cacheable)
}

function networkOf({ options }: StageLowering, step: Step): ExecOp['network'] {
  const flag = findFlag(step.instruction, 'network')
  const value = flag?.value ?? options.network
  if (value !== 'default' && value !== 'host' && value !== 'none') throw new Error(`unchecked network ${value}`)
  // Without the flag, or when it asks for the usual, the build's own network holds.
  if (flag === undefined || value === 'default') return options.network
  if (value === 'host' && options.network !== 'host' && !options.allow.includes('network.host')) {
    const hint = 'allow it with --allow network.host'
    throw problem(
      placeIn(step, flag.span),
      'DOCKERFILE_UNSUPPORTED',
      'the entitlement network.host is not allowed for this build',
      hint,
    )
  }
  return value
}

function securityOf({ options }: StageLowering, step: Step): ExecOp['security'] {
  const flag = findFlag(step.instruction, 'security')
  if (flag === undefined || flag.value !== 'insecure') return 'sandbox'
  if (options.allow.includes('security.insecure')) return 'insecure'
  const hint = 'allow it with --allow security.insecure'
  throw problem(
    placeIn(step, flag.span),
    'DOCKERFILE_UNSUPPORTED',
    'the entitlement security.insecure is not allowed for this build',
    hint,
  )
}

function rejectDevices(step: Step): void {
  const flag = findFlag(step.instruction, 'device')
  if (flag === undefined) return
  const { text, span } = flagWord(step.source, flag)
  throw problem(
    placeIn(step, span),
    'DOCKERFILE_UNSUPPORTED',
    `the device "${text}" cannot be given to a step: devices are not supported`,
  )
}

function lowerMounts(lowering: StageLowering, step: Step, instruction: RunInstruction, inputs: InputList): ExecMount[] {
  const mounts: ExecMount[] = []
  for (const flag of findFlags(instruction, 'mount')) {
    const options = parseMount(step, flag, lowering.scope(step))
    const agents = mounts.filter((mount) => mount.kind === 'ssh').length
    mounts.push(lowerMount({ lowering, step, options, inputs }, agents))
  }
  return mounts
}

function lowerMount(mounted: Mounted, agents: number): ExecMount {
  switch (mounted.options.type) {
    case 'bind':
      return bindMount(mounted)
    case 'cache':
      return cacheMount(mounted)
    case 'tmpfs':
      return tmpfsMount(mounted)
    case 'secret':
      return secretMount(mounted)
    case 'ssh':
      return sshMount(mounted, agents)
  }
}

interface Mounted {
  readonly lowering: StageLowering
  readonly step: Step
  readonly options: MountOptions
  readonly inputs: InputList
}

function bindMount(mounted: Mounted): ExecMount {
  const { options, inputs } = mounted
  const input = inputs.add(mountedFiles(mounted, true) ?? emptyFiles(mounted))
  return { kind: 'bind', input, source: sourceOfMount(options), target: targetOf(mounted), readonly: options.readonly ?? true }
}

function cacheMount(mounted: Mounted): ExecMount {
  const { lowering, options, inputs } = mounted
  const files = options.from === undefined ? undefined : mountedFiles(mounted, false)
  // The default id is the target as written, so that steps in different directories share a relative one.
  const id = options.id ?? posix.normalize(options.target ?? '').replace(/(.)\/$/, '$1')
  const namespace = lowering.options.buildArgs.BUILDKIT_CACHE_MOUNT_NS
  return {
    ...{
      kind: 'cache',
      id: namespace ? `${namespace}/${id}` : id,
      target: targetOf(mounted),
      sharing: options.sharing ?? 'shared',
    },
    ...(files === undefined ? {} : { input: inputs.add(files) }),
    ...{ source: sourceOfMount(options), uid: options.uid ?? 0, gid: options.gid ?? 0, mode: options.mode ?? 0o755 },
    readonly: options.readonly ?? false,
  }
}

function tmpfsMount(mounted: Mounted): ExecMount {
  const { sizeBytes } = mounted.options
  const mount = { kind: 'tmpfs' as const, target: targetOf(mounted) }
  return sizeBytes === undefined || sizeBytes === 0 ? mount : { ...mount, sizeBytes }
}

function secretMount(mounted: Mounted): ExecMount {
  const { lowering, options } = mounted
  const { env, required, target } = options
  const id = options.source ?? options.id ?? posix.basename(target ?? '')
  const path = target ?? (env === undefined ? `/run/secrets/${posix.basename(id)}` : undefined)
  return {
    ...{ kind: 'secret', id, required, uid: options.uid ?? 0, gid: options.gid ?? 0, mode: options.mode ?? 0o400 },
    ...(path === undefined ? {} : { target: workingDirectory(lowering.state.cwd, path) }),
    ...(env === undefined ? {} : { env }),
  }
}

function sshMount({ lowering, options }: Mounted, index: number): ExecMount {
  const id = options.source ?? options.id ?? 'default'
  const target = workingDirectory(lowering.state.cwd, options.target ?? `/run/buildkit/ssh_agent.${index}`)
  const { required } = options
  return { kind: 'ssh', id, target, required, uid: options.uid ?? 0, gid: options.gid ?? 0, mode: options.mode ?? 0o600 }
}

/** The files of `from=`, else the build context; undefined for an empty tree. */
function mountedFiles({ lowering, step, options }: Mounted, contextByDefault: boolean): VertexId | undefined {
  if (options.from !== undefined) return lowering.filesOf(step, options.from, false).vertex
  return contextByDefault ? lowering.contextFiles().vertex : undefined
}

function emptyFiles({ lowering }: Mounted): VertexId {
  return lowering.plan.add({ kind: 'inline', files: [] }, [], { name: '[internal] empty tree', ignoreCache: false })
}

function sourceOfMount({ source }: MountOptions): string {
  return posix.resolve('/', source ?? '/')
}

function targetOf({ lowering, step, options }: Mounted): string {
  const target = workingDirectory(lowering.state.cwd, options.target ?? '')
  if (target !== '/') return target
  throw problem(placeIn(step, options.word.span), 'DOCKERFILE_BAD_FLAG', 'invalid mount target "/"', 'mount below a directory')
}
