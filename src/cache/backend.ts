/**
 * What a place that keeps a cache must be able to do. Registries, directories and buckets implement it; everything that
 * is the same for all of them (merging, retrying, what is uploaded) is not their business.
 */
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import type { Digest } from '../core/digest.js'

/** A manifest as it is in a place. */
export interface FoundManifest {
  readonly bytes: Buffer
  readonly digest: Digest
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
  /** What the reference points at; undefined while there is nothing. */
  readManifest(ctx: Context): Promise<FoundManifest | undefined>
  /** A small blob, verified. @throws BuildError when it is missing, too large or has other bytes */
  readBlob(blob: Descriptor, limitBytes: number, ctx: Context): Promise<Buffer>
  fetchBlob(blob: Descriptor, write: WriteBlob, progressId: string, ctx: Context): Promise<void>
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
   * Points the reference at a manifest whose blobs are there, if it still points at `expected`.
   *
   * False when somebody else was faster, or may have been: read again, and write again what is missing.
   */
  swap(manifest: Buffer, expected: Digest | undefined, ctx: Context): Promise<boolean>
}
