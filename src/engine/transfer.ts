/** `pull` and `push`: images between the store and registries. */
import type { Descriptor } from '../core/descriptor.js'
import type { Digest } from '../core/digest.js'
import type { Platform } from '../core/platform.js'
import { formatReference } from '../core/reference.js'
import { imagesOfTag } from '../store/images.js'
import { withEngine } from './engine.js'
import { readKnown, rememberImage, requireImages, requireReference } from './images.js'
import { createLayers } from './layers.js'
import type { EngineOptions } from './options.js'
import { type AttestedPush, pushAll } from './push.js'
import { attestationsOf, loadStored, originalManifest, storageOf } from './stored.js'

/** What to pull. */
export interface PullOptions extends EngineOptions {
  readonly reference: string
  /** This machine's. */
  readonly platform?: Platform | undefined
}

/** What was pulled. */
export interface PullResult {
  /** In full. */
  readonly reference: string
  readonly imageId: Digest
  /** What the name points at in the registry: a manifest or an index. */
  readonly digest: Digest
  /** False when the store had this image under this name already. */
  readonly isNew: boolean
  /** What the image is for; another than was asked for where a registry has only that. */
  readonly platform: Platform
}

/** Pulls an image with the files of its layers. */
export function pullImage(options: PullOptions): Promise<PullResult> {
  return withEngine(options, async (engine) => {
    const { store, ctx, settings } = engine
    const reference = requireReference(options.reference)
    const full = formatReference(reference)
    const before = store.images.tagOf(full)
    const { resolveImage } = await import('../registry/resolve.js')
    const platform = options.platform ?? settings.hostPlatform
    const remote = await resolveImage(await engine.openRegistry(), reference, platform, readKnown(engine), ctx)
    const stored = rememberImage(remote, engine)
    await createLayers(engine).unpack(stored.diffIds, 'pull', ctx)
    const digest = (remote.indexDescriptor ?? remote.descriptor).digest
    return {
      reference: full,
      imageId: stored.id,
      digest,
      isNew: before === undefined || !imagesOfTag(before).includes(stored.id),
      platform: stored.platform,
    }
  })
}

/** What to push: names of images in the store that name their registry too. */
export interface PushOptions extends EngineOptions {
  readonly references: readonly string[]
  /** Only the image for this platform; an index of all where a name has several. */
  readonly platform?: Platform | undefined
}

/** Pushes images, each under its name. Returns the manifests in the order of the names. */
export function pushImages(options: PushOptions): Promise<readonly Descriptor[]> {
  return withEngine(options, async (engine) => {
    const layers = createLayers(engine)
    const pushed: Descriptor[] = []
    for (const name of options.references) {
      const all = requireImages(name, options.platform, engine)
      const images: AttestedPush[] = []
      for (const stored of all) {
        const original = await originalManifest(stored, 'push', engine, layers)
        const attestations = await attestationsOf(stored, engine)
        images.push({ image: await loadStored(stored, engine), original, attestations })
      }
      const work = {
        images,
        isIndex: all.length > 1,
        storage: storageOf(all),
        ociArtifact: false,
        names: [requireReference(name)],
        choice: { compression: 'gzip', force: false },
        format: 'oci',
        annotations: [],
        progressId: 'push',
        isAlone: true,
      } as const
      pushed.push((await pushAll(work, engine, layers)).descriptor)
    }
    return pushed
  })
}
