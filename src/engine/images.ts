/**
 * Images by name: in the store first, then at the registry. What a registry answered is remembered, so that the next build
 * needs no network; layers stay there until something needs their files.
 */
import type { Context } from '../core/context.js'
import { type Digest, isDigest, parseDiffId } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { ImageConfig } from '../core/image.js'
import { formatPlatform, type Platform, platformMatches } from '../core/platform.js'
import { familiarReference, formatReference, isReference, parseReference, type Reference } from '../core/reference.js'
import type { ResolvedImage } from '../frontend/resolve.js'
import type { ResolvedImage as RemoteImage } from '../registry/resolve.js'
import { imagesOfTag } from '../store/images.js'
import type { StoredImage } from '../store/types.js'
import { layoutScheme } from './context-reference.js'
import type { Engine } from './engine.js'
import type { PullPolicy } from './options.js'

const configLimitBytes = 8 << 20

/** Reads an image name. Throws IMAGE_BAD_NAME. */
export function requireReference(text: string): Reference {
  const reference = parseReference(text)
  if (isReference(reference)) return reference
  throw new BuildError('IMAGE_BAD_NAME', reference.problem)
}

/**
 * Finds the image that a FROM or a COPY --from names; `name` may be one in a layout (`oci-layout://…`).
 *
 * @param policy `whole`: as `missing`, and an image of which parts are missing counts as missing itself
 */
export async function findImage(
  name: string,
  platform: Platform,
  policy: PullPolicy | 'whole',
  engine: Engine,
  ctx: Context,
): Promise<ResolvedImage> {
  if (name.startsWith(layoutScheme)) {
    const { findInLayout } = await import('./layout-image.js')
    return findInLayout(name, platform, engine, ctx)
  }
  const reference = requireReference(name)
  const local = policy === 'always' ? undefined : findLocal(name, reference, platform, engine)
  const isWhole = policy !== 'whole' || (local !== undefined && engine.store.images.isWhole(local.id))
  if (local !== undefined && isWhole) return describeLocal(local, formatReference(reference), engine)
  if (policy === 'never') {
    throw new BuildError('IMAGE_NOT_FOUND', `there is no image ${familiarReference(reference)} in the store`, {
      hint: 'pull it, or leave out --pull=never',
    })
  }
  const { resolveImage } = await import('../registry/resolve.js')
  const remote = await resolveImage(await engine.openRegistry(), reference, platform, readKnown(engine), ctx)
  const stored = rememberImage(remote, engine)
  return {
    reference: formatReference(reference),
    manifest: remote.descriptor.digest,
    configDigest: stored.id,
    config: remote.config,
    platform: stored.platform,
    diffIds: stored.diffIds,
  }
}

/** By name for the platform asked for; by id, or the start of one, for whatever platform it has. */
function findLocal(name: string, reference: Reference, platform: Platform, { store }: Engine): StoredImage | undefined {
  const tag = store.images.tagOf(formatReference(reference))
  const tagged = tag === undefined ? [] : imagesOfTag(tag).flatMap((id) => store.images.get(id) ?? [])
  if (tagged.length > 0) return tagged.find((image) => platformMatches(image.platform, platform))
  return /^(sha256:)?[0-9a-f]{12,64}$/.test(name) ? store.images.find(name) : undefined
}

async function describeLocal(image: StoredImage, reference: string, engine: Engine): Promise<ResolvedImage> {
  const manifest = image.manifests.at(-1)?.digest
  return {
    reference,
    configDigest: image.id,
    config: await readConfig(image.id, engine),
    platform: image.platform,
    diffIds: image.diffIds,
    ...(manifest === undefined ? {} : { manifest }),
  }
}

/** The config of an image in the store. */
export async function readConfig(id: Digest, { store }: Pick<Engine, 'store'>): Promise<ImageConfig> {
  const bytes = await store.blobs.read({ digest: id }, configLimitBytes)
  try {
    return JSON.parse(bytes.toString('utf8')) as ImageConfig
  } catch (error) {
    throw new BuildError('IMAGE_BAD_CONFIG', `the config ${id} is not JSON`, { cause: error })
  }
}

/** Small blobs that are here: manifests and configs that need not be fetched again. */
export function readKnown({
  store,
}: Engine): (blob: { readonly digest: Digest; readonly size?: number }) => Promise<Buffer | undefined> {
  return async (blob) => (store.blobs.has(blob.digest) ? store.blobs.read(blob, configLimitBytes) : undefined)
}

/** Saves what a registry said of an image: manifest, config, where its layers are, and the name. */
export function rememberImage(remote: RemoteImage, { store, settings }: Engine): StoredImage {
  const { reference, manifest, config } = remote
  const diffIds = config.rootfs.diff_ids.map((text) => {
    const diffId = parseDiffId(text)
    if (diffId === undefined)
      throw new BuildError('IMAGE_BAD_CONFIG', `the config of ${familiarReference(reference)} has the DiffID "${text}"`)
    return diffId
  })
  if (diffIds.length !== manifest.layers.length) {
    throw new BuildError(
      'IMAGE_BAD_CONFIG',
      `${familiarReference(reference)} has ${manifest.layers.length} layers, its config says ${diffIds.length}`,
    )
  }
  store.blobs.writeBytes(remote.rawManifest)
  const id = store.blobs.writeBytes(remote.rawConfig)
  const source = `${reference.registry}/${reference.repository}`
  for (const [i, blob] of manifest.layers.entries()) {
    const diffId = diffIds[i]
    // A layer whose files are here was verified; what another image says of it is not, and is not needed.
    if (diffId === undefined || store.layers.find(diffId)?.snapshot !== undefined) continue
    const { mediaType, digest, size, urls } = blob
    const claimed = { mediaType, digest, size, ...(urls === undefined ? {} : { urls }) }
    store.layers.save({ diffId, size, blobs: [], sources: [], claims: [{ blob: claimed, source }] })
  }
  // The store names all by sha256: a manifest that uses other names is of no use to it, and a push makes one anew.
  const isUsable = [manifest.config, ...manifest.layers].every(({ digest }) => isDigest(digest))
  const stored: StoredImage = {
    id,
    platform: platformOfConfig(config),
    diffIds,
    storedAt: settings.now(),
    manifests: isUsable ? [remote.descriptor] : [],
    ...(config.created === undefined ? {} : { created: config.created }),
  }
  store.images.save(stored)
  rememberName(formatReference(reference), stored, (remote.indexDescriptor ?? remote.descriptor).digest, store, settings)
  return stored
}

/** Images of one index for several platforms share its name: a build for one platform leaves those of the others in place. */
function rememberName(
  reference: string,
  stored: StoredImage,
  remoteDigest: Digest,
  { images }: Engine['store'],
  { hostPlatform }: Engine['settings'],
): void {
  const before = images.tagOf(reference)
  const kept = before?.remoteDigest === remoteDigest ? imagesOfTag(before) : []
  const all = kept.includes(stored.id) ? kept : [...kept, stored.id]
  const known = before !== undefined && kept.length > 0 ? images.get(before.image) : undefined
  const image = known !== undefined && platformMatches(known.platform, hostPlatform) ? known.id : stored.id
  images.setTag({ reference, image, ...(all.length > 1 ? { images: all } : {}), remoteDigest })
}

/** The platform that a config says it is for. */
export function platformOfConfig(config: ImageConfig): Platform {
  return {
    os: config.os,
    architecture: config.architecture,
    ...(config.variant === undefined ? {} : { variant: config.variant }),
    ...(config['os.version'] === undefined ? {} : { 'os.version': config['os.version'] }),
  }
}

/** Images of one name; never none. */
export type StoredImages = readonly [StoredImage, ...StoredImage[]]

/**
 * The images in the store that a command names: one, or those of a name for several platforms in the order of its index.
 *
 * @param platform only the image for this platform
 * @throws BuildError IMAGE_NOT_FOUND, IMAGE_NO_PLATFORM
 */
export function requireImages(name: string, platform: Platform | undefined, { store }: Engine): StoredImages {
  const reference = parseReference(name)
  const tag = isReference(reference) ? store.images.tagOf(formatReference(reference)) : undefined
  const tagged = tag === undefined ? [] : imagesOfTag(tag).flatMap((id) => store.images.get(id) ?? [])
  const byId = tagged.length > 0 ? undefined : store.images.find(name)
  const found = byId === undefined ? tagged : [byId]
  const [first, ...more] = platform === undefined ? found : found.filter((image) => platformMatches(image.platform, platform))
  if (first !== undefined) return [first, ...more]
  if (platform !== undefined && found.length > 0) {
    const platforms = found.map((image) => formatPlatform(image.platform)).join(', ')
    throw new BuildError('IMAGE_NO_PLATFORM', `the image ${name} is not here for ${formatPlatform(platform)}`, {
      hint: `it is here for ${platforms}`,
    })
  }
  throw new BuildError('IMAGE_NOT_FOUND', `there is no image ${name} in the store`, {
    hint: `"mille images" lists what is there; "mille pull ${name}" fetches one`,
  })
}
