/**
 * `index.json`: what other tools see when they read the store as an OCI image layout.
 *
 * It lists the manifests whose config and layers are all in `blobs/`, under the names of their images. It is made of the
 * image and tag files each time, so it can be lost without harm.
 */
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Descriptor, isManifestMediaType, mediaTypes } from '../core/descriptor.js'
import { BuildError } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { writeFileAtomic } from '../io/fs.js'
import { readBlob } from './blobs.js'
import { isDescriptor } from './layers.js'
import { withLock } from './lock.js'
import { isObject } from './record-file.js'
import type { Session } from './session.js'
import type { StoredImage, Tag } from './types.js'

/** The annotation by which tools find an image in a layout (image-spec, annotations.md). */
const nameAnnotation = 'org.opencontainers.image.ref.name'

/** Writes `index.json` anew. */
export function rewriteIndex(session: Session, readImages: () => readonly StoredImage[], readTags: () => readonly Tag[]): void {
  const path = join(session.layout.root, 'index.json')
  try {
    // Read under the lock too: then the last writer is also the one that read last.
    withLock(session.layout, 'index', () => writeFileAtomic(path, indexOf(session, readImages(), readTags())))
  } catch (error) {
    throw asStoreError(error, path)
  }
}

function indexOf(session: Session, images: readonly StoredImage[], tags: readonly Tag[]): string {
  const manifests = images.flatMap((image) => {
    const newest = image.manifests.findLast((manifest) => isComplete(session, manifest))
    if (newest === undefined) return []
    const { annotations: _, ...descriptor } = newest
    const names = tags.filter((tag) => tag.image === image.id).map((tag) => tag.reference)
    if (names.length === 0) return [{ ...descriptor, platform: image.platform }]
    return names.map((name) => ({ ...descriptor, platform: image.platform, annotations: { [nameAnnotation]: name } }))
  })
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests })
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
