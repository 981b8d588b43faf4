/**
 * The layer that a COPY will write, as a tree in memory on top of the files that are there already.
 *
 * Later sources of one COPY see what earlier ones put, and replace it. Only when the tree is complete is it written
 * (copy-write.ts), each file once. A directory of the base that gets a new child is in the layer too, with the base's own
 * metadata: overlayfs takes a merged directory's metadata from its topmost layer.
 */
import { BuildError } from '../core/errors.js'
import type { FileEntry, FileType, FileView } from '../core/view.js'

/** Owner, mode and time of something new. */
export interface Metadata {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeNs: bigint
  /** Host files whose extended attributes it gets, later ones over earlier ones. */
  readonly xattrsFrom: readonly string[]
  /** Extended attributes that are no file's (from an archive). */
  readonly xattrs?: readonly { readonly name: string; readonly value: Uint8Array }[]
}

/** A directory of the layer. `inBase`: the base has a directory of this path, whose children are still visible. */
export interface DirectoryNode {
  readonly kind: 'directory'
  metadata: Metadata
  readonly inBase: boolean
  readonly children: Map<string, TreeNode>
}

/** Anything else in the layer. */
export type LeafNode =
  | {
      readonly kind: 'file'
      readonly metadata: Metadata
      readonly hostPath: string
      readonly size: number
      /** `ctime` at which the file was hashed; a file that has another when it is copied has changed. */
      readonly ctimeMs: number | undefined
      /** Take the file away instead of copying it: it was unpacked for this. */
      readonly move: boolean
      /** sha256 (hex) of the content where it is known. */
      readonly sha256: string | undefined
    }
  | { readonly kind: 'symlink'; readonly metadata: Metadata; readonly target: string }
  | { readonly kind: 'node'; readonly metadata: Metadata; readonly type: 'character' | 'block' | 'fifo'; readonly rdev: number }
  /** Another name of a file of this layer. */
  | { readonly kind: 'link'; readonly original: LeafNode }

/** One entry of the layer. */
export type TreeNode = DirectoryNode | LeafNode

/** The tree; paths are absolute within the root filesystem. */
export class LayerTree implements FileView {
  readonly base: FileView | undefined
  readonly root: DirectoryNode

  constructor(base: FileView | undefined, now: bigint) {
    this.base = base
    const entry = base?.lstat('/')
    this.root = {
      kind: 'directory',
      metadata: entry === undefined ? newDirectory({ uid: 0, gid: 0 }, now) : keptMetadata(entry),
      inBase: base !== undefined,
      children: new Map(),
    }
  }

  /** True when nothing was put. */
  get isEmpty(): boolean {
    return this.root.children.size === 0
  }

  lstat(path: string): FileEntry | undefined {
    let node: TreeNode = this.root
    for (const name of path.split('/')) {
      if (name === '') continue
      if (node.kind !== 'directory') return undefined
      const child: TreeNode | undefined = node.children.get(name)
      if (child === undefined) return node.inBase ? this.base?.lstat(path) : undefined
      node = child
    }
    return entryOf(node)
  }

  readlink(path: string): string {
    const node = this.find(path)
    if (node?.kind === 'symlink') return node.target
    if (this.base === undefined) throw new Error(`no symlink at ${path}`)
    return this.base.readlink(path)
  }

  readdir(): readonly string[] {
    throw new Error('a layer that is being put together is never listed')
  }

  /** What the layer itself has at a path without symlinks. */
  find(path: string): TreeNode | undefined {
    let node: TreeNode | undefined = this.root
    for (const name of path.split('/')) if (name !== '') node = node?.kind === 'directory' ? node.children.get(name) : undefined
    return node
  }

  /**
   * The directory at `path`, whose parents hold no symlink; makes what is missing with `made`.
   *
   * @throws BuildError COPY_DESTINATION_CONFLICT when a part of the path is not a directory
   */
  directory(path: string, made: Metadata): DirectoryNode {
    let node = this.root
    let at = ''
    for (const name of path.split('/')) {
      if (name === '') continue
      at = `${at}/${name}`
      node = this.child(node, name, at, made)
    }
    return node
  }

  /** A new directory in place of whatever was there, of which nothing stays visible. */
  replaceWithDirectory(parent: DirectoryNode, name: string, made: Metadata): DirectoryNode {
    const node: DirectoryNode = { kind: 'directory', metadata: made, inBase: false, children: new Map() }
    parent.children.set(name, node)
    return node
  }

  /** One directory below another. */
  child(parent: DirectoryNode, name: string, path: string, made: Metadata): DirectoryNode {
    const known = parent.children.get(name)
    if (known?.kind === 'directory') return known
    const below = known === undefined && parent.inBase ? this.base?.lstat(path) : undefined
    if (known !== undefined || (below !== undefined && below.type !== 'directory')) {
      const type = known === undefined ? below?.type : typeOfNode(known)
      throw new BuildError('COPY_DESTINATION_CONFLICT', `"${path}" is a ${nameOfType(type)}, where a directory is needed`, {
        hint: 'remove it in an earlier RUN, or copy to another place',
      })
    }
    const node: DirectoryNode = {
      kind: 'directory',
      metadata: below === undefined ? made : keptMetadata(below),
      inBase: below !== undefined,
      children: new Map(),
    }
    parent.children.set(name, node)
    return node
  }

  /** What is at a name in a directory of the layer, be it in the layer or the base. */
  typeAt(parent: DirectoryNode, name: string, path: string): FileType | undefined {
    const known = parent.children.get(name)
    if (known !== undefined) return typeOfNode(known)
    return parent.inBase ? this.base?.lstat(path)?.type : undefined
  }
}

/** A directory that no source gave: 0755. */
export function newDirectory(owner: { readonly uid: number; readonly gid: number }, now: bigint): Metadata {
  return { mode: 0o755, uid: owner.uid, gid: owner.gid, mtimeNs: now, xattrsFrom: [] }
}

function keptMetadata(entry: FileEntry): Metadata {
  const { mode, uid, gid, mtimeNs, hostPath } = entry
  return { mode, uid, gid, mtimeNs, xattrsFrom: hostPath === '' ? [] : [hostPath] }
}

function typeOfNode(node: TreeNode): FileType {
  if (node.kind === 'link') return typeOfNode(node.original)
  return node.kind === 'node' ? node.type : node.kind
}

/** What people call a type. */
export function nameOfType(type: FileType | undefined): string {
  if (type === 'character' || type === 'block') return `${type} device`
  return type ?? 'file'
}

/** As much of an entry as the following of symlinks asks for. */
function entryOf(node: TreeNode): FileEntry {
  const metadata = node.kind === 'link' ? undefined : node.metadata
  return {
    type: typeOfNode(node),
    mode: metadata?.mode ?? 0,
    uid: metadata?.uid ?? 0,
    gid: metadata?.gid ?? 0,
    size: 0,
    mtimeNs: metadata?.mtimeNs ?? 0n,
    ctimeNs: 0n,
    dev: 0,
    ino: 0,
    nlink: 1,
    rdev: 0,
    hostPath: '',
  }
}
