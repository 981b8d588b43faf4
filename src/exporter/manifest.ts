/** Image → manifest → index: config, compressed layers and manifests by digest, in OCI's or Docker's media types. Pure. */
import { type Descriptor, type Index, layerCompression, type Manifest, mediaTypes } from '../core/descriptor.js'
import { digestOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { AssembledImage } from './assemble.js'

/** Which family of media types a manifest is written in. */
export type ManifestFormat = 'oci' | 'docker'

/** A manifest with the bytes that are hashed and the descriptor that points at them. */
export interface DescribedImage {
  readonly manifest: Manifest
  readonly rawManifest: string
  readonly descriptor: Descriptor
}

/**
 * Writes the manifest of an image.
 *
 * @param blobs the layers as they are stored, bottom first; their media types are put into the family of `format`
 * @param annotations of the manifest
 */
export function describeImage(
  image: AssembledImage,
  blobs: readonly Descriptor[],
  format: ManifestFormat,
  annotations: Readonly<Record<string, string>> = {},
): DescribedImage {
  const mediaType = format === 'oci' ? mediaTypes.ociManifest : mediaTypes.dockerManifest
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType,
    config: {
      mediaType: format === 'oci' ? mediaTypes.ociConfig : mediaTypes.dockerConfig,
      digest: image.id,
      size: Buffer.byteLength(image.rawConfig),
    },
    layers: blobs.map((blob) => ({ mediaType: layerMediaType(blob, format), digest: blob.digest, size: blob.size })),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  }
  const rawManifest = JSON.stringify(manifest)
  const descriptor: Descriptor = {
    mediaType,
    digest: digestOf(rawManifest),
    size: Buffer.byteLength(rawManifest),
    platform: image.platform,
  }
  return { manifest, rawManifest, descriptor }
}

/** An index with the bytes that are hashed and the descriptor that points at them. */
export interface DescribedIndex {
  readonly index: Index
  readonly rawIndex: string
  readonly descriptor: Descriptor
}

/** An image as an index lists it: with its platform, which the descriptor of a loaded or pulled manifest may lack. */
export function indexEntry({ platform }: AssembledImage, { descriptor }: DescribedImage): Descriptor {
  const { mediaType, digest, size } = descriptor
  return { mediaType, digest, size, platform }
}

/**
 * Writes the index of several manifests.
 *
 * @param manifests what it lists, in this order; of images each with its platform
 * @param annotations of the index
 */
export function describeIndex(
  manifests: readonly Descriptor[],
  format: ManifestFormat,
  annotations: Readonly<Record<string, string>> = {},
): DescribedIndex {
  const mediaType = format === 'oci' ? mediaTypes.ociIndex : mediaTypes.dockerManifestList
  const index: Index = {
    schemaVersion: 2,
    mediaType,
    manifests,
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  }
  const rawIndex = JSON.stringify(index)
  const descriptor = { mediaType, digest: digestOf(rawIndex), size: Buffer.byteLength(rawIndex) }
  return { index, rawIndex, descriptor }
}

/** The same blob's media type in the other family where that has one; Docker's has none for zstd. */
function layerMediaType(blob: Descriptor, format: ManifestFormat): string {
  const compression = layerCompression(blob.mediaType)
  if (compression === 'none') return format === 'oci' ? mediaTypes.ociLayer : mediaTypes.dockerLayer
  if (compression === 'gzip') return format === 'oci' ? mediaTypes.ociLayerGzip : mediaTypes.dockerLayerGzip
  if (compression === 'zstd' && format === 'oci') return mediaTypes.ociLayerZstd
  throw new BuildError('EXPORT_UNSUPPORTED', `docker manifests have no media type for a layer of type ${blob.mediaType}`, {
    hint: 'export with oci-mediatypes=true',
  })
}
