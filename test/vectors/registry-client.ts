/** What the judges of the suite `registry` share: a client, a push and a pull as mille does them, the registry's answers. */
import { quietContext } from '../../src/core/context.js'
import type { Descriptor } from '../../src/core/descriptor.js'
import { BuildError } from '../../src/core/errors.js'
import type { Reference } from '../../src/core/reference.js'
import { collect } from '../../src/io/stream.js'
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from '../../src/registry/client.js'
import { pullBlobs } from '../../src/registry/pull.js'
import { type PushResult, pushImage } from '../../src/registry/push.js'
import { type ChunkPolicy, defaultChunkPolicy, type UploadOutcome, uploadBlob } from '../../src/registry/upload.js'
import {
  type Interference,
  type RegistryTraits,
  type SeenRequest,
  type SpecRegistry,
  startSpecRegistry,
} from '../helpers/spec-registry.js'
import { within } from '../helpers/within.js'
import type { Content, ContentManifest } from './registry-content.js'

/** The repository that the checks call `<name>`. */
export const repository = 'team/app'
export const ctx = quietContext()
/** The platform that everything is pulled for. */
export const amd64 = { os: 'linux', architecture: 'amd64' }
/** Paths of manifests. */
export const manifests = /\/manifests\//
/** A store that has nothing yet. */
export const nothingKnown = async (): Promise<undefined> => undefined
const limitMs = 20_000
const quick = { tries: 4, firstDelayMs: 2, longestDelayMs: 10, totalDelayMs: 500 }

/** A registry and a client that speaks to it. */
export interface Meeting {
  readonly registry: SpecRegistry
  readonly client: RegistryClient
  /** `<name>` in this registry. */
  readonly place: Pick<Reference, 'registry' | 'repository'>
}

/** Lets a new client meet a new registry. */
export async function meet<T>(
  traits: Partial<RegistryTraits>,
  work: (meeting: Meeting) => Promise<T>,
  interfere?: Interference,
  options: RegistryClientOptions = {},
): Promise<T> {
  await using registry = await startSpecRegistry(traits, interfere)
  await using client = createRegistryClient({ retry: quick, ...options })
  return await within(limitMs, work({ registry, client, place: { registry: registry.host, repository } }))
}

/** The `BuildError` that some work ends in. */
export async function errorOf(work: Promise<unknown>): Promise<BuildError> {
  try {
    await work
  } catch (error) {
    if (error instanceof BuildError) return error
    throw error
  }
  throw new Error('it did not fail')
}

/** The requests of a method whose path fits. */
export function requests(registry: SpecRegistry, method: string, path: RegExp): SeenRequest[] {
  return registry.seen.filter((seen) => seen.method === method && path.test(seen.path))
}

/** Brings one blob into `<name>` as a push does. */
export function upload(
  { client, place }: Meeting,
  blob: Descriptor,
  bytes: Buffer,
  options: { readonly chunks?: ChunkPolicy; readonly mountSources?: readonly string[] } = {},
): Promise<UploadOutcome> {
  const { chunks = defaultChunkPolicy, mountSources = [] } = options
  async function* openBlob(): AsyncGenerator<Buffer, void, void> {
    yield bytes
  }
  return uploadBlob(client, place, blob, { openBlob, mountSources, chunks, progressId: 'push' }, ctx)
}

/** Pushes one manifest with its blobs, as `mille push` does: by its digest, or under tags. What came of it is returned. */
export async function pushOne(
  { client, place }: Meeting,
  content: Content,
  manifest: ContentManifest,
  tags: readonly string[],
): Promise<PushResult> {
  const [tag, ...moreTags] = tags
  const target = tag === undefined ? { ...place, digest: manifest.descriptor.digest } : { ...place, tag }
  const blobs = manifest.blobs.filter(({ digest }) => !content.absent.has(digest))
  const bytes = { mediaType: manifest.descriptor.mediaType, bytes: manifest.bytes }
  const ports = {
    mountSources: () => [],
    async *openBlob({ digest }: Descriptor) {
      const bytes = content.blobs.get(digest)
      if (bytes === undefined) throw new Error(`${digest} is not part of the content`)
      yield bytes
    },
  }
  return await pushImage(client, { target, moreTags, blobs, manifest: () => bytes, progressId: 'push' }, ports, ctx)
}

/** Pushes all manifests by their digests; returns those that the registry did not take for referrers. */
export async function pushAll(meeting: Meeting, content: Content): Promise<readonly ContentManifest[]> {
  const others: ContentManifest[] = []
  for (const manifest of content.manifests) {
    const { isReferrer } = await pushOne(meeting, content, manifest, [])
    if (!isReferrer) others.push(manifest)
  }
  return others
}

/** Puts a content into the registry behind the client's back. */
export function seed({ registry }: Pick<Meeting, 'registry'>, content: Content): void {
  const elsewhere = content.manifests.flatMap(({ blobs }) => blobs.flatMap(({ digest, urls }) => (urls ? [`${digest}`] : [])))
  for (const [digest, bytes] of content.blobs)
    if (!elsewhere.includes(digest)) registry.blobs.set(`${repository} ${digest}`, bytes)
  for (const { descriptor, bytes, tag } of content.manifests) {
    registry.manifests.set(`${repository} ${descriptor.digest}`, { mediaType: descriptor.mediaType, bytes })
    if (tag !== undefined) registry.tags.set(`${repository} ${tag}`, descriptor.digest)
  }
}

/** Pulls blobs into memory; `pullBlobs` leaves the check of the bytes to the one who stores them. */
export async function pullInto({ client, place }: Meeting, blobs: readonly Descriptor[]): Promise<ReadonlyMap<string, Buffer>> {
  const got = new Map<string, Buffer>()
  const ports = {
    hasBlob: () => false,
    writeBlob: async (bytes: AsyncIterable<Uint8Array>, { digest }: Descriptor) => got.set(digest, await collect(bytes)),
  }
  await pullBlobs(client, place, blobs, ports, 'pull', ctx)
  return got
}
