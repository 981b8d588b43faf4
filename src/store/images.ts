/**
 * Images by config digest and names for them, one small file each. The newest write of a name wins.
 *
 * Where manifests come into it, `index.json` is brought up to date too; a build that only tags its image pays nothing.
 */
import { existsSync } from 'node:fs'
import type { Descriptor } from '../core/descriptor.js'
import { type Digest, digestFromHex, isDigest, parseDiffId } from '../core/digest.js'
import { StoreError } from '../core/errors.js'
import { readTextIfExists } from '../io/fs.js'
import { isDescriptor } from './layers.js'
import { listFolder } from './lock.js'
import { type IndexSources, updateIndex } from './oci-index.js'
import { isObject, isTextList, readRecord, removeRecord, writeRecord } from './record-file.js'
import type { Session } from './session.js'
import type { Images, Layers, StoredImage, Tag } from './types.js'

/** The images of a store. */
export function openImages(session: Session, layers: Layers): Images {
  const { layout } = session
  const get = (id: Digest): StoredImage | undefined => {
    const image = readRecord(layout.image(id), isStoredImage)
    return image?.id === id ? image : undefined
  }
  const tagOf = (reference: string): Tag | undefined => {
    const tag = readRecord(layout.tag(reference), isTag)
    return tag?.reference === reference ? tag : undefined
  }
  const list = (): StoredImage[] => listImages(session)
  const tags = (): Tag[] => listTags(session)
  const hasManifests = (id: Digest): boolean => (get(id)?.manifests.length ?? 0) > 0
  const sources: IndexSources = { images: list, image: get, tags: (ids) => listTags(session, ids) }
  const update = (ids: readonly Digest[], former: readonly Descriptor[] = []): void => {
    const listed = ids.filter(hasManifests)
    if (listed.length > 0 || former.length > 0) updateIndex(session, new Set(listed), former, sources)
  }
  return {
    save(image) {
      const existing = get(image.id)
      const merged = existing === undefined ? image : mergeImages(existing, image)
      if (existing === undefined || JSON.stringify(existing) !== JSON.stringify(merged))
        writeRecord(layout.image(image.id), merged)
      if (merged.manifests.length > (existing?.manifests.length ?? 0)) update([image.id])
    },
    get,
    find: (text) => findImage(text, get, tagOf, session),
    isWhole(id) {
      const image = get(id)
      return image !== undefined && existsSync(layout.blob(id)) && layers.arePresent(image.diffIds)
    },
    list,
    tags,
    tagOf,
    setTag(tag) {
      const before = tagOf(tag.reference)
      if (before !== undefined && JSON.stringify(before) === JSON.stringify(tag)) return
      writeRecord(layout.tag(tag.reference), tag)
      update([...imagesOfTag(tag), ...(before === undefined ? [] : imagesOfTag(before))])
    },
    removeTag(reference) {
      const before = tagOf(reference)
      const removed = removeRecord(layout.tag(reference))
      if (before !== undefined) update(imagesOfTag(before))
      return removed
    },
    remove(id) {
      const former = get(id)?.manifests ?? []
      removeRecord(layout.image(id))
      update([], former)
    },
  }
}

/** The images that a name stands for: one, or one for each of several platforms. */
export function imagesOfTag({ image, images }: Tag): readonly Digest[] {
  return images ?? [image]
}

/** What two writers know of one image: the first time it came, all manifests. */
function mergeImages(existing: StoredImage, image: StoredImage): StoredImage {
  const manifests = new Map([...existing.manifests, ...image.manifests].map((manifest) => [manifest.digest, manifest]))
  const { attestations: _, ...rest } = image
  // Who does not speak of attestations leaves them; a build always does.
  const attestations = 'attestations' in image ? image.attestations : existing.attestations
  return {
    ...rest,
    storedAt: Math.min(existing.storedAt, image.storedAt),
    manifests: [...manifests.values()],
    ...(attestations === undefined ? {} : { attestations }),
  }
}

function findImage(
  text: string,
  get: (id: Digest) => StoredImage | undefined,
  tagOf: (reference: string) => Tag | undefined,
  session: Session,
): StoredImage | undefined {
  const tag = tagOf(text)
  if (tag !== undefined) return get(tag.image)
  const hex = /^(?:sha256:)?([0-9a-f]{1,64})$/.exec(text)?.[1]
  if (hex === undefined) return undefined
  if (hex.length === 64) return get(digestFromHex(hex))
  const found = imageIds(session).filter((id) => id.startsWith(`sha256:${hex}`))
  if (found.length > 1) {
    throw new StoreError('IMAGE_AMBIGUOUS', `"${text}" is the beginning of ${found.length} image ids`, {
      hint: 'give more digits of the id',
    })
  }
  return found[0] === undefined ? undefined : get(found[0])
}

function imageIds(session: Session): Digest[] {
  return listFolder(session.layout.folder('images'))
    .map((file) => `sha256:${file.replace(/\.json$/, '')}`)
    .filter(isDigest)
    .sort()
}

/** All images that can be read, in the order of their ids. */
export function listImages(session: Session): StoredImage[] {
  return imageIds(session).flatMap((id) => {
    const image = readRecord(session.layout.image(id), isStoredImage)
    return image?.id === id ? [image] : []
  })
}

/**
 * All names that can be read, in order.
 *
 * @param ids only names of these images: the others are not parsed
 */
export function listTags(session: Session, ids?: ReadonlySet<Digest>): Tag[] {
  const folder = session.layout.folder('tags')
  return listFolder(folder)
    .filter((file) => file.endsWith('.json') && (ids === undefined || namesOne(`${folder}/${file}`, ids)))
    .sort()
    .flatMap((file) => readRecord(`${folder}/${file}`, isTag) ?? [])
}

function namesOne(path: string, ids: ReadonlySet<Digest>): boolean {
  const text = readTextIfExists(path)
  return text !== undefined && [...ids].some((id) => text.includes(id))
}

function isStoredImage(value: unknown): value is StoredImage {
  if (!isObject(value)) return false
  const { id, platform, diffIds, storedAt, created, manifests, attestations } = value
  return (
    typeof id === 'string' &&
    isDigest(id) &&
    isObject(platform) &&
    typeof platform.os === 'string' &&
    typeof platform.architecture === 'string' &&
    isTextList(diffIds) &&
    diffIds.every((diffId) => parseDiffId(diffId) !== undefined) &&
    typeof storedAt === 'number' &&
    (created === undefined || typeof created === 'string') &&
    Array.isArray(manifests) &&
    manifests.every(isDescriptor) &&
    (attestations === undefined || isAttestations(attestations))
  )
}

function isAttestations(value: unknown): boolean {
  if (!isObject(value) || !Array.isArray(value.items)) return false
  const isItem = (item: unknown): boolean =>
    isObject(item) && typeof item.predicateType === 'string' && typeof item.fileName === 'string' && isDescriptor(item.predicate)
  return (value.storage === 'index' || value.storage === 'referrers') && value.items.every(isItem)
}

function isTag(value: unknown): value is Tag {
  if (!isObject(value)) return false
  const { reference, image, images, remoteDigest } = value
  return (
    typeof reference === 'string' &&
    typeof image === 'string' &&
    isDigest(image) &&
    (images === undefined || (isTextList(images) && images.every(isDigest))) &&
    (remoteDigest === undefined || (typeof remoteDigest === 'string' && isDigest(remoteDigest)))
  )
}
