/**
 * The image config: what a container is started with, and how the image came to be.
 *
 * Field names are the spec's (OCI image-spec config.md). `Healthcheck`, `OnBuild` and `Shell` are Docker's additions:
 * they are kept with OCI media types too, as BuildKit does, because Docker and podman honour them there.
 */
import type { DiffID } from './digest.js'

/** A health check; durations are nanoseconds, 0 or absent means "the default". */
export interface HealthConfig {
  readonly Test?: readonly string[]
  readonly Interval?: number
  readonly Timeout?: number
  readonly StartPeriod?: number
  readonly StartInterval?: number
  readonly Retries?: number
}

/** What a container of the image starts with. `Env` items are `NAME=value`. */
export interface ContainerConfig {
  readonly User?: string
  readonly ExposedPorts?: Readonly<Record<string, Record<string, never>>>
  readonly Env?: readonly string[]
  readonly Entrypoint?: readonly string[] | null
  readonly Cmd?: readonly string[] | null
  readonly Volumes?: Readonly<Record<string, Record<string, never>>>
  readonly WorkingDir?: string
  readonly Labels?: Readonly<Record<string, string>>
  readonly StopSignal?: string
  readonly ArgsEscaped?: boolean
  readonly Healthcheck?: HealthConfig
  readonly OnBuild?: readonly string[] | null
  readonly Shell?: readonly string[]
}

/** One line of `history`; the entries without `empty_layer` match `rootfs.diff_ids` one to one. */
export interface HistoryEntry {
  readonly created?: string
  readonly created_by?: string
  readonly author?: string
  readonly comment?: string
  readonly empty_layer?: boolean
}

/** The config blob of an image. `created` is RFC 3339. */
export interface ImageConfig {
  readonly architecture: string
  readonly os: string
  readonly variant?: string
  readonly 'os.version'?: string
  readonly 'os.features'?: readonly string[]
  readonly created?: string
  readonly author?: string
  readonly config?: ContainerConfig
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly DiffID[] }
  readonly history?: readonly HistoryEntry[]
}
