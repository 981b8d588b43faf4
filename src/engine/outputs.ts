/** Hands a finished image to its outputs: the store, registries, layouts, archives, directories. */
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import type { DiffID } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { bestPlatform, type Platform, platformFolder } from '../core/platform.js'
import { familiarReference, formatReference, type Reference } from '../core/reference.js'
import type { AssembledImage } from '../exporter/assemble.js'
import type { BlobChoice, BlobPorts } from '../exporter/blobs.js'
import type { ArchiveEntry, ArchiveName } from '../exporter/docker-archive.js'
import type { DescribedImage, ManifestFormat } from '../exporter/manifest.js'
import type { LayoutImage } from '../exporter/oci-layout.js'
import type { Sink } from '../exporter/sink.js'
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
  /** More annotations of manifests: an inline cache. */
  readonly annotate?: Annotate | undefined
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

function exportAs(output: BuildOutput, push: boolean, id: string, work: OutputWork): Promise<Descriptor | undefined> {
  switch (output.type) {
    case 'image':
      return exportImage(output, push || (output.push ?? false), id, work)
    case 'oci':
    case 'docker':
      return exportArchive(output, id, work)
    case 'local':
    case 'tar':
      return exportRootfs(output, id, work)
  }
}

/** Saves the image and its names; pushes it where that was asked for. */
async function exportImage(
  output: Extract<BuildOutput, { type: 'image' }>,
  push: boolean,
  id: string,
  work: OutputWork,
): Promise<Descriptor | undefined> {
  const { engine, layers, assembler, isIndex } = work
  const images = await assembler.images(timesOf(output, work.epoch))
  const names = [...work.names, ...(output.names ?? []).map(requireReference)]
  for (const image of images) saveImage(engine, image, [])
  for (const name of names) engine.store.images.setTag(tagOf(name, images, engine))
  if (!push) return undefined
  if (names.length === 0) {
    throw new BuildError('EXPORT_UNSUPPORTED', 'an image without a name cannot be pushed', {
      hint: 'name it with -t REGISTRY/NAME',
    })
  }
  const { pushAll } = await import('./push.js')
  const format: ManifestFormat = output.ociMediaTypes === false ? 'docker' : 'oci'
  const pushed = await pushAll(
    {
      ...{ images: images.map((image) => ({ image })), isIndex, names, choice: choiceOf(output), format },
      ...{ annotations: output.annotations ?? {}, annotate: work.annotate, progressId: id },
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

/** Puts an assembled image into the store; what is there already is left as it is. */
export function saveImage({ store, settings }: Engine, image: AssembledImage, manifests: readonly Descriptor[]): void {
  store.blobs.writeBytes(image.rawConfig)
  const stored: StoredImage = {
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

async function exportArchive(
  output: Extract<BuildOutput, { type: 'oci' | 'docker' }>,
  id: string,
  { engine, layers, assembler, isIndex, names, epoch, annotate }: OutputWork,
): Promise<Descriptor> {
  const images = await assembler.images(timesOf(output, epoch))
  const options = { choice: choiceOf(output), format: 'oci' as const, annotations: output.annotations ?? {}, annotate }
  const all = [...names, ...(output.names ?? []).map(requireReference)].map(archiveName)
  const described: LayoutImage[] = []
  for (const image of images) {
    described.push({ image, described: await describeWithBlobs(image, options, id, engine, layers) })
  }
  const entry = await archiveEntry(described, isIndex, all, engine)
  const form = output.type === 'docker' ? 'docker' : 'oci'
  await writeArchive([entry], form, output.dest, output.tar ?? true, engine)
  return entry.index?.descriptor ?? entry.images[0].described.descriptor
}

/** Images as one entry of an archive; where `isIndex` is set, with the index that lists them in their order. */
export async function archiveEntry(
  images: readonly LayoutImage[],
  isIndex: boolean,
  names: readonly ArchiveName[],
  { settings }: Engine,
): Promise<ArchiveEntry> {
  const [first, ...more] = images
  if (first === undefined) throw new Error('an entry of an archive has an image')
  const { image: main } = mainImage([placed(first), ...more.map(placed)], settings.hostPlatform)
  const { describeIndex, indexEntry } = await import('../exporter/manifest.js')
  const index = isIndex
    ? describeIndex(
        images.map(({ image, described }) => indexEntry(image, described)),
        'oci',
      )
    : undefined
  return { images: [main, ...images.filter((image) => image !== main)], index, names }
}

function placed(image: LayoutImage): { readonly image: LayoutImage; readonly platform: Platform } {
  return { image, platform: image.image.platform }
}

/** What a name is called in an archive. */
export function archiveName(name: Reference): ArchiveName {
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

async function exportRootfs(
  output: Extract<BuildOutput, { type: 'local' | 'tar' }>,
  id: string,
  { engine, layers, assembler, isIndex, epoch: buildEpoch }: OutputWork,
): Promise<undefined> {
  const times = timesOf(output, buildEpoch)
  // The times are taken back on the way out: the layers themselves need not be rewritten.
  const images = await assembler.images({ ...times, rewrite: false })
  const epoch = times.rewrite && times.epoch !== undefined ? { epoch: times.epoch } : {}
  const { store, pool, ctx } = engine
  const { layerDirectories } = await import('../ops/stack.js')
  const parts: { readonly hostLowers: readonly string[]; readonly folder: string }[] = []
  for (const { platform, config } of images) {
    const diffIds = config.rootfs.diff_ids
    await layers.unpack(diffIds, id, ctx)
    const folder = (output.platformSplit ?? isIndex) ? platformFolder(platform) : ''
    parts.push({ hostLowers: layerDirectories(store, diffIds), folder })
  }
  if (output.type === 'local') {
    await pool.run('exportDirectoryTask', { parts, destination: output.dest, ...epoch }, ctx.signal)
    return undefined
  }
  const [{ rootfsTar }, { layerStack }] = await Promise.all([import('../exporter/rootfs.js'), import('../layer/stack.js')])
  const views = parts.map(({ hostLowers, folder }) => ({ view: layerStack(hostLowers), folder }))
  await writeStream(rootfsTar(views, epoch), output.dest, ctx)
  return undefined
}

async function writeStream(
  bytes: import('node:stream').Readable,
  dest: string | { readonly stream: NodeJS.WritableStream },
  ctx: Context,
): Promise<void> {
  const { pipeline } = await import('node:stream/promises')
  if (typeof dest !== 'string') return pipeline(bytes, dest.stream, { signal: ctx.signal })
  const { writeFileFrom } = await import('../exporter/sink.js')
  return writeFileFrom(dest, bytes, ctx.signal)
}
