/**
 * Writes images as `docker load` and `podman load` read them: an OCI layout with Docker's `manifest.json` beside its
 * index. So the same tar is also an OCI archive for whoever knows only that.
 *
 * `manifest.json` has no platforms: of an image for several it lists the first, the index lists them all.
 */
import type { Store } from '../store/types.js'
import { blobPath, type LayoutEntry, type LayoutName, writeLayout } from './oci-layout.js'
import { type Sink, textFile } from './sink.js'

/** Names an image in an archive: in full for the index, as people write it for `RepoTags`. */
export interface ArchiveName extends LayoutName {
  readonly familiar: string
}

/** An image, or an index, of an archive. */
export interface ArchiveEntry extends LayoutEntry {
  readonly names: readonly ArchiveName[]
}

/** Writes a layout and `manifest.json`. */
export async function writeDockerArchive(
  written: readonly ArchiveEntry[],
  sink: Sink,
  store: Pick<Store, 'blobs'>,
  signal: AbortSignal,
): Promise<void> {
  await writeLayout(written, sink, store, signal)
  const entries = written.map(({ images: [{ described }], names }) => ({
    Config: blobPath(described.manifest.config),
    RepoTags: names.map(({ familiar }) => familiar),
    Layers: described.manifest.layers.map(blobPath),
  }))
  await sink.file(textFile('manifest.json', JSON.stringify(entries)), signal)
}
