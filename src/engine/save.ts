/** `save`: images of the store as one archive. */
import type { Platform } from '../core/platform.js'
import { isReference, parseReference, type Reference } from '../core/reference.js'
import type { ArchiveEntry } from '../exporter/docker-archive.js'
import type { StoredImage } from '../store/types.js'
import { type AttestedImage, archiveEntry, writeArchive } from './archive-output.js'
import { type Engine, withEngine } from './engine.js'
import { requireImages, type StoredImages } from './images.js'
import { createLayers } from './layers.js'
import type { EngineOptions } from './options.js'
import { attestationsOf, describeStored, loadStored, storageOf } from './stored.js'

/** What to save and where. */
export interface SaveOptions extends EngineOptions {
  /** Names or ids. An image that is given by id has no name in the archive. */
  readonly images: readonly string[]
  /** Only the images for this platform; all that the names stand for. */
  readonly platform?: Platform | undefined
  /** `docker`, which is an OCI archive too. */
  readonly format?: 'docker' | 'oci' | undefined
  readonly dest: string | { readonly stream: NodeJS.WritableStream }
  /** False writes a directory; true. */
  readonly tar?: boolean | undefined
}

/** Writes the archive. Images that are named several times are in it once, with all these names. */
export function saveImages(options: SaveOptions): Promise<void> {
  return withEngine(options, async (engine) => {
    const layers = createLayers(engine)
    const archived: ArchiveEntry[] = []
    for (const { all, names } of selected(options, engine)) {
      const images: AttestedImage[] = []
      for (const stored of all) {
        const image = await loadStored(stored, engine)
        const described = await describeStored(stored, image, 'save', engine, layers)
        images.push({ image, described, attestations: await attestationsOf(stored, engine) })
      }
      const how = { isIndex: all.length > 1, names, storage: storageOf(all), ociArtifact: false }
      archived.push(await archiveEntry(images, how, engine))
    }
    await writeArchive(archived, options.format ?? 'docker', options.dest, options.tar ?? true, engine)
  })
}

/** What names stand for: one image, or those of an index. */
interface Selected {
  readonly all: StoredImages
  readonly names: Reference[]
}

function selected({ images, platform }: SaveOptions, engine: Engine): Iterable<Selected> {
  const found = new Map<string, Selected>()
  for (const name of images) {
    const all = requireImages(name, platform, engine)
    const key = all.map(({ id }) => id).join()
    const entry = found.get(key) ?? { all, names: [] }
    const reference = parseReference(name)
    if (isReference(reference) && !isId(name, all[0])) entry.names.push(reference)
    found.set(key, entry)
  }
  return found.values()
}

function isId(name: string, { id }: StoredImage): boolean {
  return id.startsWith(name) || id.slice('sha256:'.length).startsWith(name)
}
