/**
 * The build plan: a graph of operations as plain, serialisable data.
 *
 * An op is everything that says what a step does and nothing that says how it looks: names, spans and cache wishes are
 * on the vertex. Inputs are numbers into `Vertex.inputs`. No op holds a path of this machine, an open file or a function,
 * so the same plan can be solved elsewhere (design.md, section 2).
 */
import type { DiffID, Digest } from '../core/digest.js'
import type { ImageConfig } from '../core/image.js'
import type { Platform } from '../core/platform.js'
import type { SourceFile, Span } from '../core/span.js'

declare const vertexBrand: unique symbol
/** sha256 of the canonical form of `{op, inputs}`. */
export type VertexId = string & { readonly [vertexBrand]: true }

/** One node of the graph. Equal ops on equal inputs have equal ids and so are one vertex. */
export interface Vertex {
  readonly id: VertexId
  readonly op: Op
  readonly inputs: readonly VertexId[]
  /** What people read: `[build 2/5] RUN npm ci`. */
  readonly name: string
  readonly span?: Span
  /** Run even if a cached result exists (`--no-cache`). */
  readonly ignoreCache: boolean
}

/** The layers of an image that was pinned to a digest. */
export interface ImageOp {
  readonly kind: 'image'
  /** In full, as it was asked for (`docker.io/library/debian:12`). For pulls and messages, not for keys. */
  readonly reference: string
  /** The manifest that was pinned; undefined for an image that exists only in the local store. */
  readonly manifest?: Digest
  readonly platform: Platform
  readonly config: Digest
  /** Bottom first. Their ChainID is the op's identity. */
  readonly diffIds: readonly DiffID[]
}

/** Files handed to the build: the main context (`name` is `context`) or a `--build-context`. */
export interface ContextOp {
  readonly kind: 'context'
  readonly name: string
  /** `.dockerignore` patterns, cleaned, in file order. */
  readonly ignore: readonly string[]
}

/** Files whose content is in the Dockerfile (heredocs). Modes are 0644. */
export interface InlineOp {
  readonly kind: 'inline'
  readonly files: readonly { readonly name: string; readonly content: string; readonly mode: number }[]
}

/** One file fetched over http(s). */
export interface HttpOp {
  readonly kind: 'http'
  readonly url: string
  readonly filename: string
  readonly checksum?: string
}

/** A tree fetched from a git repository. */
export interface GitOp {
  readonly kind: 'git'
  readonly remote: string
  readonly ref?: string
  readonly subdir?: string
  readonly keepGitDir: boolean
  readonly checksum?: string
  readonly submodules: boolean
  /** Fetch the commit that `checksum` names, whatever `ref` points at by now. */
  readonly fetchByCommit: boolean
  /** Times of the files: those of the check-out, or the commit's. */
  readonly mtime: 'checkout' | 'commit'
}

/** Owner as written after expansion: names or numbers; resolved in the rootfs that is written to. */
export interface OwnerSpec {
  readonly user: string
  readonly group?: string
}

/** What COPY and ADD do. The result is one layer. */
export interface CopyOp {
  readonly kind: 'copy'
  /** The input that is written to; undefined: an empty rootfs (`FROM scratch`, `--link`). */
  readonly base?: number
  readonly sources: readonly CopySource[]
  /** Absolute; ends in `/` when it must be a directory. */
  readonly destination: string
  readonly owner?: OwnerSpec
  /** Octal digits or a symbolic mode, already expanded. */
  readonly chmod?: string
  readonly exclude: readonly string[]
  readonly parents: boolean
}

/** One source of a copy. */
export interface CopySource {
  readonly input: number
  /**
   * Relative to the root of the input, cleaned, clamped; `.` for all of it. With `parents` it may hold one `/./`: what is
   * before that is not kept in the destination.
   */
  readonly path: string
  /** `path` may have `*`, `?`, `[…]` (and `**` where `parents` is set); no match is then no error. */
  readonly wildcard: boolean
  /** ADD: unpack archives found by content. */
  readonly unpack: 'never' | 'auto' | 'always'
  /** Keep the source's owners (COPY --from); otherwise 0:0 where no owner is given. */
  readonly keepOwner: boolean
  /** A selected directory comes itself, with its own mode and time: what is mounted is the directory, not its contents. */
  readonly wholeDirectory?: true
}

/** A mount of an exec op, beside its rootfs. `input` is an index into `Vertex.inputs`. */
export type ExecMount =
  | {
      readonly kind: 'bind'
      readonly input: number
      readonly source: string
      readonly target: string
      readonly readonly: boolean
    }
  | {
      readonly kind: 'cache'
      readonly id: string
      readonly target: string
      readonly sharing: 'shared' | 'private' | 'locked'
      /** What a new cache starts from; undefined: an empty directory. */
      readonly input?: number
      readonly source: string
      readonly uid: number
      readonly gid: number
      readonly mode: number
      readonly readonly: boolean
    }
  | { readonly kind: 'tmpfs'; readonly target: string; readonly sizeBytes?: number }
  /**
   * What `--volume` mounts at `target`; where that is on this machine only the runner knows. With an `input` (a context) its
   * content below `source` is in the key. `overlay`: what is written is thrown away. `chown`: its files are given to the user.
   */
  | {
      readonly kind: 'volume'
      readonly target: string
      readonly access: 'ro' | 'rw' | 'overlay'
      readonly input?: number
      readonly source?: string
      readonly chown: boolean
    }
  | {
      readonly kind: 'secret'
      readonly id: string
      readonly target?: string
      readonly env?: string
      readonly required: boolean
      readonly uid: number
      readonly gid: number
      readonly mode: number
    }
  | {
      readonly kind: 'ssh'
      readonly id: string
      readonly target: string
      readonly required: boolean
      readonly uid: number
      readonly gid: number
      readonly mode: number
    }

/** What the command line says of how all commands of a build are held. Absent fields are the usual. */
export interface Confinement {
  /** Limits of setrlimit(2) by name in lower case; -1 is unlimited. */
  readonly ulimits?: readonly { readonly name: string; readonly soft: number; readonly hard: number }[]
  readonly cgroupParent?: string
  readonly noNewPrivileges?: boolean
  /** `profile` is the JSON text of one in Docker's form. */
  readonly seccomp?: 'unconfined' | { readonly profile: string }
}

/** A command run in a container. The result is the layer of what it changed in its rootfs. */
export interface ExecOp {
  readonly kind: 'exec'
  /** The input that is the rootfs; undefined: an empty one. */
  readonly base?: number
  readonly argv: readonly string[]
  /** `NAME=value`, in order. Proxy variables that were not declared are not here. */
  readonly env: readonly string[]
  readonly cwd: string
  /** As in USER: name or number, optional group; empty for root. */
  readonly user: string
  readonly hostname: string
  readonly network: 'default' | 'host' | 'none'
  readonly security: 'sandbox' | 'insecure'
  readonly mounts: readonly ExecMount[]
  /** Names of `--add-host`; their addresses are outside the key. */
  readonly hostNames: readonly string[]
  readonly shmSizeBytes?: number
  readonly confinement?: Confinement
}

/** Creates a directory with its parents (WORKDIR). */
export interface MkdirOp {
  readonly kind: 'mkdir'
  readonly base?: number
  readonly path: string
  readonly mode: number
  readonly owner?: OwnerSpec
}

/**
 * Puts finished layers on top of a base without looking at it (`COPY --link`).
 *
 * The result is the layers of `base`, then those of each of `layers`. Nothing is run and no layer is made, so a changed
 * base leaves the linked layers and their digests as they were.
 */
export interface MergeOp {
  readonly kind: 'merge'
  readonly base?: number
  readonly layers: readonly number[]
}

/** Every kind of step. */
export type Op = ImageOp | ContextOp | InlineOp | HttpOp | GitOp | CopyOp | ExecOp | MkdirOp | MergeOp

/** One line of the history of the image to be; `vertex` is set for the entries that have a layer. */
export interface PlannedHistory {
  readonly createdBy: string
  readonly comment?: string
  readonly vertex?: VertexId
  /** Taken over from the base as it is: has its own time. */
  readonly inherited?: { readonly created?: string; readonly author?: string; readonly emptyLayer: boolean }
}

/** One image to make: the config without what only the solution knows (`rootfs`, `history`, `created`). */
export interface PlannedImage {
  readonly platform: Platform
  /** The vertex whose layers are the root filesystem; undefined: no layers. */
  readonly rootfs: VertexId | undefined
  readonly config: Omit<ImageConfig, 'rootfs' | 'history' | 'created'>
  readonly history: readonly PlannedHistory[]
}

/** Files that an SBOM lists besides the image's: those of a stage, or the context. `vertex` is undefined for an empty tree. */
export interface PlannedScan {
  readonly name: string
  readonly vertex: VertexId | undefined
}

/** The whole plan. `vertices` are in topological order: inputs come before their users. */
export interface BuildPlan {
  readonly version: 1
  readonly source: SourceFile
  readonly vertices: readonly Vertex[]
  readonly image: PlannedImage
  /** Only where an SBOM was asked for; their vertices are in the plan too. */
  readonly scans?: readonly PlannedScan[]
}
