/**
 * `load`: images of docker archives and OCI layouts, as tars or directories, into the store.
 *
 * Of an index all images come whose blobs are in the archive: tools write indexes that list more. Every layer is unpacked, and so verified, before an image gets a
 * name; what a broken archive brought in stays unnamed and is collected as garbage.
 */
import type { Readable } from 'node:stream'
import {
  type Descriptor,
  type Index,
  isIndexMediaType,
  isManifestMediaType,
  layerCompression,
  type Manifest,
  mediaTypes,
} from '../core/descriptor.js'
import { type DiffID, type Digest, digestOf, parseDiffId } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { ImageConfig } from '../core/image.js'
import { bestPlatform } from '../core/platform.js'
import { formatReference, isReference, parseReference } from '../core/reference.js'
import { imageNameAnnotation, refNameAnnotation } from '../exporter/oci-layout.js'
import { detectCompression } from '../layer/compress.js'
import { type ArchiveFiles, openArchive, type StoredFile } from './archive-files.js'
import { type Engine, withEngine } from './engine.js'
import { platformOfConfig } from './images.js'
import { createLayers } from './layers.js'
import type { EngineOptions } from './options.js'

/** What to load. */
export interface LoadOptions extends EngineOptions {
  /** The path of an archive or of a layout's directory, or an archive's bytes. */
  readonly source: string | Readable
}

/** An image that was loaded; `names` are in full. The images of an index share their names. */
export interface LoadedImage {
  readonly imageId: Digest
  readonly names: readonly string[]
}

/** An image found in an archive, its parts in the store. */
interface Found {
  readonly id: Digest
  readonly config: ImageConfig
  readonly layers: readonly { readonly diffId: DiffID; readonly blob: Descriptor }[]
  readonly manifest: Descriptor | undefined
}

/** What an archive holds: images, and which of them each name stands for, in the order of the index. */
interface Contents {
  readonly images: Map<Digest, Found>
  readonly names: Map<string, readonly Digest[]>
}

/** Loads all images of an archive. Throws ARCHIVE_BAD, STORE_DIGEST_MISMATCH, and what unpacking throws. */
export function loadImages(options: LoadOptions): Promise<readonly LoadedImage[]> {
  return withEngine(options, async (engine) => {
    const files = await openArchive(options.source, engine.store.blobs, engine.ctx.signal)
    const found: Contents = { images: new Map(), names: new Map() }
    await findInIndex(files, found, engine)
    await findInDockerManifest(files, found, engine)
    if (found.images.size === 0) {
      throw new BuildError('ARCHIVE_BAD', 'the archive has neither an index.json nor a manifest.json with an image', {
        hint: 'a tar of a root filesystem is made an image by "mille import"',
      })
    }
    const layers = createLayers(engine)
    for (const image of found.images.values()) {
      for (const { diffId, blob } of image.layers) await layers.adopt(diffId, plainDescriptor(blob), 'load', engine.ctx)
      saveLoaded(image, engine)
    }
    for (const [name, ids] of found.names) saveName(name, ids, found, engine)
    return [...found.images.keys()].map((imageId) => ({
      imageId,
      names: [...found.names].flatMap(([name, ids]) => (ids.includes(imageId) ? [name] : [])),
    }))
  })
}

async function findInIndex(files: ArchiveFiles, found: Contents, engine: Engine): Promise<void> {
  const index = (await readJson(files, 'index.json')) as Index | undefined
  if (index === undefined) return
  if (!Array.isArray(index.manifests)) throw new BuildError('ARCHIVE_BAD', 'the index.json of the archive is no image index')
  for (const entry of index.manifests) {
    const ids: Digest[] = []
    for (const descriptor of await imageManifests(entry, files, engine)) {
      const image = await readImage(descriptor, files, engine)
      if (!found.images.has(image.id)) found.images.set(image.id, image)
      ids.push(image.id)
    }
    const name = nameOf(entry.annotations)
    if (name !== undefined && ids.length > 0) found.names.set(name, [...new Set([...(found.names.get(name) ?? []), ...ids])])
  }
}

/**
 * The manifests that a descriptor leads to; attestations and the like are no images. Of an index the one for this machine,
 * which must be whole, and the others that are.
 */
async function imageManifests(entry: Descriptor, files: ArchiveFiles, engine: Engine, depth = 0): Promise<Descriptor[]> {
  if (entry.platform?.os === 'unknown') return []
  if (isManifestMediaType(entry.mediaType)) return [entry]
  if (!isIndexMediaType(entry.mediaType) || depth > 4) return []
  const nested = (await readJson(files, pathOf(entry.digest))) as Index | undefined
  const manifests = (nested?.manifests ?? []).filter(({ platform }) => platform?.os !== 'unknown')
  const platforms = manifests.map(({ platform }) => platform)
  const best = manifests[bestPlatform(platforms, engine.settings.hostPlatform)] ?? manifests[0]
  const found: Descriptor[] = []
  for (const manifest of manifests) {
    if (manifest !== best && !(await isWhole(manifest, files))) continue
    found.push(...(await imageManifests(manifest, files, engine, depth + 1)))
  }
  return found
}

/** True when the archive has all that a manifest names. */
async function isWhole({ mediaType, digest }: Descriptor, files: ArchiveFiles): Promise<boolean> {
  const manifest = (await readJson(files, pathOf(digest))) as Partial<Manifest> | undefined
  if (manifest === undefined || !isManifestMediaType(mediaType)) return manifest !== undefined
  if ((await files.read(pathOf(manifest.config?.digest ?? ''))) === undefined) return false
  for (const layer of manifest.layers ?? []) {
    if ((await files.store(pathOf(layer.digest))) === undefined) return false
  }
  return true
}

async function readImage(descriptor: Descriptor, files: ArchiveFiles, engine: Engine): Promise<Found> {
  const raw = await requireFile(files.read(pathOf(descriptor.digest)), pathOf(descriptor.digest))
  if (digestOf(raw) !== descriptor.digest) {
    throw new BuildError('STORE_DIGEST_MISMATCH', `the manifest ${descriptor.digest} of the archive has other bytes`)
  }
  const manifest = parse(raw, 'manifest') as Manifest
  if (!Array.isArray(manifest.layers) || typeof manifest.config?.digest !== 'string') {
    throw new BuildError('ARCHIVE_BAD', `${descriptor.digest} is no image manifest`)
  }
  engine.store.blobs.writeBytes(raw)
  const { id, config, diffIds } = await readConfig(pathOf(manifest.config.digest), files, engine)
  checkCount(diffIds, manifest.layers.length)
  const layers = []
  for (const [i, blob] of manifest.layers.entries()) {
    const diffId = diffIds[i]
    if (layerCompression(blob.mediaType) === undefined) {
      throw new BuildError('LAYER_UNSUPPORTED', `a layer of the archive has the media type ${blob.mediaType}`)
    }
    await requireFile(files.store(pathOf(blob.digest)), pathOf(blob.digest))
    if (diffId !== undefined) layers.push({ diffId, blob })
  }
  const { mediaType, digest, size } = descriptor
  return { id, config, layers, manifest: { mediaType, digest, size } }
}

/** `manifest.json` of `docker save`: also the names where there is an index. */
async function findInDockerManifest(files: ArchiveFiles, found: Contents, engine: Engine): Promise<void> {
  const entries = await readJson(files, 'manifest.json')
  if (entries === undefined) return
  if (!Array.isArray(entries)) throw new BuildError('ARCHIVE_BAD', 'the manifest.json of the archive is no list')
  for (const entry of entries as { Config?: unknown; RepoTags?: unknown; Layers?: unknown }[]) {
    if (typeof entry.Config !== 'string' || !isTexts(entry.Layers)) {
      throw new BuildError('ARCHIVE_BAD', 'an image in manifest.json has no Config or no Layers')
    }
    const { id, config, diffIds } = await readConfig(entry.Config, files, engine)
    const image = found.images.get(id) ?? (await readDockerImage(id, config, diffIds, entry.Layers, files, engine))
    for (const name of isTexts(entry.RepoTags) ? entry.RepoTags : []) {
      const reference = parseReference(name)
      const full = isReference(reference) ? formatReference(reference) : undefined
      // The index knows more of a name: docker's list has one image only for it.
      if (full !== undefined && !found.names.get(full)?.includes(id)) found.names.set(full, [id])
    }
    found.images.set(id, image)
  }
}

async function readDockerImage(
  id: Digest,
  config: ImageConfig,
  diffIds: readonly DiffID[],
  paths: readonly string[],
  files: ArchiveFiles,
  engine: Engine,
): Promise<Found> {
  checkCount(diffIds, paths.length)
  const layers = []
  for (const [i, path] of paths.entries()) {
    const diffId = diffIds[i]
    const file = await requireFile(files.store(path), path)
    if (diffId !== undefined) layers.push({ diffId, blob: await describeLayer(file, engine) })
  }
  return { id, config, layers, manifest: undefined }
}

/** Docker's archives do not say how a layer is compressed. */
async function describeLayer({ digest, size }: StoredFile, { store }: Engine): Promise<Descriptor> {
  const types = { none: mediaTypes.ociLayer, gzip: mediaTypes.ociLayerGzip, zstd: mediaTypes.ociLayerZstd } as const
  const { open } = await import('node:fs/promises')
  const file = await open(store.blobs.pathOf(digest))
  try {
    const head = Buffer.alloc(8)
    await file.read(head)
    return { mediaType: types[detectCompression(head)], digest, size }
  } finally {
    await file.close()
  }
}

async function readConfig(
  path: string,
  files: ArchiveFiles,
  { store }: Engine,
): Promise<{ readonly id: Digest; readonly config: ImageConfig; readonly diffIds: readonly DiffID[] }> {
  const raw = await requireFile(files.read(path), path)
  const config = parse(raw, 'config') as ImageConfig
  const texts: unknown = config?.rootfs?.diff_ids
  if (!isTexts(texts) || typeof config.os !== 'string' || typeof config.architecture !== 'string') {
    throw new BuildError('ARCHIVE_BAD', `"${path}" of the archive is no image config`)
  }
  const diffIds = texts.map((text) => {
    const diffId = parseDiffId(text)
    if (diffId === undefined) throw new BuildError('ARCHIVE_BAD', `the image config "${path}" has the DiffID "${text}"`)
    return diffId
  })
  return { id: store.blobs.writeBytes(raw), config, diffIds }
}

function plainDescriptor({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size }
}

function saveLoaded({ id, config, layers, manifest }: Found, { store, settings }: Engine): void {
  store.images.save({
    id,
    platform: platformOfConfig(config),
    diffIds: layers.map(({ diffId }) => diffId),
    storedAt: settings.now(),
    manifests: manifest === undefined ? [] : [manifest],
    ...(config.created === undefined ? {} : { created: config.created }),
  })
}

function saveName(reference: string, ids: readonly Digest[], found: Contents, { store, settings }: Engine): void {
  const platforms = ids.map((id) => {
    const config = found.images.get(id)?.config
    return config && platformOfConfig(config)
  })
  const image = ids[bestPlatform(platforms, settings.hostPlatform)] ?? ids[0]
  if (image !== undefined) store.images.setTag({ reference, image, ...(ids.length > 1 ? { images: ids } : {}) })
}

/** containerd's name in full, or a ref name that is one; a bare tag names nothing. */
function nameOf(annotations: Descriptor['annotations']): string | undefined {
  const full = annotations?.[imageNameAnnotation]
  const ref = annotations?.[refNameAnnotation]
  const text = full ?? (ref !== undefined && /[/:]/.test(ref) ? ref : undefined)
  const reference = text === undefined ? undefined : parseReference(text)
  return reference !== undefined && isReference(reference) ? formatReference(reference) : undefined
}

function pathOf(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`
}

function checkCount(diffIds: readonly DiffID[], layers: number): void {
  if (diffIds.length === layers) return
  throw new BuildError('ARCHIVE_BAD', `an image of the archive has ${layers} layers, its config says ${diffIds.length}`)
}

async function readJson(files: ArchiveFiles, path: string): Promise<unknown> {
  const bytes = await files.read(path)
  return bytes && parse(bytes, path)
}

function parse(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw new BuildError('ARCHIVE_BAD', `the ${what} of the archive is not JSON`, { cause: error })
  }
}

async function requireFile<T>(work: Promise<T | undefined>, path: string): Promise<T> {
  const value = await work
  if (value === undefined) throw new BuildError('ARCHIVE_BAD', `the archive has no file "${path}", which its manifest names`)
  return value
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
