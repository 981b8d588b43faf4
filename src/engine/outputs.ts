/** Hands a finished image to its outputs: the store, registries, layouts, archives, directories. */
import type { BuildAttestations, PendingAttestation } from '../attest/pending.js'
import type { Descriptor } from '../core/descriptor.js'
import type { DiffID } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { bestPlatform, formatPlatform, type Platform } from '../core/platform.js'
import { formatReference, type Reference } from '../core/reference.js'
import type { AssembledImage } from '../exporter/assemble.js'
import type { BlobChoice, BlobPorts } from '../exporter/blobs.js'
import type { DescribedImage, ManifestFormat } from '../exporter/manifest.js'
import type { StoredImage, Tag } from '../store/types.js'
import type { Assembler, ImageTimestamps } from './assembled.js'
import type { Engine } from './engine.js'
import { requireReference } from './images.js'
import type { EngineLayers } from './layers.js'
import type { BuildOutput, CompressionOptions, TimestampOptions } from './options.js'

/** Images of one build; never none. */
export type AssembledImages = readonly [AssembledImage, ...AssembledImage[]]

/** What outputs have in common. */
export interface OutputWork {
  readonly engine: Engine
  readonly layers: EngineLayers
  readonly assembler: Assembler
  /** The names stand for an index, even if it has one image only. */
  readonly isIndex: boolean
  /** The names from `--tag`. */
  readonly names: readonly Reference[]
  /** SOURCE_DATE_EPOCH of the build. */
  readonly epoch: number | undefined
  /** Undefined: nothing is said about the images. */
  readonly attestations: BuildAttestations | undefined
  /** More annotations of manifests: an inline cache. */
  readonly annotate: Annotate | undefined
}

/** Annotations that depend on the blobs of an image's layers. */
export type Annotate = (image: AssembledImage, blobs: readonly Descriptor[]) => Readonly<Record<string, string>>

/** Which times an output has. Where there is an epoch, files have it too unless the output says otherwise. */
export function timesOf({ sourceDateEpoch, rewriteTimestamp }: TimestampOptions, epoch: number | undefined): ImageTimestamps {
  return { epoch: sourceDateEpoch ?? epoch, rewrite: rewriteTimestamp ?? true }
}

/** Exports to one output. Returns the manifest, or the index, where one was made. */
export async function exportTo(output: BuildOutput, push: boolean, work: OutputWork): Promise<Descriptor | undefined> {
  const { ctx, settings } = work.engine
  const id = `export:${output.type}`
  const name = `exporting to ${outputNames[output.type]}`
  const event = { id, name }
  ctx.emit({ type: 'vertex-started', ...event, atMs: settings.now() })
  try {
    const manifest = await exportAs(output, push, id, work)
    ctx.emit({ type: 'vertex-done', ...event, atMs: settings.now(), cached: false })
    return manifest
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    ctx.emit({ type: 'vertex-done', ...event, atMs: settings.now(), cached: false, error: text })
    throw error
  }
}

const outputNames: Readonly<Record<BuildOutput['type'], string>> = {
  image: 'image',
  oci: 'oci image format',
  docker: 'docker image format',
  local: 'client directory',
  tar: 'client tarball',
}

async function exportAs(output: BuildOutput, push: boolean, id: string, work: OutputWork): Promise<Descriptor | undefined> {
  switch (output.type) {
    case 'image':
      return exportImage(output, push || (output.push ?? false), id, work)
    case 'oci':
    case 'docker':
      return (await import('./archive-output.js')).exportArchive(output, id, work)
    case 'local':
    case 'tar':
      return (await import('./rootfs-output.js')).exportRootfs(output, id, work)
  }
}

/** Saves the image and its names; pushes it where that was asked for. */
async function exportImage(
  output: Extract<BuildOutput, { type: 'image' }>,
  push: boolean,
  id: string,
  work: OutputWork,
): Promise<Descriptor | undefined> {
  const { engine, layers, assembler, isIndex, attestations } = work
  const images = await assembler.images(timesOf(output, work.epoch))
  const names = [...work.names, ...(output.names ?? []).map(requireReference)]
  const annotations = output.annotations ?? []
  await saveImages(images, attestations, engine)
  if (annotations.length > 0 && !push) {
    const { annotationsOf } = await import('./annotations.js')
    for (const image of images) {
      const own = annotationsOf(annotations, 'manifest', image.platform)
      saveImage(engine, image, [await keptManifest(output, image, own, id, work)])
    }
  }
  for (const name of names) engine.store.images.setTag(tagOf(name, images, engine))
  if (!push) return undefined
  if (names.length === 0) {
    throw new BuildError('EXPORT_UNSUPPORTED', 'an image without a name cannot be pushed', {
      hint: 'name it with -t REGISTRY/NAME',
    })
  }
  const { pushAll } = await import('./push.js')
  const format: ManifestFormat = output.ociMediaTypes === false ? 'docker' : 'oci'
  if (attestations !== undefined && format === 'docker') {
    throw new BuildError('EXPORT_UNSUPPORTED', "Docker's own media types have none for attestations", {
      hint: 'leave out oci-mediatypes=false, or --provenance and --sbom',
    })
  }
  const pushed = await pushAll(
    {
      images: images.map((image) => ({ image, attestations: saidOf(image, attestations) })),
      ...{ isIndex, names, choice: choiceOf(output), format, annotations, progressId: id },
      ...{ storage: attestations?.storage ?? 'index', ociArtifact: output.ociArtifact ?? false },
      annotate: work.annotate,
    },
    engine,
    layers,
  )
  return pushed.descriptor
}

/** A name for all images of a build; the one for this machine stands for them where only one can. */
function tagOf(name: Reference, images: AssembledImages, { settings }: Engine): Tag {
  const tag = { reference: formatReference(name), image: mainImage(images, settings.hostPlatform).id }
  return images.length === 1 ? tag : { ...tag, images: images.map(({ id }) => id) }
}

/** The image for this machine, else the first. */
export function mainImage<Image extends { readonly platform: Platform }>(
  images: readonly [Image, ...Image[]],
  hostPlatform: Platform,
): Image {
  const platforms = images.map(({ platform }) => platform)
  return images[bestPlatform(platforms, hostPlatform)] ?? images[0]
}

/** Annotations are in the manifest alone: it is made now, so that a later push or save hands them on. */
async function keptManifest(
  output: Extract<BuildOutput, { type: 'image' }>,
  image: AssembledImage,
  annotations: Readonly<Record<string, string>>,
  id: string,
  { engine, layers }: OutputWork,
): Promise<Descriptor> {
  const format: ManifestFormat = output.ociMediaTypes === false ? 'docker' : 'oci'
  const described = await describeWithBlobs(image, { choice: choiceOf(output), format, annotations }, id, engine, layers)
  engine.store.blobs.writeBytes(described.rawManifest)
  return described.descriptor
}

/** What is said about an image of this build. */
export function saidOf({ platform }: AssembledImage, attestations: BuildAttestations | undefined): readonly PendingAttestation[] {
  return attestations?.of.get(formatPlatform(platform)) ?? []
}

/** Puts the images of a build into the store, with what is said about them, or without what an earlier build said. */
async function saveImages(images: AssembledImages, attestations: BuildAttestations | undefined, engine: Engine): Promise<void> {
  if (attestations === undefined) {
    for (const image of images) saveImage(engine, image, [], { attestations: undefined })
    return
  }
  const { keepAttestations } = await import('./attested.js')
  for (const image of images) {
    const pending = saidOf(image, attestations)
    saveImage(engine, image, [], { attestations: keepAttestations(pending, attestations.storage, engine) })
  }
}

/** Puts an assembled image into the store; what is there already is left as it is. */
export function saveImage(
  { store, settings }: Engine,
  image: AssembledImage,
  manifests: readonly Descriptor[],
  more: Pick<StoredImage, 'attestations'> = {},
): void {
  store.blobs.writeBytes(image.rawConfig)
  const stored: StoredImage = {
    ...more,
    id: image.id,
    platform: image.platform,
    diffIds: image.config.rootfs.diff_ids,
    storedAt: settings.now(),
    manifests,
    ...(image.config.created === undefined ? {} : { created: image.config.created }),
  }
  store.images.save(stored)
}

/** gzip is what every registry, runtime and `docker load` reads. */
export function choiceOf({ compression, compressionLevel, forceCompression }: CompressionOptions): BlobChoice {
  return { compression: compression ?? 'gzip', level: compressionLevel, force: forceCompression ?? false }
}

/** The ports for making blobs of layers. */
export function blobPorts({ store, pool, settings }: Engine, layers: EngineLayers): BlobPorts {
  return { store, pool, unpack: layers.unpack, making: layers.making, now: settings.now }
}

/** All layers of an image as blobs whose bytes are here, and the manifest of them. */
export async function describeWithBlobs(
  image: AssembledImage,
  options: {
    readonly choice: BlobChoice
    readonly format: ManifestFormat
    readonly annotations: Readonly<Record<string, string>>
    readonly annotate?: Annotate | undefined
  },
  progressId: string,
  engine: Engine,
  layers: EngineLayers,
): Promise<DescribedImage> {
  const [{ provideBlob }, { describeImage }] = await Promise.all([
    import('../exporter/blobs.js'),
    import('../exporter/manifest.js'),
  ])
  const { ctx, store } = engine
  const ports = blobPorts(engine, layers)
  const provide = async (diffId: DiffID): Promise<Descriptor> => {
    const blob = await provideBlob(diffId, options.choice, ports, progressId, ctx)
    const record = store.layers.find(diffId)
    if (record !== undefined) await layers.bringBlob(record, blob, progressId, ctx)
    return blob
  }
  const diffIds = image.config.rootfs.diff_ids
  const distinct = new Map(await allOf([...new Set(diffIds)].map(async (diffId) => [diffId, await provide(diffId)] as const)))
  const blobs = diffIds.flatMap((diffId) => distinct.get(diffId) ?? [])
  return describeImage(image, blobs, options.format, { ...options.annotations, ...options.annotate?.(image, blobs) })
}

/** As `Promise.all`, but nothing runs on when it rejects. */
async function allOf<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const outcomes = await Promise.allSettled(work)
  return outcomes.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason
    return outcome.value
  })
}
