/** Where the files of a layer are: in one snapshot directory, or in two, of which one has what is other than in an earlier layer. */
import type { LayerRecord, Store } from './types.js'

/** The directories of a layer, bottom first; undefined while its files are not here. */
export function layerFiles(
  { layers, snapshots }: Pick<Store, 'layers' | 'snapshots'>,
  record: Pick<LayerRecord, 'snapshot' | 'over'> | undefined,
): readonly string[] | undefined {
  if (record?.snapshot === undefined) return undefined
  const own = snapshots.pathOf(record.snapshot)
  if (record.over === undefined) return [own]
  const below = layerFiles({ layers, snapshots }, layers.find(record.over))
  return below === undefined ? undefined : [...below, own]
}

/**
 * Each directory of a stack once. Of one that is there several times (two steps that changed nothing, say) only the topmost
 * counts: it hides all that the lower ones show, and the kernel refuses to mount a directory over itself.
 */
export function uncovered(directories: readonly string[]): string[] {
  const last = new Map(directories.map((path, i) => [path, i]))
  return directories.filter((path, i) => last.get(path) === i)
}

/** True when all files of the layer are in its own snapshot. */
export function hasWholeSnapshot(record: LayerRecord | undefined): record is LayerRecord & { readonly snapshot: string } {
  return record?.snapshot !== undefined && record.over === undefined
}
