/**
 * The entries that the layer of a COPY will have, told from its tree before anything is written.
 *
 * They are what `walkLayer` finds in the finished directory, in the same order. So the digest of a layer can be taken from
 * the sources while the copies are being written, and nothing is read twice.
 */
import { changedWhileReading } from '../context/context.js'
import { readXattrs } from '../context/xattrs.js'
import { systemCode } from '../core/errors.js'
import { deviceParts } from '../io/sys.js'
import { type LayerEntry, type LayerEntryType, refuseMarkerName, sortNames, type Xattr } from '../layer/walk.js'
import type { DirectoryNode, LayerTree, LeafNode, Metadata } from './copy-tree.js'

/** An entry and, for a file of a context, the ctime (ms) at which it was looked at. */
export interface PlannedEntry extends LayerEntry {
  readonly ctimeMs: number | undefined
}

/** What a layer will be. */
export interface PlannedLayer {
  /** In tar order. */
  readonly entries: readonly PlannedEntry[]
  /** sha256 (hex) of files by path relative to the layer, where they are known. */
  readonly knownContent: ReadonlyMap<string, string>
  /** False when something is known only once it is written: files moved into place, times that some file systems round. */
  readonly isCertain: boolean
}

interface Plan {
  readonly entries: PlannedEntry[]
  readonly knownContent: Map<string, string>
  /** The path of the first name of each file. */
  readonly firstNames: Map<LeafNode, string>
  isCertain: boolean
}

/** All entries of the layer that the tree will be. */
export function planEntries(tree: Pick<LayerTree, 'root'>): PlannedLayer {
  const plan: Plan = { entries: [], knownContent: new Map(), firstNames: new Map(), isCertain: true }
  const root = entryOf(plan, 'directory', '', tree.root.metadata)
  if (root.mode !== 0o755 || root.uid !== 0 || root.gid !== 0 || root.xattrs.length > 0) plan.entries.push(root)
  addChildren(plan, tree.root, '')
  return plan
}

function addChildren(plan: Plan, directory: DirectoryNode, prefix: string): void {
  for (const name of sortNames([...directory.children.keys()])) {
    const path = prefix + name
    refuseMarkerName(name, path)
    const node = directory.children.get(name)
    if (node?.kind === 'directory') {
      plan.entries.push(entryOf(plan, 'directory', path, node.metadata))
      addChildren(plan, node, `${path}/`)
    } else if (node !== undefined) addLeaf(plan, node.kind === 'link' ? node.original : node, path)
  }
}

function addLeaf(plan: Plan, leaf: LeafNode, path: string): void {
  if (leaf.kind === 'link') throw new Error('a link to a link')
  const first = plan.firstNames.get(leaf)
  if (first !== undefined) {
    plan.entries.push({ ...entryOf(plan, 'link', path, leaf.metadata), target: first })
    return
  }
  plan.firstNames.set(leaf, path)
  switch (leaf.kind) {
    case 'file': {
      const { sha256, move } = leaf
      plan.entries.push(entryOf(plan, 'file', path, leaf.metadata, leaf))
      if (sha256 !== undefined) plan.knownContent.set(path, sha256)
      if (move) plan.isCertain = false
      break
    }
    case 'symlink':
      plan.entries.push({ ...entryOf(plan, 'symlink', path, leaf.metadata), mode: 0o777, target: leaf.target })
      break
    case 'node':
      plan.entries.push({ ...entryOf(plan, leaf.type, path, leaf.metadata), ...partsOf(leaf) })
  }
}

function partsOf({ type, rdev }: Extract<LeafNode, { kind: 'node' }>): { readonly major: number; readonly minor: number } {
  return type === 'fifo' ? { major: 0, minor: 0 } : deviceParts(rdev)
}

/** One object for each entry: there are many, and all of one shape are read faster. */
function entryOf(
  plan: Plan,
  type: LayerEntryType,
  path: string,
  metadata: Metadata,
  { size, hostPath, ctimeMs }: Pick<PlannedEntry, 'size' | 'hostPath' | 'ctimeMs'> = noContent,
): PlannedEntry {
  const { mode, uid, gid, mtimeNs } = metadata
  if (mtimeNs < 0n || mtimeNs >= commonTimes) plan.isCertain = false
  const mtime = Number(mtimeNs / 1_000_000_000n)
  const xattrs = type === 'link' ? noXattrs : xattrsOf(metadata)
  return { type, path, mode, uid, gid, size, mtime, target: '', major: 0, minor: 0, xattrs, hostPath, ctimeMs }
}

const noContent = { size: 0, hostPath: '', ctimeMs: undefined }

/** Nanoseconds since 1970 (until 2038): every file system keeps these as they are. */
const commonTimes = 2n ** 31n * 1_000_000_000n

const noXattrs: readonly Xattr[] = []

/** As they will be once those of all sources were set, one after the other. */
function xattrsOf({ xattrsFrom, xattrs = [] }: Metadata): readonly Xattr[] {
  if (xattrsFrom.length === 0 && xattrs.length === 0) return noXattrs
  const all = new Map<string, Buffer>()
  for (const source of xattrsFrom) for (const { name, value } of readSource(source)) all.set(name, value)
  for (const { name, value } of xattrs) all.set(name, Buffer.from(value))
  return sortNames([...all.keys()]).map((name) => ({ name, value: all.get(name) ?? Buffer.alloc(0) }))
}

/** Nobody keeps a file of a context from vanishing before it is copied. */
function readSource(path: string): ReturnType<typeof readXattrs> {
  try {
    return readXattrs(path)
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') throw changedWhileReading(path)
    throw error
  }
}
