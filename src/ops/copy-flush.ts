/**
 * Turns a `LayerTree` into files below the upper directory of a new layer: directories first, their times last.
 *
 * Meanwhile the layer is digested from the same sources (copy-entries.ts).
 */
import { chmodSync, chownSync, lchownSync, linkSync, lstatSync, lutimesSync, mkdirSync, symlinkSync, utimesSync } from 'node:fs'
import { changedWhileReading } from '../context/context.js'
import { unreadable } from '../context/tree.js'
import { readXattrs } from '../context/xattrs.js'
import type { Context } from '../core/context.js'
import { fsPath } from '../core/path-bytes.js'
import type { WorkerPool } from '../io/pool.js'
import { listXattrs, makeNode, setXattr } from '../io/sys.js'
import type { LayerDigest } from '../layer/digest.js'
import { type DigestPlannedTask, digestPlannedTask } from './copy-digest.js'
import type { PlannedLayer } from './copy-entries.js'
import type { DirectoryNode, LeafNode, Metadata } from './copy-tree.js'
import { fileColumns, fileKinds, type WriteAnswer, type WriteRequest, writeFiles } from './copy-write.js'
import type { WrittenLayer } from './layer-port.js'

type FileNode = Extract<LeafNode, { kind: 'file' }>

interface Work {
  readonly files: { readonly path: string; readonly node: FileNode }[]
  readonly links: { readonly path: string; readonly original: LeafNode }[]
  readonly directories: { readonly path: string; readonly node: DirectoryNode }[]
  readonly written: Map<LeafNode, string>
}

/** What to write, and where. */
export interface FlushOptions {
  /** All that the layer will be. */
  readonly plan: PlannedLayer
  /** Exists and is empty. */
  readonly upper: string
  readonly pool: WorkerPool
}

/**
 * Writes what is below `root`: the layer of the plan, or a part of it.
 *
 * @throws BuildError CONTEXT_CHANGED, CONTEXT_UNREADABLE
 */
export async function flushTree(
  root: DirectoryNode,
  isPart: boolean,
  { plan, upper, pool }: FlushOptions,
  ctx: Context,
): Promise<WrittenLayer> {
  const { entries, knownContent, isCertain } = plan
  const canDigest = isCertain && !inheritsAttributes(upper)
  // Started before the directories are made, so that its thread starts meanwhile.
  const digesting = canDigest ? digestPlanned({ entries, knownContent }, isPart, pool, ctx) : undefined
  const [digested, written] = await Promise.allSettled([digesting, writeTree(root, upper, pool, ctx)])
  if (written.status === 'rejected') throw written.reason
  if (digested.status === 'rejected') throw digested.reason
  return { knownContent, digest: digested.value }
}

/** Access lists that the store's directory hands down to all in it are seen only once the files are there. */
export function inheritsAttributes(upper: string): boolean {
  return listXattrs(upper).length > 0
}

/** Where all is written the main thread has enough to do; a part is written in no time. */
async function digestPlanned(task: DigestPlannedTask, isPart: boolean, pool: WorkerPool, ctx: Context): Promise<LayerDigest> {
  const cost = task.entries.reduce((sum, { size }) => sum + 25 + size / 1000, 0)
  if (cost <= (isPart ? 4 : 1) * inlineCost) return digestPlannedTask(task)
  return await pool.run<LayerDigest>('digestPlannedTask', task, ctx.signal)
}

async function writeTree(root: DirectoryNode, upper: string, pool: WorkerPool, ctx: Context): Promise<void> {
  const work: Work = { files: [], links: [], directories: [{ path: upper, node: root }], written: new Map() }
  const umask = process.umask()
  makeEntries(root, upper, umask, work)
  promoteLinks(work)
  await writeAll(work.files, pool, ctx)
  for (const { path, node } of work.files) for (const { name, value } of node.metadata.xattrs ?? []) setXattr(path, name, value)
  for (const { path, original } of work.links) linkSync(fsPath(work.written.get(original) ?? ''), fsPath(path))
  const [, ...below] = work.directories
  for (const { path, node } of below.reverse()) finishDirectory(path, node, umask)
  finishRoot(upper, root)
}

/** Makes all but regular files, which are gathered: they are the bulk, and workers write them. */
function makeEntries(directory: DirectoryNode, path: string, umask: number, work: Work): void {
  for (const [name, node] of directory.children) {
    const target = `${path}/${name}`
    if (node.kind === 'directory') {
      // Its owner can write in it until it is finished, whatever its mode will be.
      mkdirSync(fsPath(target), (node.metadata.mode & 0o777) | 0o700)
      work.directories.push({ path: target, node })
      makeEntries(node, target, umask, work)
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
    numbers.set([node.size, mode, uid, gid, secondsOf(mtimeNs), node.ctimeMs ?? 0, kindOf(node)], i * fileColumns)
  })
  return { targets: files.map(({ path }) => path), sources: files.map(({ node }) => node.hostPath), numbers }
}

function kindOf({ move, metadata }: FileNode): number {
  if (move) return fileKinds.move
  return metadata.xattrsFrom.length === 0 ? fileKinds.copyPlain : fileKinds.copy
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

/** The store made it: whoever owns what is made there, and whatever its mode is. */
function finishRoot(upper: string, root: DirectoryNode): void {
  const { uid, gid } = root.metadata
  const made = lstatSync(upper)
  if (made.uid !== uid || made.gid !== gid) chownSync(upper, uid, gid)
  finishDirectory(upper, root, 0o7777)
}

/** @param umask bits of the mode that `mkdir` did not set */
function finishDirectory(path: string, node: DirectoryNode, umask: number): void {
  const { uid, gid, mode, mtimeNs, xattrsFrom, xattrs } = node.metadata
  if (uid !== 0 || gid !== 0) chownSync(fsPath(path), uid, gid)
  if ((mode & umask) !== 0 || mode > 0o777 || (mode & 0o700) !== 0o700) chmodSync(fsPath(path), mode)
  if (xattrsFrom.length > 0 || xattrs !== undefined) copyXattrs(path, node.metadata)
  utimesSync(fsPath(path), secondsOf(mtimeNs), secondsOf(mtimeNs))
}

function copyXattrs(path: string, metadata: Metadata): void {
  for (const source of metadata.xattrsFrom) for (const { name, value } of readXattrs(source)) setXattr(path, name, value)
  for (const { name, value } of metadata.xattrs ?? []) setXattr(path, name, value)
}
