/** Pushes an image: layers go up while others are still being compressed, then config and manifest. */
import type { BuildAttestations, PendingAttestation } from '../attest/pending.js'
import { awaitedLater } from '../core/awaited.js'
import type { Descriptor } from '../core/descriptor.js'
import type { Digest } from '../core/digest.js'
import type { Reference } from '../core/reference.js'
import type { AssembledImage } from '../exporter/assemble.js'
import { type BlobChoice, type BlobPorts, type MadeBlob, provideBlob } from '../exporter/blobs.js'
import { type DescribedImage, describeImage, describeIndex, indexEntry, type ManifestFormat } from '../exporter/manifest.js'
import { type ManifestBytes, type Meanwhile, pushImage, pushManifest } from '../registry/push.js'
import { smallBlobBytes } from '../registry/upload.js'
import type { LayerRecord, Store } from '../store/types.js'
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
  /** Nothing else in this operation waits for blobs to be in the store. */
  readonly isAlone?: boolean
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
    openBlob: ({ digest }) => inOnePiece(Buffer.from(texts.get(digest) ?? '')),
  }
  for (const { target } of byRepository(names.map(({ registry, repository }) => ({ registry, repository })))) {
    const request = { target, moreTags: [], blobs: blobs.map((blob) => blob.descriptor), manifest, progressId }
    const { isReferrer } = await pushImage(client, request, ports, engine.ctx)
    if (storage === 'index' || isReferrer) continue
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
  const { original, isAlone = false } = work
  const notKept = new Map<Digest, MadeBlob>()
  const ports: BlobPorts = {
    ...blobPorts(engine, layers),
    vouchedBlob: layers.vouchedBlob,
    ...(isAlone ? { keepLater: (made) => notKept.set(made.descriptor.digest, made) } : {}),
  }
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
    const manifest = async (): Promise<ManifestBytes> => {
      const { descriptor, rawManifest } = await describe()
      return { mediaType: descriptor.mediaType, bytes: Buffer.from(rawManifest) }
    }
    const meanwhile: Meanwhile = {
      async blobsSent() {
        const bytes = [...[...notKept.values()].map((made) => made.bytes), (await describe()).rawManifest]
        await Promise.all(bytes.map((each) => engine.store.blobs.keepBytes(each)))
      },
      // All blobs are in the registry; what is kept here holds whether or not it takes the manifest.
      async manifestSent() {
        rememberSources(image, target, notKept, engine)
        notKept.clear()
        saveImage(engine, image, [(await describe()).descriptor])
      },
    }
    const newBlobs = original === undefined ? countNew(image, engine) : 0
    const request = { target, moreTags, blobs, manifest, newBlobs, meanwhile, progressId }
    await pushImage(client, request, pushPorts(image, notKept, engine, layers, progressId), ctx)
  }
  return describe()
}

/** Blobs that will be made, or are known to be in no registry: the config, and small layers. */
function countNew(image: AssembledImage, { store }: Engine): number {
  const layers = [...new Set(image.config.rootfs.diff_ids)].filter((diffId) => {
    const record = store.layers.find(diffId)
    return (
      record !== undefined &&
      record.size <= sureToBeSmall &&
      record.blobs.length === 0 &&
      record.sources.length === 0 &&
      record.claims === undefined
    )
  })
  return layers.length + (isNewConfig(image, store) ? 1 : 0)
}

/** A tar of this size makes a small blob whatever is in it. */
const sureToBeSmall = smallBlobBytes / 2

function isNewConfig(image: AssembledImage, { images }: Store): boolean {
  return image.rawConfig.length <= smallBlobBytes / 2 && images.get(image.id)?.manifests.length === 0
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

function pushPorts(
  image: AssembledImage,
  notKept: ReadonlyMap<Digest, MadeBlob>,
  engine: Engine,
  layers: EngineLayers,
  progressId: string,
): PushPorts {
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
      if (blob.digest === image.id) return isNewConfig(image, store)
      return notKept.has(blob.digest) || recordOf(blob)?.sources.length === 0
    },
    async openBlob(blob) {
      const bytes = blob.digest === image.id ? Buffer.from(image.rawConfig) : notKept.get(blob.digest)?.bytes
      if (bytes !== undefined) return inOnePiece(bytes)
      const record = recordOf(blob)
      if (record !== undefined) await layers.bringBlob(record, blob, progressId, ctx)
      return store.blobs.open(blob)
    },
  }
}

async function* inOnePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes
}

/** What was pushed can be fetched again, and mounted into other repositories of that registry. */
function rememberSources(
  image: AssembledImage,
  { registry, repository }: Reference,
  notKept: ReadonlyMap<Digest, MadeBlob>,
  { store }: Engine,
): void {
  const source = `${registry}/${repository}`
  const made = new Map([...notKept.values()].map(({ record }) => [record.diffId, record]))
  for (const diffId of new Set(image.config.rootfs.diff_ids)) {
    const record = made.get(diffId) ?? store.layers.find(diffId)
    if (record === undefined || record.sources.includes(source)) continue
    // A layer that was never unpacked here is only said to be these blobs; now this repository says so too.
    const claims = (record.claims ?? []).map(({ blob }) => ({ blob, source }))
    store.layers.save({ ...record, sources: [source], claims })
  }
}
