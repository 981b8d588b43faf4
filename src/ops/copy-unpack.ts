/**
 * ADD of archives: their entries become part of the layer, below the destination.
 *
 * Names are cleaned and may not lead out of the destination by `..`. Links among the parents of an entry are followed
 * with the destination as their root, so that nothing is written outside it, as BuildKit has it; the entry itself replaces
 * what is there, and directories merge.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { posix } from 'node:path'
import type { SelectedRoot } from '../context/select.js'
import type { Context } from '../core/context.js'
import { BuildError } from '../core/errors.js'
import type { FileView } from '../core/view.js'
import type { CopySource } from '../graph/op.js'
import type { WorkerPool } from '../io/pool.js'
import { deviceNumber } from '../io/sys.js'
import { resolvePath } from '../layer/stack.js'
import { isLayerXattr } from '../layer/whiteout.js'
import type { ArchiveAnswer, ArchiveTask, StagedEntry } from './archive.js'
import { destinationDirectory, type Placement } from './copy-place.js'
import { type DirectoryNode, type LayerTree, type LeafNode, type Metadata, newDirectory } from './copy-tree.js'

/** Where unpacked files wait until the layer is written. Disposing it removes what was not moved away. */
export class Staging implements AsyncDisposable {
  readonly path: string
  readonly pool: WorkerPool
  used = 0

  constructor(path: string, pool: WorkerPool) {
    this.path = path
    this.pool = pool
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/**
 * Puts the entries of the archive `root` below the destination.
 *
 * @returns false when it is no archive and is to be copied as it is
 * @throws BuildError COPY_BAD_ARCHIVE
 */
export async function unpackRoot(
  tree: LayerTree,
  root: SelectedRoot,
  unpack: CopySource['unpack'],
  placement: Placement,
  staging: Staging,
  ctx: Context,
): Promise<boolean> {
  mkdirSync(staging.path, { recursive: true })
  const task: ArchiveTask = { path: root.entry.hostPath, stage: staging.path, firstNumber: staging.used }
  const answer = await staging.pool.run<ArchiveAnswer>('stageArchive', task, ctx.signal)
  if (answer.kind === 'no-archive') {
    if (unpack === 'auto') return false
    throw new BuildError('COPY_BAD_ARCHIVE', `"${root.name}" is no tar archive, but --unpack asks to unpack it`)
  }
  if (answer.kind === 'damaged') throw badArchive(root.name, answer.reason, answer.hint)
  const target = destinationDirectory(tree, { ...placement, destination: `${placement.destination}/` }, root.name)
  for (const entry of answer.entries) {
    if (entry.staged !== undefined) staging.used = Math.max(staging.used, entry.staged + 1)
    placeEntry(tree, target.path, root.name, entry, placement, staging.path)
  }
  return true
}

function badArchive(name: string, reason: string, hint?: string): BuildError {
  return new BuildError('COPY_BAD_ARCHIVE', `archive "${name}" cannot be unpacked: ${reason}`, { hint })
}

/** The cleaned name below the destination; empty for the destination itself. */
function insideName(archive: string, name: string): string {
  const cleaned = posix.normalize(name.replace(/^\/+/, '')).replace(/\/+$/, '')
  if (cleaned === '..' || cleaned.startsWith('../')) throw badArchive(archive, `its entry "${name}" leads out of the destination`)
  return cleaned === '.' ? '' : cleaned
}

function placeEntry(
  tree: LayerTree,
  target: string,
  archive: string,
  entry: StagedEntry,
  placement: Placement,
  stage: string,
): void {
  const name = insideName(archive, entry.path)
  if (name === '') return
  const slash = name.lastIndexOf('/')
  const parentPath = directoryBelow(tree, target, slash < 0 ? '' : name.slice(0, slash))
  const parent = tree.directory(parentPath, newDirectory(placement.owner ?? { uid: 0, gid: 0 }, placement.nowNs))
  const last = name.slice(slash + 1)
  const path = `${parentPath === '/' ? '' : parentPath}/${last}`
  const metadata = metadataOf(entry, placement)
  if (entry.type === 'directory') placeDirectory(tree, parent, last, path, metadata)
  else parent.children.set(last, leafOf(tree, target, archive, entry, metadata, stage))
}

/** The real path of a directory of the archive: links in it are followed as if `target` were the root. */
function directoryBelow(tree: LayerTree, target: string, name: string): string {
  const below: FileView = {
    lstat: (path) => tree.lstat(joinBelow(target, path)),
    readlink: (path) => tree.readlink(joinBelow(target, path)),
    readdir: () => tree.readdir(),
  }
  return joinBelow(target, resolvePath(below, `/${name}`, { followLast: true }).path)
}

/** `path` is absolute; so is `target`, but empty for the root. */
function joinBelow(target: string, path: string): string {
  return target === '' ? path : path === '/' ? target : `${target}${path}`
}

function metadataOf(entry: StagedEntry, placement: Placement): Metadata {
  const { uid, gid } = placement.owner ?? entry
  const xattrs = entry.xattrs.filter(({ name }) => isLayerXattr(name))
  const base = { mode: entry.mode, uid, gid, mtimeNs: BigInt(Math.floor(entry.mtime)) * 1_000_000_000n, xattrsFrom: [] }
  return xattrs.length === 0 ? base : { ...base, xattrs }
}

function placeDirectory(tree: LayerTree, parent: DirectoryNode, name: string, path: string, metadata: Metadata): void {
  const type = tree.typeAt(parent, name, path)
  if (type !== undefined && type !== 'directory') {
    tree.replaceWithDirectory(parent, name, metadata)
    return
  }
  const node = tree.child(parent, name, path, metadata)
  node.metadata = { ...metadata, xattrsFrom: node.metadata.xattrsFrom }
}

function leafOf(
  tree: LayerTree,
  target: string,
  archive: string,
  entry: StagedEntry,
  metadata: Metadata,
  stage: string,
): LeafNode {
  switch (entry.type) {
    case 'link':
      return linkTo(tree, target, insideName(archive, entry.target), archive, entry)
    case 'symlink':
      return { kind: 'symlink', metadata, target: entry.target }
    case 'character':
    case 'block':
    case 'fifo':
      if (entry.type === 'character' && entry.major === 0 && entry.minor === 0) {
        throw badArchive(archive, `its entry "${entry.path}" is the device 0:0, which marks a deletion in a layer`)
      }
      return { kind: 'node', metadata, type: entry.type, rdev: deviceNumber(entry.major, entry.minor) }
    default:
      return {
        kind: 'file',
        metadata,
        hostPath: `${stage}/${entry.staged}`,
        size: entry.size,
        ctimeMs: undefined,
        move: true,
        sha256: undefined,
      }
  }
}

/** A hard link to an entry of this layer, or to a file of the base, which is then copied into the layer. */
function linkTo(tree: LayerTree, target: string, name: string, archive: string, entry: StagedEntry): LeafNode {
  const slash = name.lastIndexOf('/')
  const folder = directoryBelow(tree, target, slash < 0 ? '' : name.slice(0, slash))
  const last = name.slice(slash + 1)
  const real = `${folder === '/' ? '' : folder}/${last}`
  const node = tree.find(real)
  if (node !== undefined && node.kind !== 'directory') return node.kind === 'link' ? node : { kind: 'link', original: node }
  const below = node === undefined ? tree.lstat(real) : undefined
  if (below?.type !== 'file')
    throw badArchive(archive, `its entry "${entry.path}" is a link to "${entry.target}", which is not there`)
  const { mode, uid, gid, mtimeNs, hostPath, size } = below
  const metadata = { mode, uid, gid, mtimeNs, xattrsFrom: [hostPath] }
  const original: LeafNode = { kind: 'file', metadata, hostPath, size, ctimeMs: undefined, move: false, sha256: undefined }
  const parent = tree.directory(folder, metadata)
  parent.children.set(last, original)
  return { kind: 'link', original }
}
