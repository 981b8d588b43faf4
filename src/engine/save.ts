/** `save`: images of the store as one archive. */
import { isReference, parseReference, type Reference } from '../core/reference.js'
import type { ArchiveImage } from '../exporter/docker-archive.js'
import type { StoredImage } from '../store/types.js'
import { type Engine, withEngine } from './engine.js'
import { requireImage } from './images.js'
import { createLayers } from './layers.js'
import type { EngineOptions } from './options.js'
import { archiveName, writeArchive } from './outputs.js'
import { describeStored, loadStored } from './stored.js'

/** What to save and where. */
export interface SaveOptions extends EngineOptions {
  /** Names or ids. An image that is given by id has no name in the archive. */
  readonly images: readonly string[]
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
    const archived: ArchiveImage[] = []
    for (const { stored, names } of selected(options.images, engine)) {
      const image = await loadStored(stored, engine)
      const described = await describeStored(stored, image, 'save', engine, layers)
      archived.push({ image, described, names: names.map(archiveName) })
    }
    await writeArchive(archived, options.format ?? 'docker', options.dest, options.tar ?? true, engine)
  })
}

function selected(
  names: readonly string[],
  engine: Engine,
): Iterable<{ readonly stored: StoredImage; readonly names: Reference[] }> {
  const images = new Map<string, { readonly stored: StoredImage; readonly names: Reference[] }>()
  for (const name of names) {
    const stored = requireImage(name, engine)
    const entry = images.get(stored.id) ?? { stored, names: [] }
    const reference = parseReference(name)
    if (isReference(reference) && !isId(name, stored)) entry.names.push(reference)
    images.set(stored.id, entry)
  }
  return images.values()
}

function isId(name: string, { id }: StoredImage): boolean {
  return id.startsWith(name) || id.slice('sha256:'.length).startsWith(name)
}
