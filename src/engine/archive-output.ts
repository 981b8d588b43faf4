/** Images as OCI layouts and docker archives: in a file, a stream or a directory. */
import type { BuildAttestations, PendingAttestation } from '../attest/pending.js'
import type { Descriptor } from '../core/descriptor.js'
import type { Platform } from '../core/platform.js'
import { familiarReference, formatReference, type Reference } from '../core/reference.js'
import type { DescribedAttestation } from '../exporter/attestation.js'
import type { ArchiveEntry, ArchiveName } from '../exporter/docker-archive.js'
import type { LayoutImage } from '../exporter/oci-layout.js'
import type { Sink } from '../exporter/sink.js'
import { annotated, annotationsOf, refuseNoIndex } from './annotations.js'
import type { Engine } from './engine.js'
import { requireReference } from './images.js'
import type { BuildOutput, ImageAnnotation } from './options.js'
import { choiceOf, describeWithBlobs, mainImage, type OutputWork, saidOf, timesOf } from './outputs.js'

/** Writes the images of a build. Returns the index, or the manifest of the one image. */
export async function exportArchive(
  output: Extract<BuildOutput, { type: 'oci' | 'docker' }>,
  id: string,
  { engine, layers, assembler, isIndex, names, epoch, attestations, annotate }: OutputWork,
): Promise<Descriptor> {
  const images = await assembler.images(timesOf(output, epoch))
  const { annotations } = output
  const shared = { choice: choiceOf(output), format: 'oci' as const, annotate }
  const all = [...names, ...(output.names ?? []).map(requireReference)]
  const described: AttestedImage[] = []
  for (const image of images) {
    const pending = saidOf(image, attestations)
    const options = { ...shared, annotations: annotationsOf(annotations, 'manifest', image.platform) }
    described.push({ image, described: await describeWithBlobs(image, options, id, engine, layers), attestations: pending })
  }
  const storage = { storage: attestations?.storage ?? 'index', ociArtifact: output.ociArtifact ?? false } as const
  const entry = await archiveEntry(described, { isIndex, names: all, annotations, ...storage }, engine)
  const form = output.type === 'docker' ? 'docker' : 'oci'
  await writeArchive([entry], form, output.dest, output.tar ?? true, engine)
  return annotated(entry.index?.descriptor ?? entry.images[0].described.descriptor, entry.annotations)
}

/** An image of an archive, and what is said about it. */
export interface AttestedImage extends LayoutImage {
  readonly attestations: readonly PendingAttestation[]
}

/** How the images of one entry of an archive hang together. */
export interface ArchiveEntryOptions {
  readonly isIndex: boolean
  readonly names: readonly Reference[]
  readonly storage: BuildAttestations['storage']
  readonly ociArtifact: boolean
  readonly annotations?: readonly ImageAnnotation[] | undefined
}

/** Images as one entry of an archive; where it is an index, with the index that lists them in their order. */
export async function archiveEntry(
  images: readonly AttestedImage[],
  options: ArchiveEntryOptions,
  { settings }: Engine,
): Promise<ArchiveEntry> {
  const [first, ...more] = images
  if (first === undefined) throw new Error('an entry of an archive has an image')
  const { image: main } = mainImage([placed(first), ...more.map(placed)], settings.hostPlatform)
  const attestations = await attestImages(images, options)
  const { describeIndex, indexEntry } = await import('../exporter/manifest.js')
  const listed = options.storage === 'index' ? attestations.map(({ descriptor }) => descriptor) : []
  const isIndex = options.isIndex || listed.length > 0
  refuseNoIndex(options.annotations, isIndex)
  const entries = images.map(({ image, described }) =>
    annotated(indexEntry(image, described), annotationsOf(options.annotations, 'manifest-descriptor', image.platform)),
  )
  const ofIndex = annotationsOf(options.annotations, 'index')
  const index = isIndex ? describeIndex([...entries, ...listed], 'oci', ofIndex) : undefined
  const annotations = annotationsOf(
    options.annotations,
    isIndex ? 'index-descriptor' : 'manifest-descriptor',
    main.image.platform,
  )
  const names = options.names.map(archiveName)
  return { images: [main, ...images.filter((image) => image !== main)], index, names, attestations, annotations }
}

async function attestImages(
  images: readonly AttestedImage[],
  { names, storage, ociArtifact }: ArchiveEntryOptions,
): Promise<DescribedAttestation[]> {
  const attested = images.filter(({ attestations }) => attestations.length > 0)
  if (attested.length === 0) return []
  const { attestManifest } = await import('./attested.js')
  const form = ociArtifact || storage === 'referrers' ? 'artifact' : 'image'
  return attested.map(({ image, described, attestations }) => attestManifest(attestations, image, described, names, form))
}

function placed(image: LayoutImage): { readonly image: LayoutImage; readonly platform: Platform } {
  return { image, platform: image.image.platform }
}

/** What a name is called in an archive. */
function archiveName(name: Reference): ArchiveName {
  return { full: formatReference(name), familiar: familiarReference(name), tag: name.tag ?? 'latest' }
}

/** Writes images as a layout or docker archive, to a file, a stream or a directory. */
export async function writeArchive(
  images: readonly ArchiveEntry[],
  form: 'oci' | 'docker',
  dest: string | { readonly stream: NodeJS.WritableStream },
  tar: boolean,
  { store, ctx }: Engine,
): Promise<void> {
  const { openDirectorySink, openTarSink, openTarStream } = await import('../exporter/sink.js')
  const open = async (): Promise<Sink> => {
    if (typeof dest !== 'string') return openTarStream(dest.stream, 'the output')
    return tar ? openTarSink(dest) : openDirectorySink(dest)
  }
  await using sink = await open()
  if (form === 'oci') {
    const { writeLayout } = await import('../exporter/oci-layout.js')
    await writeLayout(images, sink, store, ctx.signal)
  } else {
    const { writeDockerArchive } = await import('../exporter/docker-archive.js')
    await writeDockerArchive(images, sink, store, ctx.signal)
  }
  await sink.finish()
}
