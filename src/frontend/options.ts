/** What a Dockerfile is planned with: everything from outside the file. Defaults are filled in here, once. */
import type { Platform } from '../core/platform.js'
import type { Confinement } from '../graph/op.js'

/** What `--build-context name=…` stands for. `ignore` are that context's own ignore patterns. */
export type NamedContext =
  | { readonly kind: 'context'; readonly name: string; readonly ignore: readonly string[] }
  | { readonly kind: 'image'; readonly reference: string }

/** Rights a build may be given beyond the sandbox (`--allow`). */
export type Entitlement = 'network.host' | 'security.insecure'

/** A volume for all RUN steps (`--volume`). */
export interface StepVolume {
  readonly target: string
  readonly access: 'ro' | 'rw' | 'overlay'
  /** The context that stands for its content, and the place in it; undefined: its content is not in keys. */
  readonly content: { readonly context: string; readonly path: string } | undefined
  readonly chown: boolean
  /** Steps may come from the cache although the content is not in their keys. */
  readonly cacheable: boolean
}

/** Options of `analyze`, `resolve` and `lower`. */
export interface FrontendOptions {
  /** The stage asked for, by name or number; undefined: the last one. */
  readonly target: string | undefined
  readonly buildArgs: Readonly<Record<string, string>>
  /** What the image is for; undefined: `buildPlatform`. A build for several platforms has a plan for each. */
  readonly platform: Platform | undefined
  /** The plan is one of several: its steps say for which platform they are. */
  readonly isOneOfSeveral: boolean
  /** This machine's platform: the BUILD* arguments. */
  readonly buildPlatform: Platform
  /** By name as given; `name::os/arch` holds for one platform only. */
  readonly contexts: Readonly<Record<string, NamedContext>>
  /** Set when the main context is the files of an image, by its name for `ResolveWorld.lookup`. */
  readonly contextImage: string | undefined
  /** Patterns of the main context's ignore file, cleaned. */
  readonly ignore: readonly string[]
  /** `--label`: set last, not expanded. */
  readonly labels: Readonly<Record<string, string>>
  /** `--no-cache` (true) or the stages of `--no-cache-filter`. */
  readonly noCache: boolean | readonly string[]
  /** The network of RUN steps that ask for none. */
  readonly network: 'default' | 'host' | 'none'
  readonly allow: readonly Entitlement[]
  /** Names of `--add-host`. */
  readonly hostNames: readonly string[]
  readonly shmSizeBytes: number | undefined
  readonly confinement: Confinement
  readonly volumes: readonly StepVolume[]
  /** An SBOM is wanted: the plan says what else it lists. */
  readonly sbom: boolean
}

/** Options with every default, for a machine of platform `buildPlatform`. */
export function frontendOptions(buildPlatform: Platform, given: Partial<FrontendOptions> = {}): FrontendOptions {
  return {
    target: undefined,
    buildArgs: {},
    platform: undefined,
    isOneOfSeveral: false,
    buildPlatform,
    contexts: {},
    contextImage: undefined,
    ignore: [],
    labels: {},
    noCache: false,
    network: 'default',
    allow: [],
    hostNames: [],
    shmSizeBytes: undefined,
    confinement: {},
    volumes: [],
    sbom: false,
    ...given,
  }
}
