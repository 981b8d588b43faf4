/**
 * Images in an OCI layout on this machine: `oci-layout://PATH[:TAG][@DIGEST]`, a directory or a tar of one (image-spec,
 * image-layout.md).
 *
 * Everything is checked against its digest, and every layer is unpacked, and so verified, before a build uses it. The index
 * is read by each build: what the tag names may have changed.
 */
import { resolve } from 'node:path'
import type { Context } from '../core/context.js'
import type { Descriptor, Index } from '../core/descriptor.js'
import { type Digest, digestOf, parseDiffId, parseDigest } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { Platform } from '../core/platform.js'
import { imageNameAnnotation, refNameAnnotation } from '../exporter/oci-layout.js'
import type { ResolvedImage } from '../frontend/resolve.js'
import { configLimitBytes, manifestLimitBytes, type ParsedManifest, parseConfig, parseManifest } from '../registry/manifest.js'
import { chooseManifest, nestingLimit } from '../registry/resolve.js'
import { type ArchiveFiles, openArchive } from './archive-files.js'
import { splitLayout } from './context-reference.js'
import type { Engine } from './engine.js'
import { createLayers } from './layers.js'

/** A layout with the words for it. */
interface Layout {
  readonly files: ArchiveFiles
  readonly reference: string
  readonly path: string
}

/**
 * Finds the image for a platform, and brings its layers here.
 *
 * @throws BuildError IMAGE_NOT_FOUND, IMAGE_NO_PLATFORM, IMAGE_BAD_MANIFEST, IMAGE_BAD_CONFIG, STORE_DIGEST_MISMATCH, ARCHIVE_BAD
 */
export async function findInLayout(reference: string, platform: Platform, engine: Engine, ctx: Context): Promise<ResolvedImage> {
  const { path, tag, digest } = splitLayout(reference)
  const layout = { files: await openArchive(resolve(path), engine.store.blobs, ctx.signal), reference, path }
  const top = digest === undefined ? await findByTag(layout, tag, platform) : { digest: requireDigest(digest, reference) }
  const { bytes, manifest, digest: manifestDigest } = await findManifest(layout, top, platform)
  const rawConfig = await readBlob(layout, manifest.config.digest, configLimitBytes)
  const config = parseConfig(rawConfig, manifest, reference)
  engine.store.blobs.writeBytes(bytes)
  const configDigest = engine.store.blobs.writeBytes(rawConfig)
  const diffIds = config.rootfs.diff_ids.flatMap((text) => parseDiffId(text) ?? [])
  const layers = createLayers(engine)
  for (const [i, { mediaType, digest: blob, size }] of manifest.layers.entries()) {
    const diffId = diffIds[i]
    if (diffId === undefined) throw new BuildError('IMAGE_BAD_CONFIG', `the config of ${reference} has a bad DiffID`)
    if (layers.areHere([diffId])) continue
    if (!engine.store.blobs.has(blob) && (await layout.files.store(pathOf(blob))) === undefined) throw missing(layout, blob)
    await layers.adopt(diffId, { mediaType, digest: blob, size }, 'layers', ctx)
  }
  const { os, architecture, variant } = config
  const own = { os, architecture, ...(variant === undefined ? {} : { variant }) }
  return { reference, manifest: manifestDigest, configDigest, config, platform: own, diffIds }
}

function requireDigest(text: string, reference: string): Digest {
  const digest = parseDigest(text)
  if (digest !== undefined) return digest
  throw new BuildError('IMAGE_BAD_NAME', `"${text}" in ${reference} is no sha256 digest`, {
    hint: 'write sha256: and 64 lower-case hex digits',
  })
}

type Top = Pick<Descriptor, 'digest'> & Partial<Pick<Descriptor, 'mediaType'>>

/** The entry of a tag, `latest` when none is given. Without a tag, the images of a layout that gives no names will do. */
async function findByTag(layout: Layout, tag: string | undefined, platform: Platform): Promise<Top> {
  const bytes = await layout.files.read('index.json')
  if (bytes === undefined) {
    throw new BuildError('IMAGE_NOT_FOUND', `${layout.path} is no OCI layout: it has no index.json`, {
      hint: 'an archive of "docker save" is made an image of the store by "mille load"',
    })
  }
  const parsed = parseManifest(bytes, undefined, layout.reference)
  if (parsed.kind !== 'index') throw new BuildError('IMAGE_BAD_MANIFEST', `the index.json of ${layout.path} is no index`)
  const entries = parsed.index.manifests
  const named = entries.filter((entry) => namesOf(entry).includes(tag ?? 'latest'))
  if (named.length > 0) return chooseEntry(named, platform, layout)
  const isFree = entries.length === 1 || entries.every((entry) => namesOf(entry).length === 0)
  if (tag === undefined && isFree && entries.length > 0) return chooseEntry(entries, platform, layout)
  const names = [...new Set(entries.flatMap(namesOf))]
  throw new BuildError('IMAGE_NOT_FOUND', `the layout ${layout.path} has no image with the tag ${tag ?? 'latest'}`, {
    hint: names.length === 0 ? 'its images have no tags: name one by its digest' : `it has ${names.sort().join(', ')}`,
  })
}

function chooseEntry(entries: readonly Descriptor[], platform: Platform, { reference }: Layout): Descriptor {
  const [only] = entries
  if (only !== undefined && entries.length === 1) return only
  return chooseManifest({ schemaVersion: 2, manifests: entries } as Index, platform, reference)
}

/** The tag, alone or at the end of a name in full. */
function namesOf({ annotations }: Descriptor): string[] {
  const texts = [annotations?.[refNameAnnotation], annotations?.[imageNameAnnotation]]
  return texts.flatMap((text) => (text === undefined ? [] : [/:([\w][\w.-]*)$/.exec(text)?.[1] ?? text]))
}

type FoundManifest = Extract<ParsedManifest, { readonly kind: 'manifest' }> & { readonly bytes: Buffer; readonly digest: Digest }

async function findManifest(layout: Layout, top: Top, platform: Platform): Promise<FoundManifest> {
  let at = top
  for (let depth = 0; depth <= nestingLimit; depth++) {
    const digest = requireDigest(at.digest, layout.reference)
    const bytes = await readBlob(layout, digest, manifestLimitBytes)
    const parsed = parseManifest(bytes, at.mediaType, layout.reference)
    if (parsed.kind === 'manifest') return { ...parsed, bytes, digest }
    at = chooseManifest(parsed.index, platform, layout.reference)
  }
  throw new BuildError('IMAGE_BAD_MANIFEST', `${layout.reference} has indexes in indexes, more than ${nestingLimit} deep`)
}

async function readBlob(layout: Layout, digest: Digest, limitBytes: number): Promise<Buffer> {
  const bytes = await layout.files.read(pathOf(digest))
  if (bytes === undefined) throw missing(layout, digest)
  const found = digestOf(bytes)
  if (found === digest && bytes.length <= limitBytes) return bytes
  throw new BuildError('STORE_DIGEST_MISMATCH', `the file ${pathOf(digest)} of ${layout.path} has the digest ${found}`, {
    hint: 'the layout is damaged: make it again',
  })
}

function missing({ path }: Layout, digest: Digest): BuildError {
  return new BuildError('IMAGE_NOT_FOUND', `the layout ${path} has no file ${pathOf(digest)}`, {
    hint: 'the layout is not whole: make it again',
  })
}

function pathOf(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}`
}
