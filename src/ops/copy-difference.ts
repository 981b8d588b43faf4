/**
 * What of a COPY is other than in an earlier layer: when that is little, only it is written, and the new layer's files are
 * those of the earlier one with these on top.
 *
 * A layer may come to lie on any other, so a difference never deletes: a whiteout would also hide what is further down. And a
 * directory never takes the place of a file: what lies below that file would stay hidden. Such copies are written whole, and
 * so are those with hard links, devices and extended attributes, of which too little is known here.
 */
import { formatEntry } from '../layer/snapshot-list.js'
import type { EarlierCopy } from './copy-earlier.js'
import { type PlannedEntry, type PlannedLayer, planEntries } from './copy-entries.js'
import type { DirectoryNode, LayerTree, TreeNode } from './copy-tree.js'

/** A part of a layer. */
export interface Difference {
  readonly root: DirectoryNode
  /** The list of what the part holds, for the snapshot. */
  readonly entries: string
}

/** A text for each entry that is another when the entry is; undefined when there is an entry of which that cannot be said. */
export function describeLayer(tree: Pick<LayerTree, 'root'>, plan: PlannedLayer): ReadonlyMap<string, string> | undefined {
  if (!plan.isCertain) return undefined
  const nodes = new Map<string, TreeNode>([['', tree.root]])
  gather(tree.root, '', nodes)
  const described = new Map<string, string>()
  for (const entry of plan.entries) {
    const text = describe(entry, nodes.get(entry.path), plan)
    if (text === undefined) return undefined
    described.set(entry.path, text)
  }
  return described
}

function gather(directory: DirectoryNode, prefix: string, into: Map<string, TreeNode>): void {
  for (const [name, node] of directory.children) {
    into.set(prefix + name, node)
    if (node.kind === 'directory') gather(node, `${prefix}${name}/`, into)
  }
}

/** The content of a file that nobody has hashed equals nothing. */
function describe(entry: PlannedEntry, node: TreeNode | undefined, { knownContent }: PlannedLayer): string | undefined {
  const { type, mode, uid, gid, size, target, path, xattrs } = entry
  if (node === undefined || node.kind === 'link' || xattrs.length > 0) return undefined
  if (type !== 'file' && type !== 'directory' && type !== 'symlink') return undefined
  const content = type === 'file' ? (knownContent.get(path) ?? unknownContent) : target
  return `${type} ${mode.toString(8)} ${uid} ${gid} ${node.metadata.mtimeNs} ${size} ${content}`
}

const unknownContent = '?'

/** What is other than in `earlier`; undefined when that is much, or cannot be had as a difference. */
export function findDifference(
  tree: Pick<LayerTree, 'root'>,
  described: ReadonlyMap<string, string>,
  earlier: EarlierCopy,
): Difference | undefined {
  for (const [path, text] of earlier.entries) {
    const now = described.get(path)
    if (now === undefined || isDirectory(now) !== isDirectory(text)) return undefined
  }
  const isSame = (path: string): boolean => {
    const text = described.get(path)
    return text !== undefined && text === earlier.entries.get(path) && !text.endsWith(unknownContent)
  }
  const root: DirectoryNode = { ...tree.root, children: changedBelow(tree.root, '', isSame) }
  const plan = planEntries({ root })
  if (plan.entries.length > described.size / 2) return undefined
  return { root, entries: plan.entries.map(({ type, path, size }) => formatEntry(type, path, size)).join('') }
}

function isDirectory(text: string): boolean {
  return text.startsWith('directory ')
}

/** The children that are other, and the directories that lead to them. */
function changedBelow(directory: DirectoryNode, prefix: string, isSame: (path: string) => boolean): Map<string, TreeNode> {
  const changed = new Map<string, TreeNode>()
  for (const [name, node] of directory.children) {
    const path = prefix + name
    if (node.kind !== 'directory') {
      if (!isSame(path)) changed.set(name, node)
      continue
    }
    const children = changedBelow(node, `${path}/`, isSame)
    if (children.size > 0 || !isSame(path)) changed.set(name, { ...node, children })
  }
  return changed
}
