/**
 * `index.json`: what other tools see when they read the store as an OCI image layout.
 *
 * It lists the manifests whose config and layers are all in `blobs/`, under the names of their images. It can be made of the
 * image and tag files at any time, so it can be lost without harm; an image that changes changes its own entries only.
 */
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Descriptor, isManifestMediaType, mediaTypes } from '../core/descriptor.js'
import type { Digest } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { readTextIfExists, writeFileAtomic } from '../io/fs.js'
import { readBlob } from './blobs.js'
import { isDescriptor } from './layers.js'
import { withLock } from './lock.js'
import { isObject } from './record-file.js'
import type { Session } from './session.js'
import type { StoredImage, Tag } from './types.js'

/** The annotation by which tools find an image in a layout (image-spec, annotations.md). */
const nameAnnotation = 'org.opencontainers.image.ref.name'

/** What the index is made of. */
export interface IndexSources {
  readonly images: () => readonly StoredImage[]
  readonly image: (id: Digest) => StoredImage | undefined
  /** All, or those that name one of the images. */
  readonly tags: (ids?: ReadonlySet<Digest>) => readonly Tag[]
}

/** Writes `index.json` anew. */
export function rewriteIndex(session: Session, sources: Pick<IndexSources, 'images' | 'tags'>): void {
  writeIndex(session, () => entriesOf(session, sources.images(), sources.tags()))
}

/**
 * Brings the entries of some images up to date; the others are not looked at, so that it takes as long in a store of a thousand images.
 *
 * `former`: manifests that the images had and have no more.
 */
export function updateIndex(
  session: Session,
  ids: ReadonlySet<Digest>,
  former: readonly Descriptor[],
  sources: IndexSources,
): void {
  writeIndex(session, (path) => {
    const known = readIndex(path)
    if (known === undefined) return entriesOf(session, sources.images(), sources.tags())
    const images = [...ids].flatMap((id) => sources.image(id) ?? [])
    const stale = new Set([...former, ...images.flatMap(({ manifests }) => manifests)].map(({ digest }) => digest))
    const others = known.manifests.filter(({ digest }) => !stale.has(digest))
    return [...others, ...entriesOf(session, images, sources.tags(ids))]
  })
}

function writeIndex(session: Session, makeManifests: (path: string) => readonly Descriptor[]): void {
  const path = join(session.layout.root, 'index.json')
  try {
    // Read under the lock too: then the last writer is also the one that read last.
    withLock(session.layout, 'index', () => {
      const manifests = makeManifests(path)
      writeFileAtomic(path, JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }))
    })
  } catch (error) {
    throw asStoreError(error, path)
  }
}

/** Undefined where there is none, or one that cannot be read: it is then made anew. */
function readIndex(path: string): { readonly manifests: readonly Descriptor[] } | undefined {
  const text = readTextIfExists(path)
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return isIndex(value) ? value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function isIndex(value: unknown): value is { readonly manifests: readonly Descriptor[] } {
  return isObject(value) && Array.isArray(value.manifests) && value.manifests.every(isDescriptor)
}

function entriesOf(session: Session, images: readonly StoredImage[], tags: readonly Tag[]): Descriptor[] {
  return images.flatMap((image) => {
    const newest = image.manifests.findLast((manifest) => isComplete(session, manifest))
    if (newest === undefined) return []
    const { annotations: _, ...descriptor } = newest
    const names = tags.filter((tag) => tag.image === image.id).map((tag) => tag.reference)
    if (names.length === 0) return [{ ...descriptor, platform: image.platform }]
    return names.map((name) => ({ ...descriptor, platform: image.platform, annotations: { [nameAnnotation]: name } }))
  })
}

/** True when a manifest and all it names are in `blobs/`. */
function isComplete(session: Session, descriptor: Descriptor): boolean {
  if (!isManifestMediaType(descriptor.mediaType)) return false
  const parts = partsOfManifest(session, descriptor)
  return parts?.every((part) => hasBlob(session, part)) ?? false
}

function hasBlob(session: Session, { digest, size }: Descriptor): boolean {
  const path = session.layout.blob(digest)
  return existsSync(path) && statSync(path).size === size
}

/** The config and layers that a stored manifest names; undefined when it is not here or not readable. */
export function partsOfManifest(session: Session, descriptor: Descriptor): readonly Descriptor[] | undefined {
  let bytes: Buffer
  try {
    bytes = readBlob(session, descriptor)
  } catch (error) {
    if (error instanceof BuildError && error.code.startsWith('STORE_')) return undefined
    throw error
  }
  const value: unknown = JSON.parse(bytes.toString())
  if (!isObject(value)) return undefined
  const parts: unknown[] = [value.config, ...(Array.isArray(value.layers) ? value.layers : [])]
  return parts.every(isDescriptor) ? parts : undefined
}
