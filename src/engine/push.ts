/** Pushes an image: layers go up while others are still being compressed, then config and manifest. */
import { Readable } from 'node:stream'
import type { BuildAttestations, PendingAttestation } from '../attest/pending.js'
import { awaitedLater } from '../core/awaited.js'
import type { Descriptor } from '../core/descriptor.js'
import type { Reference } from '../core/reference.js'
import type { AssembledImage } from '../exporter/assemble.js'
import { type BlobChoice, provideBlob } from '../exporter/blobs.js'
import { type DescribedImage, describeImage, describeIndex, indexEntry, type ManifestFormat } from '../exporter/manifest.js'
import { type ManifestBytes, pushImage, pushManifest } from '../registry/push.js'
import type { LayerRecord } from '../store/types.js'
import { annotated, annotationsOf, refuseNoIndex } from './annotations.js'
import { type Engine, once } from './engine.js'
import { type EngineLayers, sourcesOf } from './layers.js'
import type { ImageAnnotation } from './options.js'
import { type Annotate, blobPorts, saveImage } from './outputs.js'

/** An image and where it goes. */
interface PushWork {
  readonly image: AssembledImage
  /** The manifest that the image came with: it is pushed as it is. */
  readonly original?: DescribedImage | undefined
  readonly names: readonly Reference[]
  readonly choice: BlobChoice
  readonly format: ManifestFormat
  readonly annotations: readonly ImageAnnotation[]
  /** More annotations, for the blobs of the layers in their order. */
  readonly annotate?: Annotate | undefined
  readonly progressId: string
}

/** An image and what is said about it. */
export type AttestedPush = Pick<PushWork, 'image' | 'original'> & { readonly attestations: readonly PendingAttestation[] }

/** Images that go under the same names. */
export interface PushAllWork extends Omit<PushWork, 'image' | 'original'> {
  readonly images: readonly AttestedPush[]
  /** The names stand for an index of the images; otherwise there is only one. */
  readonly isIndex: boolean
  /** Attestations make an index of any image, or are pushed beside it and refer to it. */
  readonly storage: BuildAttestations['storage']
  /** Attestations are OCI artifacts in an index too. */
  readonly ociArtifact: boolean
}

/**
 * Pushes images and, where it is asked for, their index, and remembers the manifests.
 *
 * Images go one after the other: a layer that they share then goes once. The index comes last, when all it names is there.
 */
export async function pushAll(
  work: PushAllWork,
  engine: Engine,
  layers: EngineLayers,
): Promise<{ readonly descriptor: Descriptor }> {
  const { images, storage, ociArtifact: _, ...common } = work
  const { annotations } = work
  const isIndex = work.isIndex || (storage === 'index' && images.some(({ attestations }) => attestations.length > 0))
  refuseNoIndex(annotations, isIndex)
  const names = isIndex ? work.names.map(({ registry, repository }) => ({ registry, repository })) : work.names
  const pushed: DescribedImage[] = []
  const entries: Descriptor[] = []
  const attested: Descriptor[] = []
  for (const each of images) {
    const described = await pushToRegistry({ ...common, ...each, names }, engine, layers)
    pushed.push(described)
    const ofEntry = annotationsOf(annotations, 'manifest-descriptor', each.image.platform)
    entries.push(annotated(indexEntry(each.image, described), ofEntry))
    if (each.attestations.length > 0) attested.push(await pushAttestations(each, described, work, engine))
  }
  const [first] = pushed
  if (first === undefined) throw new Error('a push has an image')
  if (!isIndex) return first
  const listed = [...entries, ...(storage === 'index' ? attested : [])]
  const { rawIndex, descriptor } = describeIndex(listed, work.format, annotationsOf(annotations, 'index'))
  const client = await engine.openRegistry()
  const bytes = { mediaType: descriptor.mediaType, bytes: Buffer.from(rawIndex) }
  for (const { target, moreTags } of byRepository(work.names)) {
    await pushManifest(client, target, moreTags, bytes, engine.ctx)
  }
  return { descriptor: annotated(descriptor, annotationsOf(annotations, 'index-descriptor')) }
}

/** Pushes what is said about an image that is there already, to every repository that it is in. */
async function pushAttestations(
  { image, attestations }: AttestedPush,
  described: DescribedImage,
  { names, storage, ociArtifact, progressId }: PushAllWork,
  engine: Engine,
): Promise<Descriptor> {
  const [{ attestManifest }, client] = await Promise.all([import('./attested.js'), engine.openRegistry()])
  const form = ociArtifact || storage === 'referrers' ? 'artifact' : 'image'
  const { descriptor, rawManifest, blobs } = attestManifest(attestations, image, described, names, form)
  const texts = new Map(blobs.map((blob) => [blob.descriptor.digest, blob.text]))
  const manifest = (): ManifestBytes => ({ mediaType: descriptor.mediaType, bytes: Buffer.from(rawManifest) })
  const ports: PushPorts = {
    mountSources: () => [],
    openBlob: ({ digest }) => Readable.from([Buffer.from(texts.get(digest) ?? '')]),
  }
  for (const { target } of byRepository(names.map(({ registry, repository }) => ({ registry, repository })))) {
    const request = { target, moreTags: [], blobs: blobs.map((blob) => blob.descriptor), manifest, progressId }
    await pushImage(client, request, ports, engine.ctx)
    if (storage === 'index') continue
    const { announceReferrer } = await import('../registry/referrers.js')
    const { platform: _, ...referrer } = descriptor
    await announceReferrer(client, target, described.descriptor.digest, referrer, engine.ctx)
  }
  return descriptor
}

/** Pushes to every name; names in one repository share the transfer. */
async function pushToRegistry(work: PushWork, engine: Engine, layers: EngineLayers): Promise<DescribedImage> {
  const { image, choice, format, annotations, progressId } = work
  const { ctx } = engine
  const client = await engine.openRegistry()
  const ports = { ...blobPorts(engine, layers), vouchedBlob: layers.vouchedBlob }
  const { original } = work
  const diffIds = image.config.rootfs.diff_ids
  const made =
    original?.manifest.layers.map(async (blob) => blob) ??
    diffIds.map((diffId) => provideBlob(diffId, choice, ports, progressId, ctx))
  for (const blob of made) awaitedLater(blob)
  // Once: the inline cache has times in it.
  const describe = once(async (): Promise<DescribedImage> => {
    if (original !== undefined) return original
    const blobs = await Promise.all(made)
    const own = annotationsOf(annotations, 'manifest', image.platform)
    return describeImage(image, blobs, format, { ...own, ...work.annotate?.(image, blobs) })
  })
  for (const { target, moreTags } of byRepository(work.names)) {
    const blobs = [original?.manifest.config ?? configOf(image, format), ...made]
    let described: DescribedImage | undefined
    const manifest = async (): Promise<ManifestBytes> => {
      described = await describe()
      return { mediaType: described.descriptor.mediaType, bytes: Buffer.from(described.rawManifest) }
    }
    const meanwhile = (): void => {
      if (described !== undefined) rememberPush(image, described, target, engine)
    }
    const request = { target, moreTags, blobs, manifest, meanwhile, progressId }
    await pushImage(client, request, pushPorts(image, engine, layers, progressId), ctx)
  }
  return describe()
}

/** All blobs of the image are in the registry; what is kept here holds whether or not it takes the manifest. */
function rememberPush(
  image: AssembledImage,
  { rawManifest, descriptor }: DescribedImage,
  target: Reference,
  engine: Engine,
): void {
  rememberSources(image, target, engine)
  engine.store.blobs.writeBytes(rawManifest)
  saveImage(engine, image, [descriptor])
}

function configOf(image: AssembledImage, format: ManifestFormat): Descriptor {
  return describeImage(image, [], format).manifest.config
}

function byRepository(names: readonly Reference[]): { readonly target: Reference; readonly moreTags: readonly string[] }[] {
  const groups = new Map<string, Reference[]>()
  for (const name of names) {
    const key = `${name.registry}/${name.repository}`
    groups.set(key, [...(groups.get(key) ?? []), name])
  }
  return [...groups.values()].flatMap(([target, ...more]) =>
    target === undefined ? [] : [{ target, moreTags: more.flatMap(({ tag }) => tag ?? []) }],
  )
}

type PushPorts = Parameters<typeof pushImage>[2]

function pushPorts(image: AssembledImage, engine: Engine, layers: EngineLayers, progressId: string): PushPorts {
  const { store, ctx } = engine
  const recordOf = ({ digest }: Descriptor): LayerRecord | undefined => {
    for (const diffId of image.config.rootfs.diff_ids) {
      const record = store.layers.find(diffId)
      const sources = record === undefined ? [] : sourcesOf(record, digest)
      const isKnown = record?.blobs.some((blob) => blob.digest === digest) === true || sources.length > 0
      if (record !== undefined && isKnown) return { ...record, sources }
    }
    return undefined
  }
  return {
    mountSources: (blob) => recordOf(blob)?.sources ?? [],
    isNew(blob) {
      if (blob.digest === image.id) return store.images.get(image.id)?.manifests.length === 0
      return recordOf(blob)?.sources.length === 0
    },
    async openBlob(blob) {
      if (blob.digest === image.id) return Readable.from([Buffer.from(image.rawConfig)])
      const record = recordOf(blob)
      if (record !== undefined) await layers.bringBlob(record, blob, progressId, ctx)
      return store.blobs.open(blob)
    },
  }
}

/** What was pushed can be fetched again, and mounted into other repositories of that registry. */
function rememberSources(image: AssembledImage, { registry, repository }: Reference, { store }: Engine): void {
  const source = `${registry}/${repository}`
  for (const diffId of new Set(image.config.rootfs.diff_ids)) {
    const record = store.layers.find(diffId)
    if (record === undefined || record.sources.includes(source)) continue
    // A layer that was never unpacked here is only said to be these blobs; now this repository says so too.
    const claims = (record.claims ?? []).map(({ blob }) => ({ blob, source }))
    store.layers.save({ ...record, sources: [source], claims })
  }
}
