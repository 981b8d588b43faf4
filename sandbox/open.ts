/**
 * `openSandbox`: the sandbox of one mille process. What costs time is started by the first container, nothing before.
 */

import { join } from 'node:path'
import { getuid } from 'node:process'
import { ifFulfilled } from '../src/core/awaited.js'
import { SandboxError, systemCode } from '../src/core/errors.js'
import { isUsersNamespace, ownCapabilities } from './capabilities.js'
import { cgroupVersion, hostHas, noteCgroupParent, usableLimits } from './cgroup.js'
import { runContainer } from './container.js'
import { type Guardian, startGuardian } from './guardian.js'
import { enterPrivateMounts } from './mounts.js'
import { NetworkPool } from './network.js'
import { type ExitStatus, hostGateway, type NetworkMode, type Sandbox, type SandboxIo, type SandboxPlan } from './plan.js'
import { usableProcessLimits } from './process-limits.js'
import { makeSystemPoints } from './rootfs.js'
import { chooseRuntime, type Runtime, type RuntimeChoice } from './runtime.js'
import { type OwnState, openState, rememberRuntime, removeLeftovers } from './state.js'

/** What a sandbox is opened with. */
export interface SandboxOptions {
  /** For what lives as long as this process: `/run/mille` or below `$XDG_RUNTIME_DIR`. Made when missing. */
  readonly stateDirectory: string
  /** A runtime's name or path (`--runtime`, MILLE_RUNTIME); undefined: the first that works. */
  readonly runtime?: string | undefined
  /** Directories to look for programs in, as in PATH. */
  readonly searchPath?: string
  /** Is told, once each, what is done differently from what was asked for. */
  readonly warn?: (message: string, hint: string | undefined) => void
}

/** Where every distribution puts the programs that mille drives. */
export const defaultSearchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Opens the sandbox. Costs nothing until the first `run` or `warmUp`. */
export function openSandbox(options: SandboxOptions): Sandbox {
  return new OciSandbox(options)
}

/** What the first container brings up. */
interface Started {
  readonly state: OwnState
  readonly runtime: Runtime
  readonly guardian: Guardian
  readonly networks: NetworkPool
  readonly systemPoints: string
  readonly cleaning: Promise<void>
}

class OciSandbox implements Sandbox {
  readonly #options: SandboxOptions
  readonly #env: Readonly<Record<string, string>>
  readonly #host: RuntimeChoice['host']
  readonly #warned = new Set<string>()
  /** Undoes what was made for `--cgroup-parent`, by parent. */
  readonly #parents = new Map<string, () => void>()
  #started: Promise<Started> | undefined
  #count = 0

  constructor(options: SandboxOptions) {
    this.#options = options
    this.#env = { PATH: options.searchPath ?? defaultSearchPath }
    this.#host = { cgroupVersion: cgroupVersion(), capabilities: ownCapabilities(), architecture: process.arch }
  }

  async run(plan: SandboxPlan, io: SandboxIo, signal: AbortSignal): Promise<ExitStatus> {
    signal.throwIfAborted()
    const { state, runtime, networks, systemPoints } = await this.#start()
    const reachHost = plan.extraHosts.some(({ address }) => address === hostGateway)
    const network = await networks.acquire(plan.network, { reachHost })
    try {
      signal.throwIfAborted()
      const extraHosts = plan.extraHosts.map(({ name, address }) => ({
        name,
        address: address === hostGateway ? network.hostAddress : address,
      }))
      const usable = { ...this.#usable(plan, runtime), network: network.mode, extraHosts }
      return await runContainer(usable, io, signal, {
        id: `${state.name}-${++this.#count}`,
        state,
        runtime,
        network,
        systemPoints,
        env: this.#env,
        host: this.#host,
      })
    } finally {
      await network.release({ reusable: plan.security === 'sandbox' })
    }
  }

  async privateDirectory(): Promise<string> {
    return (await this.#start()).state.bundles
  }

  warmUp(network: NetworkMode): void {
    this.#whenStarted(this.#start(), ({ networks }) => {
      if (network === 'default') networks.warmUp()
    })
  }

  rest(): void {
    this.#whenStarted(this.#started, ({ networks }) => networks.rest())
  }

  /** Does nothing when it cannot start: whoever runs a container gets that error. */
  #whenStarted(start: Promise<Started> | undefined, work: (started: Started) => void): void {
    void ifFulfilled(start).then((started) => started && work(started))
  }

  /** The plan with the limits that can be had here. Says what cannot, once. */
  #usable(plan: SandboxPlan, runtime: Runtime): SandboxPlan {
    const { limits, cgroupParent, rlimits = [] } = plan
    const has = runtime.mode === 'no-cgroups' ? () => false : hostHas(this.#host.cgroupVersion)
    const usable = Object.keys(limits).length === 0 ? { limits, dropped: [] } : usableLimits(limits, has)
    for (const name of usable.dropped) {
      const why = runtime.mode === 'no-cgroups' ? 'no cgroup can be made here' : 'this host has no controller for it'
      this.#warnOnce(`the limit ${name} has no effect: ${why}`, 'see "mille doctor"')
    }
    const own = usableProcessLimits(rlimits, this.#host.capabilities)
    for (const text of own.warnings) this.#warnOnce(text, 'it needs the capability CAP_SYS_RESOURCE')
    if (cgroupParent !== undefined) {
      if (runtime.mode === 'no-cgroups') this.#warnOnce('the cgroup parent has no effect: no cgroup can be made here', undefined)
      else if (!this.#parents.has(cgroupParent)) this.#parents.set(cgroupParent, noteCgroupParent(cgroupParent))
    }
    return { ...plan, limits: usable.limits, rlimits: own.limits }
  }

  #warnOnce(message: string, hint: string | undefined): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#options.warn?.(message, hint)
  }

  #start(): Promise<Started> {
    this.#started ??= this.#bringUp()
    return this.#started
  }

  async #bringUp(): Promise<Started> {
    requireRoot()
    requirePrivateMounts()
    const { stateDirectory, runtime: wanted, searchPath = defaultSearchPath, warn = () => undefined } = this.#options
    const state = openState(stateDirectory)
    try {
      const runtime = await chooseRuntime({ wanted, searchPath, stateDirectory, state, env: this.#env, host: this.#host })
      rememberRuntime(state, runtime.path)
      const guardian = startGuardian(state, runtime.path, this.#env)
      const warnOfHost = (message: string, hint: string | undefined): void => {
        warn(`${message}, so commands run on the host's network`, hint)
      }
      const places = { directory: state.bundles, noteDirectory: state.helpers, searchPath }
      const networks = new NetworkPool({ ...places, env: this.#env, warn: warnOfHost, ...guardian })
      const systemPoints = join(state.bundles, 'system-points')
      makeSystemPoints(systemPoints)
      return { state, runtime, guardian, networks, systemPoints, cleaning: removeLeftovers(stateDirectory, this.#env) }
    } catch (error) {
      state.close()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const started = await ifFulfilled(this.#started)
    if (started === undefined) return
    // Helpers that have their signal need no guardian any more: all of them end at the same time.
    await started.networks.stop()
    for (const remove of this.#parents.values()) remove()
    await Promise.all([started.networks[Symbol.asyncDispose](), started.cleaning, started.guardian.dismiss()])
    started.state.close()
  }
}

function requireRoot(): void {
  if (getuid?.() === 0 && !isUsersNamespace()) return
  throw new SandboxError('SANDBOX_UNSUPPORTED', 'running containers needs root: user namespaces are not supported yet', {
    hint: 'run mille as root (sudo)',
  })
}

function requirePrivateMounts(): void {
  try {
    enterPrivateMounts()
  } catch (error) {
    if (systemCode(error) !== 'EPERM') throw error
    throw new SandboxError('SANDBOX_UNSUPPORTED', 'this process may not mount: it is root without CAP_SYS_ADMIN', {
      cause: error,
      hint: 'start the container that mille runs in with --privileged, or with CAP_SYS_ADMIN and without a seccomp filter on mount',
    })
  }
}
