/**
 * Descriptors, manifests and indexes as they are on the wire; field names are the spec's.
 *
 * Spec: OCI image-spec descriptor.md, manifest.md, image-index.md; Docker image manifest v2 schema 2.
 */
import type { Digest } from './digest.js'
import type { Platform } from './platform.js'

/** The only way to point at a blob. `size` is in bytes and is checked whenever the blob is read. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly platform?: Platform
  readonly annotations?: Readonly<Record<string, string>>
  readonly urls?: readonly string[]
  readonly data?: string
  readonly artifactType?: string
}

/** An image manifest: a config and its layers, bottom first. */
export interface Manifest {
  readonly schemaVersion: 2
  readonly mediaType?: string
  readonly artifactType?: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
  readonly subject?: Descriptor
  readonly annotations?: Readonly<Record<string, string>>
}

/** An image index (or Docker manifest list): one manifest per platform. */
export interface Index {
  readonly schemaVersion: 2
  readonly mediaType?: string
  readonly artifactType?: string
  readonly manifests: readonly Descriptor[]
  readonly annotations?: Readonly<Record<string, string>>
}

/** Media types that mille writes or accepts. */
export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const

/** How a layer blob is compressed. */
export type Compression = 'none' | 'gzip' | 'zstd'

/** The compression that a layer media type names, or undefined when it is not a layer type that mille knows. */
export function layerCompression(mediaType: string): Compression | undefined {
  switch (distributable(mediaType)) {
    case mediaTypes.ociLayer:
    case mediaTypes.dockerLayer:
      return 'none'
    case mediaTypes.ociLayerGzip:
    case mediaTypes.dockerLayerGzip:
      return 'gzip'
    case mediaTypes.ociLayerZstd:
      return 'zstd'
    default:
      return undefined
  }
}

/** Layers that were not meant to be handed on have types of their own, for the same bytes (image-spec, layer.md). */
function distributable(mediaType: string): string {
  return mediaType
    .replace('.image.layer.nondistributable.v1.', '.image.layer.v1.')
    .replace('.image.rootfs.foreign.diff.', '.image.rootfs.diff.')
}

/** True for a layer that may not be handed on and lies at its `urls`. */
export function isForeign({ mediaType, urls }: Descriptor): boolean {
  return (urls?.length ?? 0) > 0 && distributable(mediaType) !== mediaType
}

/** True for a media type that is a list of manifests. */
export function isIndexMediaType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerManifestList
}

/** True for a media type that is an image manifest. */
export function isManifestMediaType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociManifest || mediaType === mediaTypes.dockerManifest
}
