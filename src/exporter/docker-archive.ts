/**
 * Writes an image as `docker load` and `podman load` read it: an OCI layout with Docker's `manifest.json` beside its
 * index. So the same tar is also an OCI archive for whoever knows only that.
 */
import type { Store } from '../store/types.js'
import { blobPath, type LayoutImage, type LayoutName, writeLayout } from './oci-layout.js'
import { type Sink, textFile } from './sink.js'

/** Names an image in an archive: in full for the index, as people write it for `RepoTags`. */
export interface ArchiveName extends LayoutName {
  readonly familiar: string
}

/** An image of an archive. */
export interface ArchiveImage extends LayoutImage {
  readonly names: readonly ArchiveName[]
}

/** Writes a layout and `manifest.json`. */
export async function writeDockerArchive(
  images: readonly ArchiveImage[],
  sink: Sink,
  store: Pick<Store, 'blobs'>,
  signal: AbortSignal,
): Promise<void> {
  await writeLayout(images, sink, store, signal)
  const entries = images.map(({ described, names }) => ({
    Config: blobPath(described.manifest.config),
    RepoTags: names.map(({ familiar }) => familiar),
    Layers: described.manifest.layers.map(blobPath),
  }))
  await sink.file(textFile('manifest.json', JSON.stringify(entries)), signal)
}
