/**
 * Writes an image as `docker load` and `podman load` read it: an OCI layout with Docker's `manifest.json` beside its
 * index. So the same tar is also an OCI archive for whoever knows only that.
 */
import type { Store } from '../store/types.js'
import type { AssembledImage } from './assemble.js'
import type { DescribedImage } from './manifest.js'
import { blobPath, type LayoutName, writeLayout } from './oci-layout.js'
import { type Sink, textFile } from './sink.js'

/** Names an image in an archive: in full for the index, as people write it for `RepoTags`. */
export interface ArchiveName extends LayoutName {
  readonly familiar: string
}

/** Writes a layout and `manifest.json`. */
export async function writeDockerArchive(
  image: AssembledImage,
  described: DescribedImage,
  names: readonly ArchiveName[],
  sink: Sink,
  store: Store,
  signal: AbortSignal,
): Promise<void> {
  await writeLayout(image, described, names, sink, store, signal)
  const { config, layers } = described.manifest
  const entry = {
    Config: blobPath(config),
    RepoTags: names.map(({ familiar }) => familiar),
    Layers: layers.map(blobPath),
  }
  await sink.file(textFile('manifest.json', JSON.stringify([entry])), signal)
}
