/**
 * From an image's name to its manifest and config: asks the registry, picks the platform, checks every byte.
 *
 * What the caller has already (by digest) is not fetched again, so looking whether a tag has moved costs one HEAD.
 */
import type { Context } from '../core/context.js'
import {
  type Descriptor,
  type Index,
  isIndexMediaType,
  isManifestMediaType,
  type Manifest,
  mediaTypes,
} from '../core/descriptor.js'
import { type Digest, digestLike, digestOf, parseDigest } from '../core/digest.js'
import { BuildError, RegistryError } from '../core/errors.js'
import type { ImageConfig } from '../core/image.js'
import { bestPlatform, formatPlatform, type Platform } from '../core/platform.js'
import { familiarReference, type Reference } from '../core/reference.js'
import { repositoryScope } from './auth.js'
import { blobRequest } from './blob-request.js'
import type { RegistryClient, RegistryRequest } from './client.js'
import { configLimitBytes, manifestLimitBytes, type ParsedManifest, parseConfig, parseManifest } from './manifest.js'
import type { WireResponse } from './transport.js'

/** An image as a registry has it. The raw bytes are what the digests are of. */
export interface ResolvedImage {
  readonly reference: Reference
  /** The manifest of one platform. */
  readonly descriptor: Descriptor
  /** The index it was picked from: what the name points at, if that is an index. */
  readonly indexDescriptor?: Descriptor
  readonly manifest: Manifest
  readonly rawManifest: Buffer
  readonly config: ImageConfig
  readonly rawConfig: Buffer
}

/** Small blobs that are here already; undefined for those that are not. What it returns is checked like anything else. */
export type ReadKnown = (blob: { readonly digest: Digest; readonly size?: number }) => Promise<Uint8Array | undefined>

const acceptedTypes = [
  mediaTypes.ociManifest,
  mediaTypes.ociIndex,
  mediaTypes.dockerManifest,
  mediaTypes.dockerManifestList,
].join(', ')
/** How deep indexes may lie in indexes. */
export const nestingLimit = 4

interface Found {
  readonly descriptor: Descriptor
  readonly bytes: Buffer
  readonly parsed: ParsedManifest
}

/**
 * Resolves a name to the image of one platform.
 *
 * @throws BuildError IMAGE_NOT_FOUND, IMAGE_NO_PLATFORM, IMAGE_BAD_MANIFEST, IMAGE_BAD_CONFIG, REGISTRY_*
 */
export async function resolveImage(
  client: RegistryClient,
  reference: Reference,
  platform: Platform,
  readKnown: ReadKnown,
  ctx: Context,
): Promise<ResolvedImage> {
  const subject = familiarReference(reference)
  const start = await findTop(client, reference, readKnown, ctx).catch((error: unknown) =>
    withTags(error, client, reference, ctx),
  )
  const top = start.descriptor
  const get = (entry: Descriptor): Promise<Found> =>
    getManifest(client, { ...reference, digest: entry.digest }, entry, readKnown, ctx)
  const found = await descend(start, platform, subject, get)
  const { manifest } = found.parsed
  const rawConfig = await getConfig(client, reference, manifest.config, readKnown, ctx)
  const config = parseConfig(rawConfig, manifest, subject)
  const resolved = { reference, descriptor: found.descriptor, manifest, rawManifest: found.bytes, config, rawConfig }
  return top.digest === found.descriptor.digest ? resolved : { ...resolved, indexDescriptor: top }
}

/**
 * What a name points at now, without fetching it: one HEAD, which Docker Hub does not count. Undefined when the name does not exist;
 * a registry that does not say the digest is asked for the whole manifest.
 */
export async function headManifest(client: RegistryClient, reference: Reference, ctx: Context): Promise<Descriptor | undefined> {
  const head = await askHead(client, reference, ctx)
  if (head === undefined || head !== 'unsaid') return head
  return (await getManifest(client, reference, undefined, async () => undefined, ctx)).descriptor
}

/**
 * The manifest under a name, image or artifact; of an index that of one platform. Undefined when the name does not exist.
 *
 * @throws BuildError IMAGE_NO_PLATFORM, IMAGE_BAD_MANIFEST, REGISTRY_*
 */
export async function readManifest(
  client: RegistryClient,
  reference: Reference,
  platform: Platform,
  ctx: Context,
): Promise<{ readonly descriptor: Descriptor; readonly bytes: Buffer } | undefined> {
  try {
    const get = (entry: Descriptor | undefined): Promise<Found> =>
      getManifest(client, { ...reference, ...(entry && { digest: entry.digest }) }, entry, async () => undefined, ctx)
    const { descriptor, bytes } = await descend(await get(undefined), platform, familiarReference(reference), get)
    return { descriptor, bytes }
  } catch (error) {
    if (error instanceof BuildError && error.code === 'IMAGE_NOT_FOUND') return undefined
    throw error
  }
}

/** What a HEAD tells: undefined for "no such image", `'unsaid'` for an answer without the digest. */
async function askHead(client: RegistryClient, reference: Reference, ctx: Context): Promise<Descriptor | 'unsaid' | undefined> {
  const { answer } = await client.fetch({ ...manifestRequest(reference, 'HEAD'), accept: [200, 404, 405] }, 0, ctx)
  if (answer.status === 404) return undefined
  const digest = parseDigest(String(answer.headers['docker-content-digest'] ?? ''))
  const mediaType = contentType(answer)
  const size = Number(answer.headers['content-length'] ?? Number.NaN)
  const isKnownType = isIndexMediaType(mediaType) || isManifestMediaType(mediaType)
  return answer.status === 200 && digest !== undefined && Number.isSafeInteger(size) && isKnownType
    ? { mediaType, digest, size }
    : 'unsaid'
}

/** What the name points at. A tag is looked up by HEAD first: often its digest is known here, and nothing has to be fetched. */
async function findTop(client: RegistryClient, reference: Reference, readKnown: ReadKnown, ctx: Context): Promise<Found> {
  if (reference.digest !== undefined) return getManifest(client, reference, undefined, readKnown, ctx)
  const head = await askHead(client, reference, ctx)
  if (head === undefined) throw notFound(reference)
  if (head === 'unsaid') return getManifest(client, reference, undefined, readKnown, ctx)
  return getManifest(client, { ...reference, digest: head.digest }, head, readKnown, ctx)
}

/** Gets and checks one manifest by digest, or by tag. `expected` is the descriptor that led here. */
async function getManifest(
  client: RegistryClient,
  reference: Reference,
  expected: Descriptor | undefined,
  readKnown: ReadKnown,
  ctx: Context,
): Promise<Found> {
  const subject = familiarReference(reference)
  const pinned = expected ?? (reference.digest === undefined ? undefined : { digest: reference.digest })
  const known = pinned === undefined ? undefined : await readKnown(pinned)
  if (pinned !== undefined && known !== undefined && digestLike(pinned.digest, known) === pinned.digest) {
    return foundOf(Buffer.from(known), expected?.mediaType, expected, subject)
  }
  const request = { ...manifestRequest(reference, 'GET'), accept: [200, 404] }
  const { answer, bytes } = await client.fetch(request, manifestLimitBytes, ctx)
  if (answer.status === 404) throw notFound(reference)
  const said = reference.digest ?? parseDigest(String(answer.headers['docker-content-digest'] ?? ''))
  const digest = said === undefined ? digestOf(bytes) : digestLike(said, bytes)
  if (said !== undefined && digest !== said) throw wrongDigest(reference.registry, 'manifest', said, digest)
  if (expected !== undefined && bytes.length !== expected.size) {
    throw new BuildError(
      'IMAGE_BAD_MANIFEST',
      `the manifest ${digest} of ${subject} has ${bytes.length} bytes, its descriptor says ${expected.size}`,
    )
  }
  return foundOf(bytes, contentType(answer), expected, subject)
}

function foundOf(bytes: Buffer, type: string | undefined, expected: Descriptor | undefined, subject: string): Found {
  const parsed = parseManifest(bytes, type, subject)
  const descriptor = { mediaType: parsed.mediaType, digest: digestOf(bytes), size: bytes.length }
  return {
    descriptor: expected?.platform === undefined ? descriptor : { ...descriptor, platform: expected.platform },
    bytes,
    parsed,
  }
}

async function getConfig(
  client: RegistryClient,
  reference: Reference,
  blob: Descriptor,
  readKnown: ReadKnown,
  ctx: Context,
): Promise<Buffer> {
  const subject = familiarReference(reference)
  if (blob.size > configLimitBytes)
    throw new BuildError('IMAGE_BAD_CONFIG', `the config of ${subject} is larger than ${configLimitBytes} bytes`)
  const known = await readKnown(blob)
  if (known !== undefined && known.length === blob.size && digestLike(blob.digest, known) === blob.digest)
    return Buffer.from(known)
  const { bytes } = await client.fetch(blobRequest(reference, blob, 'GET', [200]), configLimitBytes, ctx)
  const digest = digestLike(blob.digest, bytes)
  if (digest !== blob.digest) throw wrongDigest(reference.registry, 'config', blob.digest, digest)
  if (bytes.length !== blob.size) {
    throw new BuildError(
      'IMAGE_BAD_CONFIG',
      `the config of ${subject} has ${bytes.length} bytes, its descriptor says ${blob.size}`,
    )
  }
  return bytes
}

type FoundImage = Found & { readonly parsed: Extract<ParsedManifest, { kind: 'manifest' }> }

/** From what a name points at to the manifest of one platform, through indexes in indexes. */
async function descend(
  found: Found,
  platform: Platform,
  subject: string,
  get: (entry: Descriptor) => Promise<Found>,
  depth = 0,
): Promise<FoundImage> {
  const { parsed } = found
  if (parsed.kind === 'manifest') return { ...found, parsed }
  if (depth >= nestingLimit)
    throw new BuildError('IMAGE_BAD_MANIFEST', `${subject} has indexes in indexes, more than ${nestingLimit} deep`)
  const inner = unlabelledIndexes(parsed.index, platform)
  if (inner.length === 0)
    return descend(await get(chooseManifest(parsed.index, platform, subject)), platform, subject, get, depth + 1)
  let failure: unknown
  for (const entry of inner) {
    try {
      return await descend(await get(entry), platform, subject, get, depth + 1)
    } catch (error) {
      if (!(error instanceof BuildError) || error.code !== 'IMAGE_NO_PLATFORM') throw error
      failure ??= error
    }
  }
  throw failure
}

/** Where no entry is for the platform: the indexes that do not say what they are for, each of which may have it. */
function unlabelledIndexes({ manifests }: Index, platform: Platform): readonly Descriptor[] {
  if (
    bestPlatform(
      manifests.map((entry) => entry.platform),
      platform,
    ) >= 0
  )
    return []
  const inner = manifests.filter((entry) => entry.platform === undefined && isIndexMediaType(entry.mediaType))
  return [...new Map(inner.map((entry) => [entry.digest, entry])).values()]
}

/** The entry for a platform; attestations and entries for unknown systems never match. */
export function chooseManifest(index: Index, platform: Platform, subject: string): Descriptor {
  const entries = index.manifests.filter(
    (entry) => entry.platform?.os !== 'unknown' && (isIndexMediaType(entry.mediaType) || isManifestMediaType(entry.mediaType)),
  )
  const best =
    entries[
      bestPlatform(
        entries.map((entry) => entry.platform),
        platform,
      )
    ]
  if (best !== undefined) return best
  // An index of one image whose platform only its config tells.
  const [only] = entries
  if (only !== undefined && entries.length === 1 && only.platform === undefined) return only
  const offered = [
    ...new Set(entries.map((entry) => (entry.platform === undefined ? 'one without platform' : formatPlatform(entry.platform)))),
  ]
  throw new BuildError('IMAGE_NO_PLATFORM', `${subject} is not there for ${formatPlatform(platform)}`, {
    hint:
      offered.length === 0 ? 'its index has no image at all' : `it has ${offered.sort().join(', ')}; choose one with --platform`,
  })
}

function manifestRequest(reference: Reference, method: 'GET' | 'HEAD'): Omit<RegistryRequest, 'accept'> {
  const { registry, repository } = reference
  return {
    registry,
    repository,
    method,
    target: `/v2/${repository}/manifests/${reference.digest ?? reference.tag ?? 'latest'}`,
    scopes: [repositoryScope(repository, 'pull')],
    subject: familiarReference(reference),
    headers: { accept: acceptedTypes },
  }
}

/** The error for bytes that are not the ones asked for. */
export function wrongDigest(registry: string, what: string, wanted: Digest, got: string): RegistryError {
  return new RegistryError('REGISTRY_DIGEST_MISMATCH', `${registry} sent a ${what} with digest ${got}, asked for was ${wanted}`, {
    hint: 'do not trust this registry or the proxy before it until you know why',
  })
}

function contentType(answer: WireResponse): string {
  return (answer.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

/** Throws the error; one of a tag that is not there says which are. */
async function withTags(error: unknown, client: RegistryClient, reference: Reference, ctx: Context): Promise<never> {
  if (error instanceof BuildError && error.code === 'IMAGE_NOT_FOUND') {
    const { tagHint } = await import('./tags.js')
    error.hint = (await tagHint(client, reference, ctx)) ?? error.hint
  }
  throw error
}

function notFound(reference: Reference): BuildError {
  return new BuildError('IMAGE_NOT_FOUND', `there is no image ${familiarReference(reference)}`, {
    hint: `check the name and the tag; ${reference.registry} was asked`,
  })
}
