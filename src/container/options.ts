/** What a container is started with: plain data, every default filled in by the command line. */
import type { Confinement } from '../graph/op.js'

/** A mount asked for by `-v`, `--mount` or `--tmpfs`. Targets are absolute paths in the container. */
export type ContainerMount =
  /** `create`: make the directory on the host when it is missing, as `-v` does. */
  | {
      readonly kind: 'bind'
      readonly hostPath: string
      readonly target: string
      readonly readonly: boolean
      readonly create: boolean
    }
  /** A volume; without a name it is thrown away with the container. */
  | { readonly kind: 'volume'; readonly name: string | undefined; readonly target: string; readonly readonly: boolean }
  | { readonly kind: 'tmpfs'; readonly target: string; readonly sizeBytes?: number; readonly mode?: number }

/** One container. Absent texts mean "as the image says". */
export interface RunOptions {
  /** The words after the image. */
  readonly command: readonly string[]
  /** Undefined: the image's; a list replaces it and drops the image's CMD. */
  readonly entrypoint: readonly string[] | undefined
  /** `NAME=value`; a later one wins. */
  readonly env: readonly string[]
  readonly workdir: string | undefined
  readonly user: string | undefined
  readonly hostname: string | undefined
  readonly name: string | undefined
  readonly network: 'default' | 'host' | 'none'
  readonly mounts: readonly ContainerMount[]
  readonly extraHosts: readonly { readonly name: string; readonly address: string }[]
  readonly readonlyRootfs: boolean
  readonly privileged: boolean
  readonly interactive: boolean
  readonly terminal: boolean
  readonly shmSizeBytes: number | undefined
  /** `--security-opt`. */
  readonly confinement: Pick<Confinement, 'noNewPrivileges' | 'seccomp'>
  readonly limits: {
    readonly memoryBytes?: number
    readonly memorySwapBytes?: number
    readonly cpus?: number
    readonly cpuShares?: number
    readonly cpusetCpus?: string
    readonly pids?: number
  }
}
