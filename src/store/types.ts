/**
 * What the store offers to the rest of mille. `openStore` (store/store.ts) returns a `Store`.
 *
 * On disk (design.md, section 4), below one root that any number of processes share:
 *
 *   oci-layout, index.json     with blobs/ a valid OCI image layout: lists the images whose blobs are all here
 *   blobs/sha256/<hex>         complete, immutable; written to tmp/, hashed, fsynced, renamed
 *   snapshots/<id>/            the files of one layer in overlay form (whiteouts are 0:0 devices), or those that it has
 *                              otherwise than the layer it lies over; 8-character ids
 *   layers/<hex>.json          LayerRecord by DiffID
 *   records/<2 hex>/<hex>.json CacheRecord by key
 *   images/<hex>.json          StoredImage by config digest
 *   tags/<encoded name>.json   name → image
 *   active/<lease>/<id>/{fs,work}   snapshots being written; removed by the next process when the lease's flock is free
 *   leases/<lease>             one flocked file for each process that writes
 *   claims/<kind>-<hex>        work that one process does and others would do too, flocked (store/claims.ts)
 *   memo/                      hashes of context files, names in directories (src/context), what copies wrote (src/ops)
 *   cache-mounts/<id>/         RUN --mount=type=cache; <id>.lock beside it, and <id>.id with its name and use
 *   git/<id>.git/              a repository of a git source, bare, flocked by <id>.git.lock; known_hosts of ssh
 *   logs/                      whole output of steps
 *   explain/                   what steps depended on when they ran, and when records were pruned (src/explain)
 *   history/                   build records (store/builds.ts)
 *   gc/                        what the last collection left, and what was added since (store/gc-state.ts)
 *   tmp/                       half-written files, named by lease
 */
import type { Readable } from 'node:stream'
import type { Descriptor } from '../core/descriptor.js'
import type { DiffID, Digest } from '../core/digest.js'
import type { Platform } from '../core/platform.js'

/** The store of one root directory. Opening is cheap and makes no lock; the first write takes a lease. */
export interface Store extends AsyncDisposable {
  readonly root: string
  readonly blobs: Blobs
  readonly layers: Layers
  readonly snapshots: Snapshots
  readonly images: Images
  readonly records: Records
  /**
   * Forgets what was found, and takes the lease: what is found from now on stays as long as this process lives. For who looks
   * for things and is going to write something made of them.
   */
  hold(): void
  /** An absolute path below the root for a named purpose; the directory is made. */
  directory(name: 'logs' | 'memo' | 'cache-mounts' | 'explain' | 'git' | 'history'): string
}

/** Content-addressed bytes. */
export interface Blobs {
  has(digest: Digest): boolean
  pathOf(digest: Digest): string
  /** A verified stream: ends with STORE_SIZE_MISMATCH or STORE_DIGEST_MISMATCH when the bytes are not what was said. */
  open(blob: { readonly digest: Digest; readonly size?: number }): Readable
  /** A small blob in memory, verified; at most `limitBytes` (default 4 MiB). */
  read(blob: { readonly digest: Digest; readonly size?: number }, limitBytes?: number): Promise<Buffer>
  /** Stores bytes; with `expected` they must match. Writing what is there already is not an error. */
  write(
    bytes: AsyncIterable<Uint8Array>,
    expected: { readonly digest: Digest; readonly size?: number } | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly digest: Digest; readonly size: number }>
  writeBytes(bytes: Uint8Array | string): Digest
  /** The same, without holding up this thread while the disk writes. */
  keepBytes(bytes: Uint8Array | string): Promise<Digest>
  /** A path for a file that a worker will fill; removed with this process unless it is adopted. */
  temporaryPath(): string
  /** Makes a finished file from `temporaryPath` a blob; whoever wrote it has hashed it. */
  adopt(path: string, digest: Digest): void
}

/** What is known of one layer. */
export interface LayerRecord {
  readonly diffId: DiffID
  /** The directory in `snapshots/`; undefined while only a blob is known (a base that nothing had to read yet). */
  readonly snapshot?: string
  /**
   * The layer whose files lie below those of `snapshot`, which then has only what that layer has not or has otherwise, and
   * deletes nothing. That layer's own snapshot is whole.
   */
  readonly over?: DiffID
  /** sha256 over the sorted entries without times. */
  readonly contentId?: Digest
  /** For the keys of steps on a layer without a content id: that of another layer, or its DiffID, that has the same files. */
  readonly sameFilesAs?: Digest
  /** Bytes of the layer's files. */
  readonly size: number
  /** Compressed forms that were unpacked here, or made here, and so are known to be this layer: in `blobs/` or at `sources`. */
  readonly blobs: readonly Descriptor[]
  /** Where a missing blob can be fetched: `registry/repository` each. */
  readonly sources: readonly string[]
  /** What images from outside say is this layer. Nothing but unpacking may believe it; gone once the files are here. */
  readonly claims?: readonly LayerClaim[]
  /** The layer that this one was made of by taking back later times: its files are those of that layer until they are needed. */
  readonly rewriteOf?: LayerRewrite
}

/** Another layer, and the seconds since 1970 that no time is later than. */
export interface LayerRewrite {
  readonly diffId: DiffID
  readonly epoch: number
}

/** A manifest says that `blob`, which `source` has, is a layer. Anybody can say that of any blob. */
export interface LayerClaim {
  readonly blob: Descriptor
  readonly source: string
}

/** Layers by DiffID. */
export interface Layers {
  find(diffId: DiffID): LayerRecord | undefined
  /** Saves or merges: blobs and sources are united; an existing snapshot is kept, and the record in force returned. */
  save(record: LayerRecord): LayerRecord
  /** The layers whose files are here and have this many bytes. The first call reads all records. */
  ofSize(size: number): readonly DiffID[]
  /** Looks at the disk again: another process may have unpacked the layer meanwhile. */
  refresh(diffId: DiffID): LayerRecord | undefined
  /** Looks at the disk again: true when all are still there. For the end of a build that took no lease. */
  arePresent(diffIds: readonly DiffID[]): boolean
  /** Drops what others say of a layer whose files were never here, so that its steps are misses. */
  forget(diffId: DiffID): void
}

/** A directory that is being filled. Disposing it without `commit` removes it. */
export interface ActiveSnapshot extends AsyncDisposable {
  readonly id: string
  /** The overlay upper directory: empty, mode 0755, owned by root. */
  readonly upper: string
  /** The overlay work directory. */
  readonly work: string
  /**
   * Moves `upper` to its final place, from where it is never changed.
   *
   * @param entries from `digestLayer` or `applyLayer`: what is compared after the machine went down. Without it the
   * snapshot is not believed then.
   */
  commit(entries?: string): Promise<string>
}

/** Committed layer directories. */
export interface Snapshots {
  prepare(): Promise<ActiveSnapshot>
  /** The absolute path of a committed snapshot. */
  pathOf(id: string): string
  has(id: string): boolean
}

/** An image in the store: the config is a blob; the layers are `LayerRecord`s. */
export interface StoredImage {
  /** The config's digest: docker's "image id". */
  readonly id: Digest
  readonly platform: Platform
  readonly diffIds: readonly DiffID[]
  /** When it came to this store, ms since 1970. */
  readonly storedAt: number
  /** `created` of the config, as it is there. */
  readonly created?: string
  /** Manifests that describe it exactly, as pulled, loaded, exported or pushed, newest last. */
  readonly manifests: readonly Descriptor[]
  /** What its build said about it; a push or save takes it along. */
  readonly attestations?: StoredAttestations | undefined
}

/** Attestations of an image. Statements are made when it is known of which manifest. */
export interface StoredAttestations {
  /** In an index with the image, or beside it. */
  readonly storage: 'index' | 'referrers'
  readonly items: readonly {
    readonly predicateType: string
    readonly fileName: string
    readonly inlineOnly: boolean
    /** The predicate, a JSON blob. */
    readonly predicate: Descriptor
  }[]
}

/** A name of an image. */
export interface Tag {
  /** In full: `docker.io/library/debian:12`. */
  readonly reference: string
  /** Of several images the one for this machine, or the first. */
  readonly image: Digest
  /** All images of a name that stands for several platforms, in the order of its index; `image` is one of them. */
  readonly images?: readonly Digest[]
  /** The digest the registry knows for this name (of the manifest or index); undefined for names given here. */
  readonly remoteDigest?: Digest
}

/** Images and their names. */
export interface Images {
  save(image: StoredImage): void
  get(id: Digest): StoredImage | undefined
  /** Looks at the disk: true when the image, its config and all its layers are there. For the end of a warm build. */
  isWhole(id: Digest): boolean
  /** By name in full, by id, by a unique prefix of an id. Throws IMAGE_AMBIGUOUS for a prefix of several. */
  find(text: string): StoredImage | undefined
  list(): readonly StoredImage[]
  tags(): readonly Tag[]
  tagOf(reference: string): Tag | undefined
  setTag(tag: Tag): void
  /** False when there was no such name. */
  removeTag(reference: string): boolean
  remove(id: Digest): void
}

/** Finished steps by key; see `CacheRecord` in solver/ports.ts, of which this is the stored form. */
export interface Records {
  find(key: Digest): StoredRecord | undefined
  /** The same without counting as a use: changes nothing. */
  peek(key: Digest): StoredRecord | undefined
  save(record: StoredRecord): void
}

/** A cache record as it is on disk. Times are ms since 1970. */
export interface StoredRecord {
  readonly key: Digest
  readonly by: 'definition' | 'content'
  readonly layers: readonly DiffID[]
  readonly layerTimes: readonly number[]
  readonly createdAt: number
  readonly contentId?: Digest
  readonly size: number
  readonly components: Readonly<Record<string, string>>
  readonly name: string
  /** In a record by definition: the key by content of the same step. A cache that goes to other machines needs both. */
  readonly contentKey?: Digest
  /** The key by what the step took of its inputs, where that was not all of them. */
  readonly selectedKey?: Digest
}
