/**
 * What a place that keeps a cache must be able to do. Registries, directories and buckets implement it; everything that
 * is the same for all of them (merging, retrying, what is uploaded) is not their business.
 */
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import type { Digest } from '../core/digest.js'
import type { ChunkSizes } from './chunker.js'

/** A manifest as it is in a place. */
export interface FoundManifest {
  readonly bytes: Buffer
  readonly digest: Digest
  /** What the place calls it, where that is more than its digest. */
  readonly name?: string
}

/** How a blob came to be in the place. */
export type PutOutcome = 'existed' | 'mounted' | 'uploaded'

/** The bytes of a blob, from the start with each call. */
export type OpenBytes = () => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>

/** Stores the bytes of a blob, and checks size and digest on the way. */
export type WriteBlob = (bytes: AsyncIterable<Uint8Array>, blob: Descriptor, signal: AbortSignal) => Promise<unknown>

/** One place. */
export interface CacheBackend extends AsyncDisposable {
  /** As the user wrote it, for messages. */
  readonly name: string
  /** As it stands in layer records: `registry/repository`, or `cache+…` with what is needed to open it again. */
  readonly source: string
  /** True when what others wrote stays; false for a place that is one build's own and is written anew each time. */
  readonly merges: boolean
  /**
   * True where nothing but caches of mille can be under this name, and each read is a round trip: manifests carry their
   * records (`data` of the config), and one that cannot be read is replaced.
   */
  readonly isPrivate: boolean
  /** How cache mounts are cut for this place: one that counts requests wants fewer and larger chunks. */
  readonly mountChunkSizes: ChunkSizes
  /** What the name points at: nothing, one manifest, or those of several writers whose union the cache is. */
  readManifests(ctx: Context): Promise<readonly FoundManifest[]>
  /** A small blob, verified. @throws BuildError when it is missing, too large or has other bytes */
  readBlob(blob: Descriptor, limitBytes: number, ctx: Context): Promise<Buffer>
  fetchBlob(blob: Descriptor, write: WriteBlob, progressId: string, ctx: Context): Promise<void>
  /** Whether it is there. A place that forgets what nobody uses notes that it is used. */
  hasBlob(blob: Descriptor, ctx: Context): Promise<boolean>
  /** `mountSources`: repositories that have it already. */
  putBlob(
    blob: Descriptor,
    open: OpenBytes,
    mountSources: readonly string[],
    progressId: string,
    ctx: Context,
  ): Promise<PutOutcome>
  /**
   * Puts a manifest, whose blobs are there, in the place of those that were read.
   *
   * False when somebody else was faster, or may have been: read again, and write again what is missing.
   */
  swap(manifest: Buffer, read: readonly FoundManifest[], ctx: Context): Promise<boolean>
}
