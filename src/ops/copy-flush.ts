/** Turns a `LayerTree` into files below the upper directory of a new layer: directories first, their times last. */
import { chmodSync, chownSync, lchownSync, linkSync, lutimesSync, mkdirSync, symlinkSync, utimesSync } from 'node:fs'
import { changedWhileReading } from '../context/context.js'
import { unreadable } from '../context/tree.js'
import { readXattrs } from '../context/xattrs.js'
import type { Context } from '../core/context.js'
import { fsPath } from '../core/path-bytes.js'
import type { WorkerPool } from '../io/pool.js'
import { makeNode, setXattr } from '../io/sys.js'
import type { DirectoryNode, LayerTree, LeafNode, Metadata } from './copy-tree.js'
import { fileColumns, type WriteAnswer, type WriteRequest, writeFiles } from './copy-write.js'

type FileNode = Extract<LeafNode, { kind: 'file' }>

interface Work {
  readonly files: { readonly path: string; readonly node: FileNode }[]
  readonly links: { readonly path: string; readonly original: LeafNode }[]
  readonly directories: { readonly path: string; readonly node: DirectoryNode }[]
  readonly written: Map<LeafNode, string>
}

/**
 * Writes the tree. `upper` exists and is empty.
 *
 * @returns sha256 (hex) of the files, by path relative to `upper`, where it was known
 * @throws BuildError CONTEXT_CHANGED, CONTEXT_UNREADABLE
 */
export async function flushTree(
  tree: LayerTree,
  upper: string,
  pool: WorkerPool,
  ctx: Context,
): Promise<ReadonlyMap<string, string>> {
  const work: Work = { files: [], links: [], directories: [{ path: upper, node: tree.root }], written: new Map() }
  makeEntries(tree.root, upper, work)
  promoteLinks(work)
  await writeAll(work.files, pool, ctx)
  for (const { path, node } of work.files) for (const { name, value } of node.metadata.xattrs ?? []) setXattr(path, name, value)
  for (const { path, original } of work.links) linkSync(fsPath(work.written.get(original) ?? ''), fsPath(path))
  for (const { path, node } of work.directories.reverse()) finishDirectory(path, node)
  const known = new Map<string, string>()
  for (const { path, node } of work.files) if (node.sha256 !== undefined) known.set(path.slice(upper.length + 1), node.sha256)
  return known
}

/** Makes all but regular files, which are gathered: they are the bulk, and workers write them. */
function makeEntries(directory: DirectoryNode, path: string, work: Work): void {
  for (const [name, node] of directory.children) {
    const target = `${path}/${name}`
    if (node.kind === 'directory') {
      mkdirSync(fsPath(target), 0o755)
      work.directories.push({ path: target, node })
      makeEntries(node, target, work)
    } else makeLeaf(target, node, work)
  }
}

function makeLeaf(path: string, node: LeafNode, work: Work): void {
  switch (node.kind) {
    case 'file':
      work.files.push({ path, node })
      work.written.set(node, path)
      return
    case 'link':
      work.links.push({ path, original: node.original })
      return
    case 'symlink':
      symlinkSync(fsPath(node.target), fsPath(path))
      lchownSync(fsPath(path), node.metadata.uid, node.metadata.gid)
      break
    case 'node':
      makeNode(path, node.type, 0o600, node.rdev)
      chownSync(fsPath(path), node.metadata.uid, node.metadata.gid)
      chmodSync(fsPath(path), node.metadata.mode)
  }
  work.written.set(node, path)
  copyXattrs(path, node.metadata)
  lutimesSync(fsPath(path), secondsOf(node.metadata.mtimeNs), secondsOf(node.metadata.mtimeNs))
}

/** Where a later source replaced the first name of a file, its next name holds the content. */
function promoteLinks(work: Work): void {
  const links = work.links.splice(0)
  for (const { path, original } of links) {
    if (work.written.has(original)) work.links.push({ path, original })
    else makeLeaf(path, original, work)
  }
}

/** Below this much work (µs) a worker would cost more than it saves. */
const inlineCost = 40_000

async function writeAll(files: Work['files'], pool: WorkerPool, ctx: Context): Promise<void> {
  const cost = (node: FileNode): number => (node.move ? 20 : 60 + node.size / 1000)
  const total = files.reduce((sum, { node }) => sum + cost(node), 0)
  if (total <= inlineCost) {
    check(files, writeFiles(requestOf(files)))
    return
  }
  const limit = Math.max(total / (pool.size * 4), inlineCost / 4)
  const chunks: Work['files'][] = [[]]
  let sum = 0
  for (const file of files) {
    if (sum > limit) {
      chunks.push([])
      sum = 0
    }
    chunks.at(-1)?.push(file)
    sum += cost(file.node)
  }
  await Promise.all(
    chunks.map(async (chunk) => check(chunk, await pool.run<WriteAnswer>('writeFiles', requestOf(chunk), ctx.signal))),
  )
}

function requestOf(files: Work['files']): WriteRequest {
  const numbers = new Float64Array(files.length * fileColumns)
  files.forEach(({ node }, i) => {
    const { mode, uid, gid, mtimeNs } = node.metadata
    numbers.set([node.size, mode, uid, gid, secondsOf(mtimeNs), node.ctimeMs ?? 0, node.move ? 1 : 0], i * fileColumns)
  })
  return { targets: files.map(({ path }) => path), sources: files.map(({ node }) => node.hostPath), numbers }
}

/** Seconds with microseconds: what a double holds without ever being rounded up to the next second. */
function secondsOf(ns: bigint): number {
  return Number(ns / 1000n) / 1e6
}

function check(files: Work['files'], answer: WriteAnswer): void {
  for (const [i, problem] of answer) {
    const hostPath = files[i]?.node.hostPath ?? ''
    if (problem === 'changed') throw changedWhileReading(hostPath)
    throw unreadable(hostPath, Object.assign(new Error(problem), { code: problem }))
  }
}

function finishDirectory(path: string, node: DirectoryNode): void {
  const { uid, gid, mode, mtimeNs } = node.metadata
  if (uid !== 0 || gid !== 0) chownSync(fsPath(path), uid, gid)
  chmodSync(fsPath(path), mode)
  if (node.metadata.xattrsFrom.length > 0 || node.metadata.xattrs !== undefined) {
    copyXattrs(path, node.metadata)
  }
  utimesSync(fsPath(path), secondsOf(mtimeNs), secondsOf(mtimeNs))
}

function copyXattrs(path: string, metadata: Metadata): void {
  for (const source of metadata.xattrsFrom) for (const { name, value } of readXattrs(source)) setXattr(path, name, value)
  for (const { name, value } of metadata.xattrs ?? []) setXattr(path, name, value)
}
