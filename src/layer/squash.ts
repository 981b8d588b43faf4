/**
 * Several layers as one: what they say together about the layers below.
 *
 * Later layers win. A deletion stays only where something below is there to be deleted; a directory in place of what was deleted
 * or was no directory hides what lies below it. Hard links stay links among the names that are left.
 */
import { lstatSync } from 'node:fs'
import { fsPath } from '../core/path-bytes.js'
import type { FileView } from '../core/view.js'
import { describeFile, type LayerEntry, marker, sortNames, type WalkOptions, walkLayer } from './walk.js'

interface Node {
  entry: LayerEntry | undefined
  opaque: boolean
  readonly children: Map<string, Node>
}

/**
 * The entries of the layer that stands for `uppers`, in tar order.
 *
 * @param uppers snapshot directories, bottom first
 * @param below what lies below them; undefined: nothing
 */
export function* squashEntries(uppers: readonly string[], below: FileView | undefined): Generator<LayerEntry, void, void> {
  const root: Node = { entry: undefined, opaque: false, children: new Map() }
  for (const upper of uppers) for (const entry of walkLayer(upper)) put(root, entry)
  if (root.entry !== undefined) yield root.entry
  const visible = root.opaque ? undefined : below
  if (root.opaque && below !== undefined) yield marker('opaque', '', '')
  yield* emit(root, '', visible, new Map())
}

/** One snapshot directory, or several, bottom first, that together are one layer. */
export type LayerUpper = string | readonly string[]

/** The entries of one layer, in tar order, in however many directories its files are. */
export function layerEntries(upper: LayerUpper, options: WalkOptions = {}): Iterable<LayerEntry> {
  if (typeof upper === 'string') return walkLayer(upper, options)
  const [first, ...others] = upper
  return first !== undefined && others.length === 0 ? walkLayer(first, options) : squashEntries(upper, undefined)
}

function put(root: Node, entry: LayerEntry): void {
  const node = nodeAt(root, entry.path)
  if (entry.type === 'opaque') {
    node.children.clear()
    node.opaque = true
    return
  }
  const before = node.entry
  node.entry = entry
  if (entry.type === 'directory' && (before === undefined || before.type === 'directory')) return
  node.children.clear()
  // What was deleted, or was hidden by something that is no directory, does not come back with a new directory.
  node.opaque = entry.type === 'directory'
}

function nodeAt(root: Node, path: string): Node {
  let node = root
  for (const name of path === '' ? [] : path.split('/')) {
    let child = node.children.get(name)
    if (child === undefined) {
      child = { entry: undefined, opaque: false, children: new Map() }
      node.children.set(name, child)
    }
    node = child
  }
  return node
}

/** `below` is undefined where nothing of it shows. */
function* emit(
  parent: Node,
  path: string,
  below: FileView | undefined,
  firstNames: Map<number, string>,
): Generator<LayerEntry, void, void> {
  for (const name of sortNames([...parent.children.keys()])) {
    const node = parent.children.get(name)
    const entry = node?.entry
    if (node === undefined || entry === undefined) continue
    const child = path === '' ? name : `${path}/${name}`
    const hidden = below?.lstat(`/${child}`)
    if (entry.type === 'whiteout') {
      if (hidden !== undefined) yield entry
    } else if (entry.type === 'directory') {
      const isMerged = hidden?.type === 'directory'
      yield entry
      if (node.opaque && isMerged) yield marker('opaque', child, entry.hostPath)
      yield* emit(node, child, isMerged && !node.opaque ? below : undefined, firstNames)
    } else {
      const found = describeFile({ lowers: undefined, firstNames }, child, entry.hostPath, lstatSync(fsPath(entry.hostPath)))
      if (found !== undefined) yield found
    }
  }
}
