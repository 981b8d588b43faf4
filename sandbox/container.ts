/**
 * One container from its mounts to its end: prepare, start the runtime, stream, wait, undo.
 *
 * What was prepared is undone in reverse order whatever happened. An error while undoing never hides the error of the run.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BuildError } from '../src/core/errors.js'
import { readTextIfExists } from '../src/io/fs.js'
import { Scope } from '../src/io/scope.js'
import type { WindowSize } from '../src/io/sys.js'
import { type OciHost, ociConfig, ociConfigText } from './drivers/oci.js'
import { execProblem, isDirectory, looksStartable } from './exec-check.js'
import { HeldOutput } from './held-output.js'
import { prepareMounts } from './mount-plan.js'
import { mountOverlay, unmountOverlay } from './mounts.js'
import type { JoinedNetwork } from './network.js'
import type { ExitStatus, SandboxIo, SandboxPlan } from './plan.js'
import { namesSystemdStub, resolvConf } from './rootfs.js'
import { cgroupsPathOf, type Runtime, runtimeArguments } from './runtime.js'
import { type ProcessEnd, type RunningProcess, startProcess } from './spawn.js'
import { mountPointNames, type OwnState, removeBundle } from './state.js'
import { exitStatusOf } from './status.js'
import { MountPoints } from './stubs.js'
import { openTerminal } from './terminal.js'

/** What a container needs beside its plan. */
export interface ContainerHost {
  readonly id: string
  readonly state: OwnState
  readonly runtime: Runtime
  readonly network: JoinedNetwork
  /** See `makeSystemPoints`. */
  readonly systemPoints: string
  readonly env: Readonly<Record<string, string>>
  readonly host: Omit<OciHost, 'rootPath' | 'mounts' | 'networkPath' | 'cgroupsPath'>
}

/** Runs a container to its end; see `Sandbox.run`. */
export async function runContainer(
  plan: SandboxPlan,
  io: SandboxIo,
  signal: AbortSignal,
  host: ContainerHost,
): Promise<ExitStatus> {
  return releasing(async (scope) => {
    const terminal = plan.terminal ? openTerminal(io.stdin, scope) : undefined
    const bundle = prepareBundle(plan, host, scope, terminal?.size)
    const cgroupsPath = cgroupsPathOf(host.runtime, host.id, plan.cgroupParent)
    const command = [join(bundle, mountPointNames.root), plan.argv[0] ?? '', plan.env, plan.cwd] as const
    const stderr = heldStderr(io, () => looksStartable(...command))
    const child = startProcess(runtimeArguments('run', host.runtime, host.state, bundle, host.id), {
      env: host.env,
      stdin: terminal?.stdin ?? io.stdin,
      stdout: io.onStdout,
      stderr: stderr?.push ?? 'inherit',
      // Whoever hands a terminal on must be in its foreground group. Others get signals from mille alone, each once.
      ownSession: terminal?.stdin !== 'inherit',
    })
    io.onStarted?.(signaller(child, bundle))
    if (terminal !== undefined) whenStarted(child, bundle, terminal.follow)
    const end = await endOrAbort(child, bundle, signal)
    signal.throwIfAborted()
    const status = exitStatusOf({
      runtimeName: host.runtime.name,
      command: plan.argv[0] ?? '',
      end,
      log: readTextIfExists(join(bundle, 'log')) ?? '',
      execProblem: () => execProblem(...command),
      isDirectory: () => isDirectory(...command),
      limitsMemory: plan.limits.memoryBytes !== undefined && cgroupsPath !== undefined,
    })
    stderr?.release()
    return status
  })
}

/**
 * What stands between the runtime's stderr and the caller's. A stream that is handed on stays untouched, so that its order
 * with stdout is exact, unless the command looks as if it could not be started: then the runtime would complain on it.
 */
function heldStderr(io: SandboxIo, isStartable: () => boolean): HeldOutput | undefined {
  if (io.onStderr !== 'inherit') return new HeldOutput(io.onStderr)
  return isStartable() ? undefined : new HeldOutput((data) => process.stderr.write(data))
}

/** Sends signals to the container's first process, once there is one; nothing when it has ended. */
function signaller(child: RunningProcess, bundle: string): (signal: NodeJS.Signals) => void {
  return (signal) => whenStarted(child, bundle, (pid) => sendSignal(pid, signal))
}

/** Calls `use` with the container's first process as soon as there is one; never when it has ended. */
function whenStarted(child: RunningProcess, bundle: string, use: (pid: number) => void): void {
  let isOver = false
  const ended = child.ended.then(
    () => (isOver = true),
    () => (isOver = true),
  )
  void firstProcess(join(bundle, 'pid'), ended).then((pid) => {
    if (pid !== undefined && !isOver) use(pid)
  })
}

/** Runs `work` and then what it deferred, in reverse order. */
async function releasing<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  const scope = new Scope()
  let result: T
  try {
    result = await work(scope)
  } catch (error) {
    await scope[Symbol.asyncDispose]().catch((release: unknown) => addNote(error, release))
    throw error
  }
  await scope[Symbol.asyncDispose]()
  return result
}

function addNote(error: unknown, release: unknown): void {
  if (!(error instanceof BuildError)) return
  const text = release instanceof Error ? release.message : String(release)
  error.notes = [...error.notes, { message: `cleaning up after it went wrong too: ${text}` }]
}

/** Everything on disk and in the mount table that the runtime will look for. Returns the bundle directory. */
function prepareBundle(plan: SandboxPlan, host: ContainerHost, scope: Scope, terminalSize: WindowSize | undefined): string {
  const bundle = join(host.state.bundles, host.id)
  const root = join(bundle, mountPointNames.root)
  mkdirSync(root, { recursive: true, mode: 0o700 })
  scope.defer(() => removeBundle(bundle))
  const { hostLowers, hostUpper, hostWork } = plan.rootfs
  const points = new MountPoints(root, hostUpper)
  scope.defer(() => points.remove())
  mountOverlay({ lowers: [host.systemPoints, ...hostLowers], upper: hostUpper, work: hostWork }, root)
  scope.defer(() => unmountOverlay(root, hostWork))
  const mounts = prepareMounts(plan, {
    bundle,
    points,
    resolvConf: resolvConf(hostResolvConf(), host.network.mode),
    defer: (release) => scope.defer(release),
  })
  const cgroupsPath = cgroupsPathOf(host.runtime, host.id, plan.cgroupParent)
  const config = ociConfig(plan, {
    ...host.host,
    rootPath: root,
    mounts,
    ...(host.network.path === undefined ? {} : { networkPath: host.network.path }),
    ...(cgroupsPath === undefined ? {} : { cgroupsPath }),
    ...(host.runtime.seccompProgram === undefined ? {} : { seccompProgram: host.runtime.seccompProgram }),
    ...(terminalSize === undefined ? {} : { terminalSize }),
  })
  writeFileSync(join(bundle, 'config.json'), ociConfigText(config))
  return bundle
}

const systemdResolvConf = '/run/systemd/resolve/resolv.conf'

function hostResolvConf(): string {
  const text = readTextIfExists('/etc/resolv.conf') ?? ''
  return namesSystemdStub(text) ? (readTextIfExists(systemdResolvConf) ?? text) : text
}

/** How long a command that handles SIGTERM has for it. */
const graceMs = 5_000

/** Waits for the runtime's end. On abort the container is ended first, then the wait goes on. */
async function endOrAbort(child: RunningProcess, bundle: string, signal: AbortSignal): Promise<ProcessEnd> {
  let stopping: Promise<void> | undefined
  const stop = (): void => {
    stopping ??= stopContainer(child, join(bundle, 'pid'))
  }
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await child.ended
  } finally {
    signal.removeEventListener('abort', stop)
    await stopping
  }
}

/**
 * Ends a container by its first process, with which the kernel ends all others of the pid namespace.
 *
 * SIGTERM means something only to a process that handles it: the kernel does not deliver it to a first process that does not
 * (a shell, most commands). Such a one is killed at once, the others after the grace time.
 */
async function stopContainer(child: RunningProcess, pidFile: string): Promise<void> {
  const ended = child.ended.then(
    () => true,
    () => true,
  )
  const pid = await firstProcess(pidFile, ended)
  if (pid === undefined) return
  if (handlesTerm(pid)) {
    sendSignal(pid, 'SIGTERM')
    if (await Promise.race([ended, sleep(graceMs, false, { ref: false })])) return
  }
  sendSignal(pid, 'SIGKILL')
}

/** The container's first process, once the runtime has made it; undefined when the runtime ended before. */
async function firstProcess(pidFile: string, ended: Promise<boolean>): Promise<number | undefined> {
  for (;;) {
    const pid = Number(readTextIfExists(pidFile) ?? '0')
    if (Number.isInteger(pid) && pid > 0) return pid
    if (await Promise.race([ended, sleep(5, false)])) return undefined
  }
}

const termBit = 1n << 14n

function handlesTerm(pid: number): boolean {
  const path = `/proc/${pid}/status`
  if (!existsSync(path)) return false
  const caught = /^SigCgt:\s*([0-9a-f]+)/m.exec(readFileSync(path, 'utf8'))?.[1] ?? '0'
  return (BigInt(`0x${caught}`) & termBit) !== 0n
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
