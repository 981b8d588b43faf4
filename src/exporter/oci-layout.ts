/**
 * Writes images as an OCI image layout (image-spec, image-layout.md), into a directory or a tar.
 *
 * The same files with a `manifest.json` are a docker archive (docker-archive.ts). A layout that is there already keeps its
 * other images; an image of the same name is replaced in its index.
 */
import { type Descriptor, type Index, mediaTypes } from '../core/descriptor.js'
import { BuildError } from '../core/errors.js'
import type { Store } from '../store/types.js'
import type { AssembledImage } from './assemble.js'
import type { DescribedAttestation } from './attestation.js'
import type { DescribedImage, DescribedIndex } from './manifest.js'
import { type Sink, type SinkFile, textFile } from './sink.js'

/** The annotation with the tag of an image in a layout. */
export const refNameAnnotation = 'org.opencontainers.image.ref.name'
/** The annotation in which containerd and docker look for the name in full. */
export const imageNameAnnotation = 'io.containerd.image.name'

/** What an image is called in a layout. */
export interface LayoutName {
  /** In full: `docker.io/library/app:1.2`. */
  readonly full: string
  /** `1.2`. */
  readonly tag: string
}

/** An image of a layout. */
export interface LayoutImage {
  readonly image: AssembledImage
  readonly described: DescribedImage
}

/** What names in a layout stand for: one image, or an index with all its images. */
export interface LayoutEntry {
  /** First the one for readers that know no index. */
  readonly images: readonly [LayoutImage, ...LayoutImage[]]
  /** Undefined: the names are those of the only image. */
  readonly index: DescribedIndex | undefined
  readonly names: readonly LayoutName[]
  /** Of its descriptor in `index.json`, beside its names. */
  readonly annotations: Readonly<Record<string, string>>
  readonly attestations: readonly DescribedAttestation[]
}

/** Writes the blobs, the index and `oci-layout`. The bytes of all layers must be in the store. */
export async function writeLayout(
  entries: readonly LayoutEntry[],
  sink: Sink,
  store: Pick<Store, 'blobs'>,
  signal: AbortSignal,
): Promise<void> {
  const written = new Set<string>()
  const once = async (file: SinkFile): Promise<void> => {
    if (written.has(file.path)) return
    written.add(file.path)
    await sink.file(file, signal)
  }
  let index = readIndex(sink)
  for (const entry of entries) {
    for (const { image, described } of entry.images) {
      const { manifest, rawManifest, descriptor } = described
      for (const layer of manifest.layers) {
        await once({ path: blobPath(layer), size: layer.size, open: () => store.blobs.open(layer) })
      }
      await once(textFile(blobPath(manifest.config), image.rawConfig))
      await once(textFile(blobPath(descriptor), rawManifest))
    }
    for (const { descriptor, rawManifest, blobs } of entry.attestations) {
      for (const blob of blobs) await once(textFile(blobPath(blob.descriptor), blob.text))
      await once(textFile(blobPath(descriptor), rawManifest))
    }
    if (entry.index !== undefined) await once(textFile(blobPath(entry.index.descriptor), entry.index.rawIndex))
    const { descriptor } = entry.index ?? entry.images[0].described
    index = addToIndex(index, descriptor, entry.names, entry.annotations)
    for (const { descriptor: beside } of notIn(entry)) index = addToIndex(index, beside, [])
  }
  await sink.file(textFile('oci-layout', '{"imageLayoutVersion":"1.0.0"}'), signal)
  await sink.file(textFile('index.json', JSON.stringify(index)), signal)
}

/** Attestations that the entry's own index does not list: they refer to its image, and stand beside it. */
function notIn({ index, attestations }: LayoutEntry): readonly DescribedAttestation[] {
  const listed = new Set(index?.index.manifests.map(({ digest }) => digest))
  return attestations.filter(({ descriptor }) => !listed.has(descriptor.digest))
}

/** The path of a blob in a layout. */
export function blobPath({ digest }: { readonly digest: string }): string {
  const [algorithm = '', hex = ''] = digest.split(':')
  return `blobs/${algorithm}/${hex}`
}

function readIndex(sink: Sink): Index | undefined {
  const text = sink.existing('index.json')
  if (text === undefined) return undefined
  try {
    const index: unknown = JSON.parse(text)
    if (isIndex(index)) return index
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new BuildError('EXPORT_FAILED', 'the index.json at the destination is no OCI image index', {
    hint: 'name an empty directory, or remove what is there',
  })
}

function isIndex(value: unknown): value is Index {
  return typeof value === 'object' && value !== null && 'manifests' in value && Array.isArray(value.manifests)
}

function addToIndex(
  index: Index | undefined,
  descriptor: Descriptor,
  names: readonly LayoutName[],
  more: Readonly<Record<string, string>> = {},
): Index {
  const tags = new Set(names.map(({ tag }) => tag))
  const kept = (index?.manifests ?? []).filter(({ digest, annotations }) => {
    const tag = annotations?.[refNameAnnotation]
    return tag === undefined ? digest !== descriptor.digest : !tags.has(tag)
  })
  const added =
    names.length === 0
      ? [Object.keys(more).length === 0 ? descriptor : { ...descriptor, annotations: { ...descriptor.annotations, ...more } }]
      : names.map(({ full, tag }) => ({
          ...descriptor,
          annotations: { ...more, [imageNameAnnotation]: full, [refNameAnnotation]: tag },
        }))
  return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [...kept, ...added] }
}
