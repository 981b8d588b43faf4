/**
 * The identities of a layer, found in one pass over its snapshot directory.
 *
 * The DiffID is the sha256 of the canonical tar, which is hashed and never stored. The content id is the sha256 of the
 * sorted entries without their times: a step that ran again and made the same files has the same content id.
 */
import { createHash } from 'node:crypto'
import { type DiffID, type Digest, diffIdFromHex, digestFromHex } from '../core/digest.js'
import { encodePath } from '../core/path-bytes.js'
import { formatEntry } from './snapshot-list.js'
import { type LayerUpper, layerEntries } from './squash.js'
import { type PackOptions, type TarBlockOptions, tarOfEntries } from './tar.js'
import type { LayerEntry } from './walk.js'

/** What `digestLayer` may be told. */
export interface DigestOptions extends PackOptions {
  /** sha256 (hex) of files by path relative to the layer, where the caller knows them for certain. */
  readonly knownContent?: ReadonlyMap<string, string>
}

/** What one layer is. */
export interface LayerDigest {
  readonly diffId: DiffID
  /** sha256 over the sorted entries without times. */
  readonly contentId: Digest
  /** Bytes of the layer's files. */
  readonly size: number
  /** Bytes of the canonical tar. */
  readonly tarSize: number
  /** The number of entries; 0 means that nothing changed. */
  readonly count: number
  /** For `ActiveSnapshot.commit`: what a snapshot must hold to be believed after the machine went down. */
  readonly entries: string
}

/**
 * Finds the identities of the layer in `upper`. Synchronous: the cost follows the changed files, so call it in a worker
 * unless they are few.
 *
 * @param upper absolute path of the overlay upper directory, or of all directories of the layer
 */
export function digestLayer(upper: LayerUpper, options: DigestOptions = {}): LayerDigest {
  return digestEntries(layerEntries(upper, options), options)
}

/** Few calls of the hash, and no long texts. */
const linesAtOnce = 256

/** Finds the identities of the layer that has these entries, in tar order; the content of files is read at their host path. */
export function digestEntries(found: Iterable<LayerEntry>, options: TarBlockOptions = {}): LayerDigest {
  const tar = createHash('sha256')
  const content = createHash('sha256')
  const lines: string[] = []
  const entries: string[] = []
  let size = 0
  let tarSize = 0
  let count = 0
  const onEntry = (entry: LayerEntry, fileDigest: string): void => {
    lines.push(contentLine(entry, fileDigest))
    if (lines.length === linesAtOnce) content.update(encodePath(lines.splice(0).join('')))
    if (entry.type !== 'opaque') entries.push(formatEntry(entry.type, entry.path, entry.size))
    size += entry.size
    count++
  }
  for (const block of tarOfEntries(found, { ...options, onEntry, reuseBuffer: true })) {
    tar.update(block)
    tarSize += block.length
  }
  content.update(encodePath(lines.join('')))
  return {
    diffId: diffIdFromHex(tar.digest('hex')),
    contentId: digestFromHex(content.digest('hex')),
    size,
    tarSize,
    count,
    entries: entries.join(''),
  }
}

/** One entry for the content id. NULs end the parts that can hold anything else, so no two entries read alike. */
function contentLine(entry: LayerEntry, fileDigest: string): string {
  const { type, mode, uid, gid, size, major, minor, path, target, xattrs } = entry
  const fixed = `${type} ${mode.toString(8)} ${uid} ${gid} ${size} ${major}:${minor} ${fileDigest}\0`
  const attributes = xattrs.map(({ name, value }) => `${name}\0${value.toString('hex')}\0`).join('')
  return `${fixed}${path}\0${target}\0${xattrs.length}\0${attributes}`
}
