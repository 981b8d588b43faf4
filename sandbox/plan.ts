/**
 * `SandboxPlan`: what one container sees, as data. Made by `ops/exec.ts` and `container/run.ts`, executed by a driver.
 *
 * All paths under `host…` are absolute paths on this machine; all others are inside the container. Nothing that is not
 * listed here is visible in the container, but for the minimal /dev, /proc, /sys that every driver gives.
 */

/** One container, from its root filesystem to its limits. */
export interface SandboxPlan {
  readonly argv: readonly string[]
  /** `NAME=value`, in order; a later one wins. */
  readonly env: readonly string[]
  readonly cwd: string
  readonly user: SandboxUser
  readonly hostname: string
  readonly rootfs: Rootfs
  /** In the order in which they are mounted, after /proc, /dev, /sys, /dev/shm. */
  readonly mounts: readonly SandboxMount[]
  readonly network: NetworkMode
  /** Extra lines of /etc/hosts; an address can be `hostGateway`. */
  readonly extraHosts: readonly { readonly name: string; readonly address: string }[]
  readonly security: 'sandbox' | 'insecure'
  /** Set-user-ID programs and file capabilities give no rights (`--security-opt no-new-privileges`); false. */
  readonly noNewPrivileges?: boolean
  /** All system calls are let through (`--security-opt seccomp=unconfined`); false. */
  readonly seccompUnconfined?: boolean
  readonly readonlyRootfs: boolean
  /** Give the process a pseudo-terminal. Where the caller's stdin is not handed on, nobody types on it. */
  readonly terminal: boolean
  readonly shmSizeBytes?: number
  readonly limits: ResourceLimits
  readonly rlimits?: readonly ProcessLimit[]
  /** The cgroup below which the container's own one is made; undefined: the root. */
  readonly cgroupParent?: string
}

/** A limit of setrlimit(2), by its name in lower case (`nofile`); -1 is unlimited. */
export interface ProcessLimit {
  readonly name: string
  readonly soft: number
  readonly hard: number
}

/** Stands for the address of this machine as the container sees it, in `SandboxPlan.extraHosts`. */
export const hostGateway = 'host-gateway'

/** Numeric ids: names are resolved before, in the container's own /etc/passwd. */
export interface SandboxUser {
  readonly uid: number
  readonly gid: number
  readonly additionalGids: readonly number[]
}

/**
 * The root filesystem: an overlay of committed layer directories, bottom first, and a writable pair.
 *
 * `upper` receives the changes. `upper` and `work` exist, are empty and lie on one filesystem.
 */
export interface Rootfs {
  readonly hostLowers: readonly string[]
  readonly hostUpper: string
  readonly hostWork: string
}

/** Something mounted over the root filesystem. Missing mount points are made and, when still empty, removed after. */
export type SandboxMount =
  | { readonly kind: 'bind'; readonly hostPath: string; readonly target: string; readonly readonly: boolean }
  /** A writable view on committed directories whose changes are thrown away (`RUN --mount=type=bind,rw`). */
  | {
      readonly kind: 'overlay'
      readonly hostLowers: readonly string[]
      readonly subpath: string
      readonly target: string
      readonly readonly: boolean
    }
  | { readonly kind: 'tmpfs'; readonly target: string; readonly sizeBytes?: number; readonly mode?: number }
  /** A file that exists in memory only: a secret. */
  | {
      readonly kind: 'memory-file'
      readonly target: string
      readonly content: Uint8Array
      readonly uid: number
      readonly gid: number
      readonly mode: number
    }

/** `none`: only loopback. `default`: a private network with a way out. `host`: the host's own. */
export type NetworkMode = 'default' | 'host' | 'none'

/** Limits; an absent one is unlimited. Sizes are bytes. */
export interface ResourceLimits {
  readonly memoryBytes?: number
  readonly memorySwapBytes?: number
  readonly cpus?: number
  readonly cpuShares?: number
  /** Microseconds of CPU time in each `cpuPeriodUs`; not together with `cpus`. -1 is unlimited. */
  readonly cpuQuotaUs?: number
  readonly cpuPeriodUs?: number
  readonly cpusetCpus?: string
  /** Memory nodes. */
  readonly cpusetMems?: string
  readonly pids?: number
}

/** Where the container's standard streams go. `inherit` hands over the caller's own file descriptors. */
export interface SandboxIo {
  readonly stdin: 'ignore' | 'inherit'
  readonly onStdout: 'inherit' | ((data: Uint8Array) => void)
  readonly onStderr: 'inherit' | ((data: Uint8Array) => void)
  /** Is given, when the runtime starts, the way to send signals to the container's first process. */
  readonly onStarted?: ((kill: (signal: NodeJS.Signals) => void) => void) | undefined
}

/** How the container's first process ended. A set-up failure is not one of these: it is a thrown `SandboxError`. */
export interface ExitStatus {
  /** 0–255; 128 + n when killed by signal n. */
  readonly exitCode: number
  /** `SIGKILL` and the like, when it was killed. */
  readonly signal: string | undefined
  /** True when the kernel's out-of-memory killer ended it because of `limits`. */
  readonly outOfMemory: boolean
}

/** Runs containers. One per mille process; made by `openSandbox`, released with `await using`. */
export interface Sandbox extends AsyncDisposable {
  /**
   * Runs one container to its end. When `signal` aborts: SIGTERM, after 5 s SIGKILL, then the rejection.
   * After it settles no process and no mount of the container is left.
   *
   * @throws SandboxError SANDBOX_NO_RUNTIME, SANDBOX_SETUP_FAILED, SANDBOX_MOUNT_FAILED, SANDBOX_NETWORK_FAILED,
   * SANDBOX_COMMAND_NOT_FOUND (docker's 127), SANDBOX_COMMAND_NOT_EXECUTABLE (docker's 126)
   */
  run(plan: SandboxPlan, io: SandboxIo, signal: AbortSignal): Promise<ExitStatus>
  /** A directory in memory that only this process and its containers' mounts see: what is in it is gone with the process. */
  privateDirectory(): Promise<string>
  /** Starts what the first `run` will need (the runtime probe, a private network) without waiting for it. */
  warmUp(network: NetworkMode): void
  /** No container is expected for now: lets go of what is kept for the next, without waiting for it. */
  rest(): void
}
