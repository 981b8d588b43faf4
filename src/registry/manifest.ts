/**
 * Reads manifests, indexes and configs that came from outside: sizes, types and digests are checked before anything
 * believes them. Spec: image-spec manifest.md, image-index.md, config.md.
 */
import {
  type Descriptor,
  type Index,
  isIndexMediaType,
  isManifestMediaType,
  layerCompression,
  type Manifest,
  mediaTypes,
} from '../core/descriptor.js'
import { isContentDigest, isDigest } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { ImageConfig } from '../core/image.js'
import { isRecord, parseJson } from './errors.js'

/** Manifests above this size are refused, as registries do. */
export const manifestLimitBytes = 4 * 1024 * 1024
/** Configs above this size are refused. */
export const configLimitBytes = 8 * 1024 * 1024

/** What a manifest URL can answer. */
export type ParsedManifest =
  | { readonly kind: 'manifest'; readonly mediaType: string; readonly manifest: Manifest }
  | { readonly kind: 'index'; readonly mediaType: string; readonly index: Index }

/**
 * Reads the bytes of a manifest or index.
 *
 * @param contentType the `Content-Type` they came with, or the descriptor's media type; registries that send a general
 * type are forgiven when the document says what it is
 * @param subject the image's name, for errors
 */
export function parseManifest(bytes: Uint8Array, contentType: string | undefined, subject: string): ParsedManifest {
  const document = parseJson(Buffer.from(bytes).toString())
  if (!isRecord(document)) throw bad(subject, 'is not JSON')
  const declared = contentType?.split(';')[0]?.trim().toLowerCase() ?? ''
  if (document.schemaVersion === 1 || declared.startsWith('application/vnd.docker.distribution.manifest.v1+')) {
    throw bad(subject, 'has schema version 1, which was given up in 2017', 'push the image again with a tool of today')
  }
  if (document.schemaVersion !== 2) throw bad(subject, `has schemaVersion ${JSON.stringify(document.schemaVersion)} instead of 2`)
  const mediaType = mediaTypeOf(document, declared, subject)
  // A document that could be read both ways is an attack, not an image.
  if (document.manifests !== undefined && (document.layers !== undefined || document.config !== undefined)) {
    throw bad(subject, 'is a manifest and an index at once')
  }
  if (isIndexMediaType(mediaType)) {
    const manifests = descriptorList(document.manifests, 'manifests', subject)
    return { kind: 'index', mediaType, index: { ...document, schemaVersion: 2, manifests } }
  }
  const config = checkDescriptor(document.config, 'config', subject)
  const layers = descriptorList(document.layers, 'layers', subject)
  return { kind: 'manifest', mediaType, manifest: { ...document, schemaVersion: 2, config, layers } }
}

function mediaTypeOf(document: Record<string, unknown>, declared: string, subject: string): string {
  const own = document.mediaType
  if (own !== undefined && typeof own !== 'string') throw bad(subject, 'has a mediaType that is no text')
  const known = (type: string): boolean => isIndexMediaType(type) || isManifestMediaType(type)
  if (own !== undefined && !known(own))
    throw bad(subject, `has the media type ${JSON.stringify(own.slice(0, 100))}, which is no image`)
  if (known(declared) && own !== undefined && own !== declared) {
    throw bad(subject, `says it is ${own}, but was sent as ${declared}`)
  }
  if (known(declared)) return declared
  return own ?? (document.manifests === undefined ? mediaTypes.ociManifest : mediaTypes.ociIndex)
}

function descriptorList(value: unknown, name: string, subject: string): Descriptor[] {
  if (!Array.isArray(value)) throw bad(subject, `has no list of ${name}`)
  return value.map((item, index) => checkDescriptor(item, `${name}[${index}]`, subject))
}

function checkDescriptor(value: unknown, name: string, subject: string): Descriptor {
  if (!isRecord(value)) throw bad(subject, `has no ${name}`)
  const { mediaType, digest, size } = value
  if (typeof mediaType !== 'string') throw bad(subject, `has a ${name} without mediaType`)
  if (typeof digest !== 'string' || !isContentDigest(digest)) {
    throw bad(subject, `has a ${name} whose digest is ${JSON.stringify(digest)?.slice(0, 100)}, neither sha256 nor sha512`)
  }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw bad(subject, `has a ${name} whose size is ${JSON.stringify(size)}`)
  return value as unknown as Descriptor
}

/** Reads a config and checks that it fits its manifest. */
export function parseConfig(bytes: Uint8Array, manifest: Manifest, subject: string): ImageConfig {
  checkImageTypes(manifest, subject)
  const config = parseJson(Buffer.from(bytes).toString())
  const fail = (problem: string): BuildError => new BuildError('IMAGE_BAD_CONFIG', `the config of ${subject} ${problem}`)
  if (!isRecord(config)) throw fail('is not JSON')
  if (typeof config.os !== 'string' || typeof config.architecture !== 'string') throw fail('has no os and architecture')
  const { rootfs } = config
  const diffIds = isRecord(rootfs) ? rootfs.diff_ids : undefined
  // An image without layers may leave the list out: Go writes null for an empty one.
  const list = diffIds ?? []
  if (!isRecord(rootfs) || !Array.isArray(list) || !list.every((id) => typeof id === 'string' && isDigest(id))) {
    throw fail('has no list of sha256 rootfs.diff_ids')
  }
  if (list.length !== manifest.layers.length) {
    throw fail(`lists ${list.length} layers, its manifest ${manifest.layers.length}`)
  }
  return {
    ...(config as unknown as ImageConfig),
    rootfs: { type: 'layers', diff_ids: list as unknown as ImageConfig['rootfs']['diff_ids'] },
  }
}

/** Helm charts, signatures and the like come in manifests too. */
function checkImageTypes(manifest: Manifest, subject: string): void {
  const { mediaType } = manifest.config
  if (mediaType !== mediaTypes.ociConfig && mediaType !== mediaTypes.dockerConfig) {
    throw bad(
      subject,
      `is an artifact of type ${JSON.stringify((manifest.artifactType ?? mediaType).slice(0, 100))}, not a container image`,
    )
  }
  const strange = manifest.layers.find((layer) => layerCompression(layer.mediaType) === undefined)
  if (strange !== undefined)
    throw bad(subject, `has a layer of the unknown type ${JSON.stringify(strange.mediaType.slice(0, 100))}`)
}

function bad(subject: string, problem: string, hint?: string): BuildError {
  return new BuildError('IMAGE_BAD_MANIFEST', `the manifest of ${subject} ${problem}`, { hint })
}
