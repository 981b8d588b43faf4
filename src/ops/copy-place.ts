/**
 * Where the selected files of a COPY go: the destination rules.
 *
 * A file goes into a destination that ends in `/` or is a directory, else it gets the destination's name. A directory gives
 * its contents. The destination's own symlinks are followed inside the root filesystem; a symlink that is met below it
 * is replaced by a file and refuses a directory. The top destination directory keeps its metadata when it exists,
 * those below take the source's. Created parents are 0755.
 */

import type { KnownContent } from '../context/memo.js'
import type { SelectedEntry, SelectedRoot } from '../context/select.js'
import { ContextEntry } from '../context/tree.js'
import { BuildError } from '../core/errors.js'
import type { FileEntry, FileView } from '../core/view.js'
import { resolvePath } from '../layer/stack.js'
import type { ModeChange } from './chmod.js'
import { type DirectoryNode, type LayerTree, type LeafNode, type Metadata, nameOfType, newDirectory } from './copy-tree.js'
import type { Owner } from './owner.js'

/** How the files of one source are put. */
export interface Placement {
  readonly destination: string
  readonly owner: Owner | undefined
  readonly keepOwner: boolean
  /** A directory that is a source gives its own metadata to the destination. */
  readonly wholeDirectory: boolean
  readonly changeMode: ModeChange | undefined
  /** Time of directories that no source gave, ns since 1970. */
  readonly nowNs: bigint
  /** What is known of an entry's content without looking at it. */
  readonly knownOf: (entry: FileEntry) => KnownContent | undefined
}

/** Puts one selected file or tree. */
export function placeRoot(
  tree: LayerTree,
  view: FileView,
  root: SelectedRoot,
  items: readonly SelectedEntry[],
  placement: Placement,
): void {
  if (root.entry.type !== 'directory') {
    placeFile(tree, view, root, placement)
    return
  }
  const target = destinationDirectory(tree, placement, root.name)
  // The root of a context is made for the build: it has no metadata.
  if (placement.wholeDirectory && root.viewPath !== '/') target.node.metadata = metadataOf(root.entry, placement)
  const directories = new Map<string, DirectoryNode>([['', target.node]])
  const links = new Map<string, LeafNode>()
  for (const item of items) {
    const slash = item.path.lastIndexOf('/')
    const parent = directories.get(slash < 0 ? '' : item.path.slice(0, slash))
    if (parent === undefined) throw new Error(`"${item.path}" was selected without its parent`)
    const name = item.path.slice(slash + 1)
    const path = `${target.path}/${item.path}`
    if (item.entry.type === 'directory') directories.set(item.path, placeDirectory(tree, parent, name, path, item, placement))
    else placeLeaf(tree, parent, name, path, leafOf(view, item.viewPath, item.entry, placement, links))
  }
}

function placeFile(tree: LayerTree, view: FileView, root: SelectedRoot, placement: Placement): void {
  const leaf = leafOf(view, root.viewPath, root.entry, placement, new Map())
  const at = resolveDestination(tree, placement.destination)
  const inside = placement.destination.endsWith('/') || tree.lstat(at)?.type === 'directory'
  const path = inside ? `${at === '/' ? '' : at}/${root.name}` : at
  const slash = path.lastIndexOf('/')
  const parent = tree.directory(path.slice(0, slash), madeDirectory(placement))
  placeLeaf(tree, parent, path.slice(slash + 1), path, leaf)
}

/** The directory that `destination` names, made when it is missing. `path` has no `/` at its end. */
export function destinationDirectory(
  tree: LayerTree,
  placement: Pick<Placement, 'destination' | 'owner' | 'nowNs'>,
  what: string,
): { readonly node: DirectoryNode; readonly path: string } {
  const at = resolveDestination(tree, placement.destination)
  const type = tree.lstat(at)?.type
  if (type !== undefined && type !== 'directory') {
    const message = `directory "${what === '' ? '.' : what}" cannot be copied onto "${at}", which is a ${nameOfType(type)}`
    throw new BuildError('COPY_DESTINATION_CONFLICT', message, { hint: 'name a directory as the destination' })
  }
  return { node: tree.directory(at, madeDirectory(placement)), path: at === '/' ? '' : at }
}

function resolveDestination(tree: LayerTree, destination: string): string {
  return resolvePath(tree, destination, { followLast: true }).path
}

function madeDirectory(placement: Pick<Placement, 'owner' | 'nowNs'>): Metadata {
  return newDirectory(placement.owner ?? { uid: 0, gid: 0 }, placement.nowNs)
}

function placeDirectory(
  tree: LayerTree,
  parent: DirectoryNode,
  name: string,
  path: string,
  item: SelectedEntry,
  placement: Placement,
): DirectoryNode {
  const type = tree.typeAt(parent, name, path)
  if (type !== undefined && type !== 'directory') {
    const message = `directory "${item.path}" cannot be copied onto "${path}", which is a ${nameOfType(type)}`
    throw new BuildError('COPY_DESTINATION_CONFLICT', message, { hint: 'remove it in an earlier RUN, or copy to another place' })
  }
  const metadata = metadataOf(item.entry, placement)
  const node = tree.child(parent, name, path, metadata)
  if (type !== undefined && !item.isParent) {
    node.metadata = { ...metadata, xattrsFrom: [...node.metadata.xattrsFrom, ...metadata.xattrsFrom] }
  }
  return node
}

/** Puts anything but a directory; what is there already is replaced, unless it is a directory. */
export function placeLeaf(tree: LayerTree, parent: DirectoryNode, name: string, path: string, leaf: LeafNode): void {
  if (tree.typeAt(parent, name, path) === 'directory') {
    throw new BuildError('COPY_DESTINATION_CONFLICT', `"${path}" is a directory and cannot be replaced with a file`, {
      hint: 'end the destination in "/" to copy into it, or remove it in an earlier RUN',
    })
  }
  parent.children.set(name, leaf)
}

function metadataOf(entry: FileEntry, placement: Placement, known = placement.knownOf(entry)): Metadata {
  const owner = placement.owner ?? (placement.keepOwner ? entry : { uid: 0, gid: 0 })
  const mode =
    entry.type === 'symlink' ? entry.mode : (placement.changeMode?.(entry.mode, entry.type === 'directory') ?? entry.mode)
  const hasNoXattrs = entry.hostPath === '' || known?.xattrs === ''
  return {
    mode,
    uid: owner.uid,
    gid: owner.gid,
    mtimeNs: entry.mtimeNs,
    xattrsFrom: hasNoXattrs ? [] : [entry.hostPath],
  }
}

/** The node for a source entry. Names of one file within one source stay names of one file. */
function leafOf(
  view: FileView,
  viewPath: string,
  entry: FileEntry,
  placement: Placement,
  links: Map<string, LeafNode>,
): LeafNode {
  const known = placement.knownOf(entry)
  const metadata = metadataOf(entry, placement, known)
  switch (entry.type) {
    case 'symlink':
      return { kind: 'symlink', metadata, target: view.readlink(viewPath) }
    case 'character':
    case 'block':
    case 'fifo':
      return nodeOf(entry.type, viewPath, entry, metadata)
    case 'file':
      return fileOf(entry, metadata, known, links)
    case 'socket':
      return emptyFile(metadata)
    case 'directory':
      throw new Error(`the directory "${viewPath}" is no leaf`)
  }
}

function sha256Of(known: KnownContent | undefined): string | undefined {
  return known === undefined || known.sha256 === '' ? undefined : known.sha256
}

function nodeOf(type: 'character' | 'block' | 'fifo', viewPath: string, entry: FileEntry, metadata: Metadata): LeafNode {
  if (type === 'character' && entry.rdev === 0) {
    throw new BuildError('CONTEXT_UNSUPPORTED', `"${viewPath}" is the device 0:0, which marks a deletion in a layer`)
  }
  return { kind: 'node', metadata, type, rdev: entry.rdev }
}

/** A socket has no form in an image: an empty file stands for it, as BuildKit has it. */
function emptyFile(metadata: Metadata): LeafNode {
  const nothing = { hostPath: '/dev/null', size: 0, ctimeMs: undefined, move: false, sha256: undefined }
  return { kind: 'file', metadata: { ...metadata, xattrsFrom: [] }, ...nothing }
}

function fileOf(entry: FileEntry, metadata: Metadata, known: KnownContent | undefined, links: Map<string, LeafNode>): LeafNode {
  const key = entry.nlink > 1 ? `${entry.dev}:${entry.ino}` : ''
  const original = entry.nlink > 1 ? links.get(key) : undefined
  if (original !== undefined) return { kind: 'link', original }
  const node: LeafNode = {
    kind: 'file',
    metadata,
    hostPath: entry.hostPath,
    size: entry.size,
    ctimeMs: entry instanceof ContextEntry ? entry.ctimeMs : undefined,
    move: false,
    sha256: sha256Of(known),
  }
  if (entry.nlink > 1) links.set(key, node)
  return node
}
