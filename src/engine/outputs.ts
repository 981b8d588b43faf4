/** Hands a finished image to its outputs: the store, registries, layouts, archives, directories. */
import type { Context } from '../core/context.js'
import type { Descriptor } from '../core/descriptor.js'
import type { DiffID } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { familiarReference, formatReference, type Reference } from '../core/reference.js'
import type { AssembledImage } from '../exporter/assemble.js'
import type { BlobChoice, BlobPorts } from '../exporter/blobs.js'
import type { ArchiveImage, ArchiveName } from '../exporter/docker-archive.js'
import type { DescribedImage, ManifestFormat } from '../exporter/manifest.js'
import type { Sink } from '../exporter/sink.js'
import type { StoredImage } from '../store/types.js'
import type { Engine } from './engine.js'
import { requireReference } from './images.js'
import type { EngineLayers } from './layers.js'
import type { BuildOutput, CompressionOptions } from './options.js'

/** What outputs have in common. */
export interface OutputWork {
  readonly engine: Engine
  readonly layers: EngineLayers
  readonly image: AssembledImage
  /** The names from `--tag`. */
  readonly names: readonly Reference[]
  readonly epoch: number | undefined
  /** More annotations of the manifest: an inline cache. */
  readonly annotate?: Annotate | undefined
}

/** Annotations that depend on the blobs of an image's layers. */
export type Annotate = (blobs: readonly Descriptor[]) => Readonly<Record<string, string>>

/** Exports to one output. Returns the manifest where one was made. */
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
  const names = [...work.names, ...(output.names ?? []).map(requireReference)]
  saveImage(work.engine, work.image, [])
  for (const name of names) work.engine.store.images.setTag({ reference: formatReference(name), image: work.image.id })
  if (!push) return undefined
  if (names.length === 0) {
    throw new BuildError('EXPORT_UNSUPPORTED', 'an image without a name cannot be pushed', {
      hint: 'name it with -t REGISTRY/NAME',
    })
  }
  const { pushToRegistry } = await import('./push.js')
  const format: ManifestFormat = output.ociMediaTypes === false ? 'docker' : 'oci'
  const described = await pushToRegistry(
    {
      image: work.image,
      names,
      choice: choiceOf(output),
      format,
      annotations: output.annotations ?? {},
      annotate: work.annotate,
      progressId: id,
    },
    work.engine,
    work.layers,
  )
  work.engine.store.blobs.writeBytes(described.rawManifest)
  saveImage(work.engine, work.image, [described.descriptor])
  return described.descriptor
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
export function choiceOf({ compression, forceCompression }: CompressionOptions): BlobChoice {
  return { compression: compression ?? 'gzip', force: forceCompression ?? false }
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
  const { provideBlob } = await import('../exporter/blobs.js')
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
  return describeAnnotated(image, blobs, options.format, options.annotations, options.annotate)
}

/** The manifest of an image with what `annotate` adds for its blobs. */
export async function describeAnnotated(
  image: AssembledImage,
  blobs: readonly Descriptor[],
  format: ManifestFormat,
  annotations: Readonly<Record<string, string>>,
  annotate: Annotate | undefined,
): Promise<DescribedImage> {
  const { describeImage } = await import('../exporter/manifest.js')
  return describeImage(image, blobs, format, { ...annotations, ...annotate?.(blobs) })
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
  { engine, layers, image, names, annotate }: OutputWork,
): Promise<Descriptor> {
  const options = { choice: choiceOf(output), format: 'oci' as const, annotations: output.annotations ?? {}, annotate }
  const described = await describeWithBlobs(image, options, id, engine, layers)
  const all = [...names, ...(output.names ?? []).map(requireReference)].map(archiveName)
  const form = output.type === 'docker' ? 'docker' : 'oci'
  await writeArchive([{ image, described, names: all }], form, output.dest, output.tar ?? true, engine)
  return described.descriptor
}

/** What a name is called in an archive. */
export function archiveName(name: Reference): ArchiveName {
  return { full: formatReference(name), familiar: familiarReference(name), tag: name.tag ?? 'latest' }
}

/** Writes images as a layout or docker archive, to a file, a stream or a directory. */
export async function writeArchive(
  images: readonly ArchiveImage[],
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
  { engine, layers, image, epoch }: OutputWork,
): Promise<undefined> {
  const { store, pool, ctx } = engine
  const diffIds = image.config.rootfs.diff_ids
  await layers.unpack(diffIds, id, ctx)
  const { layerDirectories } = await import('../ops/stack.js')
  const hostLowers = layerDirectories(store, diffIds)
  if (output.type === 'local') {
    await pool.run('exportDirectoryTask', { hostLowers, destination: output.dest }, ctx.signal)
    return undefined
  }
  const [{ rootfsTar }, { layerStack }] = await Promise.all([import('../exporter/rootfs.js'), import('../layer/stack.js')])
  await writeStream(rootfsTar(layerStack(hostLowers), epoch === undefined ? {} : { epoch }), output.dest, ctx)
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
