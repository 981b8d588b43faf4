/**
 * Options and results of the library. What is left out gets the default that its line names; the defaults are filled in
 * once, by `engineDefaults` and `build`.
 */
import type { ResourceLimits } from '../../sandbox/plan.js'
import type { AttestationOptions } from '../attest/options.js'
import type { GhaCacheSettings, S3CacheSettings } from '../cache/places.js'
import type { BuildEvent } from '../core/context.js'
import type { Compression, Descriptor } from '../core/descriptor.js'
import type { Diagnostic } from '../core/diagnostic.js'
import type { Digest } from '../core/digest.js'
import { type Platform, platformOf } from '../core/platform.js'
import type { StepReason } from '../core/reason.js'
import type { Confinement } from '../graph/op.js'
import type { SshSource } from '../ops/ssh-agent.js'
import type { GcSettings } from '../store/policy.js'
import type { LoggedStep } from './step-log.js'

/** What every operation needs: where the store is, who is asked for what, and who listens. */
export interface EngineOptions {
  /** The store's directory; `/var/lib/mille`. */
  readonly root?: string | undefined
  /** An OCI runtime by name or path; the first that works. */
  readonly runtime?: string | undefined
  /** Where what lives as long as the process is kept; `/run/mille`. */
  readonly stateDirectory?: string | undefined
  /** Variables in which credentials, proxies and certificates are looked for; none. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** The home directory for `~/.docker`, where `env` has no HOME; `/root`. */
  readonly home?: string | undefined
  /** Hosts that may be spoken to over http; none but loopback addresses. */
  readonly insecureRegistries?: readonly string[] | undefined
  /** What other processes are told that wait for this one's work; `mille`. */
  readonly command?: string | undefined
  /** Times as ms since 1970; `Date.now`. */
  readonly now?: (() => number) | undefined
  /** Stops the work; the promise then rejects with a CancelledError. */
  readonly signal?: AbortSignal | undefined
  /** Told of everything that happens; nobody. */
  readonly onEvent?: ((event: BuildEvent) => void) | undefined
}

/** The same with every default. */
export interface EngineSettings {
  readonly root: string
  readonly runtime: string | undefined
  readonly stateDirectory: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly home: string
  readonly insecureRegistries: readonly string[]
  readonly command: string
  readonly now: () => number
  readonly signal: AbortSignal
  readonly onEvent: (event: BuildEvent) => void
  readonly hostPlatform: Platform
}

/** Fills in the defaults. */
export function engineDefaults(options: EngineOptions): EngineSettings {
  return {
    root: options.root ?? '/var/lib/mille',
    runtime: options.runtime,
    stateDirectory: options.stateDirectory ?? '/run/mille',
    env: options.env ?? {},
    home: options.home ?? '/root',
    insecureRegistries: options.insecureRegistries ?? [],
    command: options.command ?? 'mille',
    now: options.now ?? Date.now,
    signal: options.signal ?? new AbortController().signal,
    onEvent: options.onEvent ?? (() => undefined),
    hostPlatform: platformOf(process.platform, process.arch),
  }
}

/** A secret's value, or the file that has it. */
export type SecretSource = ({ readonly file: string } | { readonly value: string | Uint8Array }) & {
  /** Run steps that use it again when its value changed: a salted hash of it is in their keys; false. */
  readonly inKey?: boolean
}

/** The Dockerfile: a path, `-` or an http(s) URL, or a text with the name that messages give it. */
export type DockerfileSource = { readonly path: string } | { readonly name: string; readonly text: string }

/** When a base image that is here already is asked for at the registry. */
export type PullPolicy = 'missing' | 'always' | 'never'

/** The times in what is exported. */
export interface TimestampOptions {
  /** Seconds since 1970 that no time is later than; the SOURCE_DATE_EPOCH of the build. */
  readonly sourceDateEpoch?: number | undefined
  /** The times of files too, except those of base images; true. */
  readonly rewriteTimestamp?: boolean | undefined
}

/** How layers are compressed in what is exported. */
export interface CompressionOptions {
  /** `gzip`. */
  readonly compression?: Compression | undefined
  /** 0–9 of gzip, 1–22 of zstd; mille's own. */
  readonly compressionLevel?: number | undefined
  /** Compress layers anew that are known with another compression; false. */
  readonly forceCompression?: boolean | undefined
}

/** How the files of several platforms are kept apart, and what attestations are called. */
export interface SplitOptions {
  /** Put before the name of each attestation; empty. */
  readonly attestationPrefix?: string | undefined
  /** A directory `os_arch` for each platform; where there are several. */
  readonly platformSplit?: boolean | undefined
}

/** What of an image an annotation is for. Descriptors of manifests stand in the index. */
export type AnnotationLevel = 'manifest' | 'index' | 'manifest-descriptor' | 'index-descriptor'

/** An annotation of an image. */
export interface ImageAnnotation {
  readonly level: AnnotationLevel
  /** Only the manifest for this platform; each. */
  readonly platform?: Platform | undefined
  readonly key: string
  readonly value: string
}

/** Where an image goes, besides or instead of the store. */
export type BuildOutput =
  /** Into the store, with `tags` and those of `names`; pushed when `push` is set. */
  | ({
      readonly type: 'image'
      readonly names?: readonly string[] | undefined
      readonly push?: boolean | undefined
      /** Push manifests in OCI's media types; true. */
      readonly ociMediaTypes?: boolean | undefined
      /** Write attestations as OCI artifacts that refer to the image; false. */
      readonly ociArtifact?: boolean | undefined
      /** What is for an index needs one (several platforms, attestations), and not only the store as its place. */
      readonly annotations?: readonly ImageAnnotation[] | undefined
    } & CompressionOptions &
      TimestampOptions)
  /** An OCI layout or a docker archive: a tar at `dest`, to `stream`, or with `tar: false` a directory. */
  | ({
      readonly type: 'oci' | 'docker'
      readonly dest: string | { readonly stream: NodeJS.WritableStream }
      readonly tar?: boolean | undefined
      /** Write attestations as OCI artifacts that refer to the image; false. */
      readonly ociArtifact?: boolean | undefined
      readonly names?: readonly string[] | undefined
      /** What is for an index needs one (several platforms, attestations), and not only the store as its place. */
      readonly annotations?: readonly ImageAnnotation[] | undefined
    } & CompressionOptions &
      TimestampOptions)
  /** The root filesystem as files in a directory. */
  | ({ readonly type: 'local'; readonly dest: string } & SplitOptions & TimestampOptions)
  /** The root filesystem as a tar. */
  | ({ readonly type: 'tar'; readonly dest: string | { readonly stream: NodeJS.WritableStream } } & SplitOptions &
      TimestampOptions)

/** Which layers of the image become one: all that the build made on its base, all there are, or the last so many. */
export type Squash = 'stage' | 'all' | number

/** A volume for RUN: a file or directory of this machine, or one of the store's volumes by name. */
export interface BuildVolume {
  readonly source: { readonly hostPath: string } | { readonly name: string }
  /** Absolute, clean, not `/`. */
  readonly target: string
  /** `overlay`: RUN may write, and what it writes is thrown away. */
  readonly access: 'ro' | 'rw' | 'overlay'
  /** Give its files to the user of the step; false. */
  readonly chown?: boolean | undefined
  /** For `rw` and names: steps may come from the cache, whatever is in it; false. */
  readonly cacheable?: boolean | undefined
}

/** A place that a cache is kept in. */
export type CachePlace =
  /** An artifact in a registry; for reading also an image with an inline cache. */
  | { readonly type: 'registry'; readonly ref: string }
  /** An OCI layout in a directory; `latest`. */
  | { readonly type: 'local'; readonly path: string; readonly tag?: string | undefined }
  /** Objects in a bucket. */
  | ({ readonly type: 's3' } & S3CacheSettings)
  /** Entries of the cache service of GitHub Actions. */
  | ({ readonly type: 'gha' } & GhaCacheSettings)

/** A cache to look into. */
export type CacheFrom = CachePlace & {
  /** `verify` takes nothing from it: what is built is compared with what it says; `all`. */
  readonly trust?: 'all' | 'verify' | undefined
  /** Fill new cache mounts with what it has of them; true. */
  readonly mounts?: boolean | undefined
}

/** A cache to write, besides the store. */
export type CacheTo = (CachePlace | { readonly type: 'inline' }) & {
  /** `min`: the layers of the result. `max`: all steps; `min`. */
  readonly mode?: 'min' | 'max' | undefined
  /** `gzip`. */
  readonly compression?: Compression | undefined
  readonly forceCompression?: boolean | undefined
  /** Warn when it cannot be written, and succeed; false. */
  readonly ignoreError?: boolean | undefined
  /** Take the files of cache mounts along; false. */
  readonly mounts?: boolean | undefined
}

/** What was taken from a cache, or written to one. */
export interface CacheSummary {
  /** As the user wrote it. */
  readonly name: string
  /** One line: `imported 14 records from reg/app:cache, 12 hit, 2 misses (src/ changed)`. */
  readonly text: string
}

/** What to build and how. */
export interface BuildOptions extends EngineOptions {
  /**
   * A directory; `-`: `stdin`; an http(s) URL of a tar or a Dockerfile; a git URL; `docker-image://NAME`;
   * `oci-layout://PATH[:TAG][@DIGEST]`.
   */
  readonly context: string
  /** `Dockerfile` in the context, then `dockerfile`. */
  readonly dockerfile?: DockerfileSource | undefined
  /** What `-` stands for, as the context or the path of the Dockerfile. */
  readonly stdin?: AsyncIterable<Uint8Array> | undefined
  /** More contexts by name, as `context` but not from stdin. Fetched only when they are used. */
  readonly buildContexts?: Readonly<Record<string, string>> | undefined
  readonly tags?: readonly string[] | undefined
  /** SOURCE_DATE_EPOCH among them is the time that no time of the images is later than. */
  readonly buildArgs?: Readonly<Record<string, string>> | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** The last stage. */
  readonly target?: string | undefined
  /** An image for each, under one name; this machine's. */
  readonly platforms?: readonly Platform[] | undefined
  /** Run everything, or all steps of these stages, again; false. */
  readonly noCache?: boolean | readonly string[] | undefined
  /** `missing`. */
  readonly pull?: PullPolicy | undefined
  /** The network of RUN; `default`. */
  readonly network?: 'default' | 'host' | 'none' | undefined
  /** More lines of /etc/hosts in RUN. */
  readonly addHosts?: readonly { readonly name: string; readonly address: string }[] | undefined
  readonly secrets?: Readonly<Record<string, SecretSource>> | undefined
  /** By id: the socket of an agent, or files with keys that have no passphrase. */
  readonly ssh?: Readonly<Record<string, SshSource>> | undefined
  /** Directories that stand in for the cache mounts with these ids. */
  readonly cacheMounts?: Readonly<Record<string, string>> | undefined
  /** Caches of other machines to look into, the first first; none. */
  readonly cacheFrom?: readonly CacheFrom[] | undefined
  /** Caches to write when the build has succeeded; none. */
  readonly cacheTo?: readonly CacheTo[] | undefined
  /** `NAME=value` of proxies for RUN; outside keys and history. */
  readonly proxyEnv?: readonly string[] | undefined
  readonly allow?: readonly ('network.host' | 'security.insecure')[] | undefined
  readonly shmSizeBytes?: number | undefined
  /** Layers of the image become one; none. */
  readonly squash?: Squash | undefined
  /** What RUN sees of this machine. */
  readonly volumes?: readonly BuildVolume[] | undefined
  /** Limits of RUN; outside keys. */
  readonly limits?: ResourceLimits | undefined
  /** How RUN is held besides; in keys. */
  readonly confinement?: Confinement | undefined
  /** Build twice without the cache, and refuse when the images differ; false. */
  readonly verifyReproducible?: boolean | undefined
  /** How many steps run at once; the number of cores, at least 4. */
  readonly jobs?: number | undefined
  /** One `image` output. */
  readonly outputs?: readonly BuildOutput[] | undefined
  /** Push the `image` output to its names; false. */
  readonly push?: boolean | undefined
  /** What is to be said about the image beside it; nothing. */
  readonly attestations?: AttestationOptions | undefined
  /** `source` and `revision` of the checkout that the context is, for provenance; not checked. */
  readonly vcs?: Readonly<Record<string, string>> | undefined
  /** Keep a record of the build in the store; true. */
  readonly history?: boolean | undefined
  /**
   * Bring the store within these limits when the build has ended, if it is time for that: as the command line does with
   * `MILLE_GC_…`; `{}` has the default limits. Nothing is removed without it.
   */
  readonly collect?: GcSettings | undefined
}

/** One step of a build, as it ended. */
export interface BuiltStep {
  readonly name: string
  readonly cached: boolean
  readonly key: Digest
  /** Why it ran. */
  readonly reason?: StepReason
}

/** What a build would do. */
export interface DryRunResult {
  readonly steps: readonly LoggedStep[]
  readonly warnings: readonly Diagnostic[]
  /** What is found in the caches of `cacheFrom`. */
  readonly caches: readonly CacheSummary[]
}

/** One image of a build. */
export interface BuiltImage {
  readonly imageId: Digest
  readonly platform: Platform
}

/** What a build made. */
export interface BuildResult {
  /** The digest of the config: docker's image id. Of several images that of this machine's platform, or the first. */
  readonly imageId: Digest
  /** All images, in the order of the platforms. */
  readonly images: readonly BuiltImage[]
  /** The manifest, or the index of several, where an output needed one; the last pushed one if any was. */
  readonly manifest: Descriptor | undefined
  /** The names that the image has in the store, in full. */
  readonly names: readonly string[]
  readonly steps: readonly BuiltStep[]
  readonly warnings: readonly Diagnostic[]
  /** What `cacheFrom` and `cacheTo` came to. */
  readonly caches: readonly CacheSummary[]
  /** For `--metadata-file`: buildx's keys. */
  readonly metadata: Readonly<Record<string, unknown>>
  /** What the collection that `collect` asks for removed; absent where none took place. */
  readonly collected?: { readonly count: number; readonly bytes: number }
}
