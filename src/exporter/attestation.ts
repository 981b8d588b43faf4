/**
 * Attestation manifests: statements about an image, in the form that BuildKit stores them (its attestation-storage.md) or as
 * an OCI artifact that refers to the image (image-spec, manifest.md "subject"). Pure.
 */
import type { Descriptor, Manifest } from '../core/descriptor.js'
import { mediaTypes } from '../core/descriptor.js'
import { digestOf } from '../core/digest.js'

/** A statement and its predicate's type. */
export interface StatementText {
  readonly predicateType: string
  readonly text: string
}

/** A small blob that exists only as text. */
export interface TextBlob {
  readonly descriptor: Descriptor
  readonly text: string
}

/** An attestation manifest with all that it names. */
export interface DescribedAttestation {
  /** As it stands in an index: platform `unknown/unknown`, annotations that name the image. */
  readonly descriptor: Descriptor
  readonly rawManifest: string
  readonly blobs: readonly TextBlob[]
}

/** `image`: an image manifest, which every registry takes. `artifact`: with a type and a subject of its own. */
export type AttestationForm = 'image' | 'artifact'

const artifactType = 'application/vnd.docker.attestation.manifest.v1+json'
const statementMediaType = 'application/vnd.in-toto+json'
const emptyMediaType = 'application/vnd.oci.empty.v1+json'

/** Writes the manifest of what is said about `image`, the manifest of one platform. */
export function describeAttestation(
  image: Descriptor,
  statements: readonly StatementText[],
  form: AttestationForm,
): DescribedAttestation {
  const layers = statements.map(({ predicateType, text }) =>
    textBlob(text, statementMediaType, { annotations: { 'in-toto.io/predicate-type': predicateType } }),
  )
  const config = form === 'artifact' ? textBlob('{}', emptyMediaType, { data: 'e30=' }) : unknownConfig(layers)
  const { mediaType, digest, size } = image
  const manifest: Manifest = {
    ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest },
    ...(form === 'artifact' ? { artifactType } : {}),
    config: config.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
    ...(form === 'artifact' ? { subject: { mediaType, digest, size } } : {}),
  }
  const rawManifest = JSON.stringify(manifest)
  const descriptor: Descriptor = {
    mediaType: mediaTypes.ociManifest,
    digest: digestOf(rawManifest),
    size: Buffer.byteLength(rawManifest),
    ...(form === 'artifact' ? { artifactType } : {}),
    annotations: { 'vnd.docker.reference.digest': digest, 'vnd.docker.reference.type': 'attestation-manifest' },
    platform: { architecture: 'unknown', os: 'unknown' },
  }
  return { descriptor, rawManifest, blobs: [...layers, config] }
}

function textBlob(text: string, mediaType: string, more: Partial<Descriptor>): TextBlob {
  return { text, descriptor: { mediaType, digest: digestOf(text), size: Buffer.byteLength(text), ...more } }
}

/** The config of an image that is none: readers that know only images find the layers that it promises. */
function unknownConfig(layers: readonly TextBlob[]): TextBlob {
  const diffIds = layers.map(({ descriptor }) => descriptor.digest)
  const config = { architecture: 'unknown', os: 'unknown', config: {}, rootfs: { type: 'layers', diff_ids: diffIds } }
  return textBlob(JSON.stringify(config), mediaTypes.ociConfig, {})
}

/** True for an entry of an index that is an attestation manifest. */
export function isAttestation({ annotations }: Descriptor): boolean {
  return annotations?.['vnd.docker.reference.type'] === 'attestation-manifest'
}
