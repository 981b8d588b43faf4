/** What commands share about the store: where it is, and how people's words for images are looked up in it. */
import { userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import type { Digest } from '../core/digest.js'
import { BuildError, UsageError } from '../core/errors.js'
import type { ImageConfig } from '../core/image.js'
import { formatPlatform, type Platform, parsePlatform, platformMatches, platformOf } from '../core/platform.js'
import { familiarReference, formatReference, isReference, parseReference, type Reference } from '../core/reference.js'
import { didYouMean } from '../core/suggest.js'
import { imagesOfTag } from '../store/images.js'
import type { Store, StoredImage, Tag } from '../store/types.js'
import type { Shell } from './shell.js'

/** The store's directory: `--root`, MILLE_ROOT, or the place for this user. */
export function storeRoot(shell: Pick<Shell, 'env' | 'globals'>): string {
  if (shell.globals.root !== undefined) return resolve(shell.globals.root)
  const { env } = shell
  if (isSystemUser(env)) return '/var/lib/mille'
  const data = env.XDG_DATA_HOME || join(env.HOME || userInfo().homedir, '.local/share')
  return join(data, 'mille')
}

/** Root of the machine; the root of a user namespace is a user of his own (the launcher says so in MILLE_ROOTLESS). */
export function isSystemUser(env: Readonly<Record<string, string | undefined>>): boolean {
  return process.geteuid?.() === 0 && !env.MILLE_ROOTLESS
}

/** Opens the store of this command line. */
export async function openShellStore(shell: Shell): Promise<Store> {
  const { openStore } = await import('../store/store.js')
  return openStore(storeRoot(shell))
}

/** Reads an image name that a person gave. @throws BuildError IMAGE_BAD_NAME */
export function readReference(text: string): Reference {
  const reference = parseReference(text)
  if (isReference(reference)) return reference
  throw new BuildError('IMAGE_BAD_NAME', reference.problem)
}

/** An image that was looked up. `tag` is set when the words were a name. */
export interface FoundImage {
  readonly image: StoredImage
  readonly tag: Tag | undefined
}

/** Finds an image by name, id or the start of an id; undefined when there is none. */
export function lookUpImage(store: Store, text: string): FoundImage | undefined {
  const reference = parseReference(text)
  if (isReference(reference)) {
    const tag = store.images.tagOf(formatReference(reference))
    const image = tag === undefined ? undefined : store.images.get(tag.image)
    if (image !== undefined) return { image, tag }
    if (reference.digest !== undefined) return lookUpByDigest(store, reference, reference.digest)
  }
  if (!/^(sha256:)?[0-9a-f]{2,64}$/.test(text)) return undefined
  const image = store.images.find(text)
  return image === undefined ? undefined : { image, tag: undefined }
}

/** `name@sha256:…`: a tag of that repository whose registry digest or manifest is the wanted one. */
function lookUpByDigest(store: Store, reference: Reference, digest: Digest): FoundImage | undefined {
  for (const tag of store.images.tags()) {
    const other = readReference(tag.reference)
    if (other.registry !== reference.registry || other.repository !== reference.repository) continue
    const image = store.images.get(tag.image)
    if (image === undefined) continue
    if (tag.remoteDigest === digest || image.manifests.some((manifest) => manifest.digest === digest)) return { image, tag }
  }
  return undefined
}

/** All images that the words stand for, in the order of the index; without a name only the one. */
export function imagesOf(store: Store, { image, tag }: FoundImage): StoredImage[] {
  return tag === undefined ? [image] : imagesOfTag(tag).flatMap((id) => store.images.get(id) ?? [])
}

/**
 * Finds the image for a platform (`--platform`), or the one that stands for all.
 *
 * @throws BuildError IMAGE_NOT_FOUND, IMAGE_NO_PLATFORM; UsageError for what is no platform
 */
export function findForPlatform(store: Store, text: string, platform: string | undefined): StoredImage {
  const found = findImage(store, text)
  if (platform === undefined) return found.image
  const wanted = readPlatform(platform)
  const all = imagesOf(store, found)
  const image = all.find((each) => platformMatches(each.platform, wanted))
  if (image !== undefined) return image
  throw new BuildError('IMAGE_NO_PLATFORM', `the image ${text} is not here for ${platform}`, {
    hint: `it is here for ${all.map((each) => formatPlatform(each.platform)).join(', ')}`,
  })
}

/** Reads `--platform` of a command for one platform. @throws UsageError */
export function readPlatform(text: string): Platform {
  const platform = parsePlatform(text, platformOf(process.platform, process.arch))
  if (platform !== undefined) return platform
  throw new UsageError('USAGE_BAD_FLAG', `--platform "${text}" is no platform`, {
    hint: 'for example linux/amd64 or linux/arm64',
  })
}

/** `--platform` of commands that look at one image of a name. */
export const platformFlag = {
  type: 'string',
  value: 'os/arch',
  help: 'Which image of a name for several platforms',
  defaultText: "this machine's",
} as const

/** Finds an image that must be there. @throws BuildError IMAGE_NOT_FOUND */
export function findImage(store: Store, text: string): FoundImage {
  const found = lookUpImage(store, text)
  if (found !== undefined) return found
  const known = store.images.tags().map((tag) => familiarReference(readReference(tag.reference)))
  const wanted = parseReference(text)
  const near = didYouMean(isReference(wanted) ? familiarReference(wanted) : text, known)
  throw new BuildError('IMAGE_NOT_FOUND', `no image "${text}" in the store`, {
    hint: near ?? '"mille images" lists what is there',
  })
}

/** The config of an image. */
export async function readConfig(store: Store, image: StoredImage): Promise<ImageConfig> {
  return JSON.parse((await store.blobs.read({ digest: image.id })).toString('utf8')) as ImageConfig
}

/** Bytes of all layers of an image. */
export function imageSize(store: Store, image: StoredImage): number {
  return image.diffIds.reduce((sum, diffId) => sum + (store.layers.find(diffId)?.size ?? 0), 0)
}

/** The names of an image as people write them. */
export function namesOf(store: Store, id: Digest): string[] {
  return store.images
    .tags()
    .filter((tag) => imagesOfTag(tag).includes(id))
    .map((tag) => familiarReference(readReference(tag.reference)))
    .sort()
}
