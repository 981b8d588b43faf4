/**
 * SOURCE_DATE_EPOCH in seconds, where it is the time of a source: a build context, or the one ADD of a stage.
 *
 * Of a git repository it is the time of the commit; of a download its Last-Modified, else the newest file of the archive that
 * it is. A directory of this machine has no such time: that of its files says when they were checked out.
 */
import { mkdirSync, rmSync } from 'node:fs'
import type { Diagnostic } from '../core/diagnostic.js'
import { UsageError } from '../core/errors.js'
import type { FileEntry, FileView } from '../core/view.js'
import type { SourceDateEpoch } from '../frontend/epoch.js'
import type { BuildPlan, GitOp, HttpOp, Vertex } from '../graph/op.js'
import type { ArchiveAnswer, ArchiveTask } from '../ops/archive.js'
import type { OpRunners } from '../solver/ports.js'
import type { Engine } from './engine.js'

/** What the time is read from. */
export interface EpochSources {
  /** The time of a build context that was fetched; undefined for one that has none. */
  readonly contextTime: (name: string) => Promise<number | undefined>
  /** The plan of a stage. */
  readonly planOf: (stage: number) => Promise<BuildPlan>
  /** Runners in whose results files without a time of their own have the time 0. */
  readonly runners: () => Pick<OpRunners, 'http' | 'git'>
}

/** The seconds since 1970 that SOURCE_DATE_EPOCH stands for; undefined where its source has no time. */
export async function resolveEpoch(epoch: SourceDateEpoch, sources: EpochSources, engine: Engine): Promise<number | undefined> {
  switch (epoch.kind) {
    case 'seconds':
      return epoch.seconds
    case 'context':
      return sources.contextTime(epoch.name)
    case 'stage':
      return stageTime(await sources.planOf(epoch.index), sources.runners(), engine)
  }
}

/** The warning for a source without a time. */
export function noEpoch(): Diagnostic {
  return {
    severity: 'warning',
    code: 'NoSourceDateEpoch',
    message: 'SOURCE_DATE_EPOCH is not set: its source is a directory of this machine, or has no time',
    hint: 'give seconds, for example those of the commit: --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)',
  }
}

async function stageTime(plan: BuildPlan, runners: Pick<OpRunners, 'http' | 'git'>, engine: Engine): Promise<number | undefined> {
  const { ctx } = engine
  for (const vertex of plan.vertices) {
    if (vertex.op.kind === 'http') return httpTime(await filesOf(runners.http.run(vertex.op, [], vertex, ctx)), vertex.op, engine)
    if (vertex.op.kind === 'git') return gitTime(vertex.op, vertex, runners, ctx)
  }
  throw new UsageError('USAGE_BAD_ARGUMENT', 'the stage that SOURCE_DATE_EPOCH names has no source that has a time')
}

async function filesOf(result: ReturnType<OpRunners['http']['run']>): Promise<FileView> {
  const files = await result
  if (files.kind === 'files') return files.view
  throw new Error('a source gives files')
}

async function gitTime(
  op: GitOp,
  vertex: Vertex,
  { git }: Pick<OpRunners, 'git'>,
  ctx: Engine['ctx'],
): Promise<number | undefined> {
  const view = await filesOf(git.run({ ...op, mtime: 'commit', keepGitDir: false }, [], vertex, ctx))
  return secondsOf(view.lstat('/'))
}

async function httpTime(view: FileView, op: HttpOp, engine: Engine): Promise<number | undefined> {
  const file = view.lstat(`/${op.filename}`)
  return secondsOf(file) ?? (file && newestInArchive(file.hostPath, engine))
}

function secondsOf(file: FileEntry | undefined): number | undefined {
  return file === undefined || file.mtimeNs === 0n ? undefined : Number(file.mtimeNs / 1_000_000_000n)
}

/** The newest time of a regular file in an archive; undefined for what is none. */
async function newestInArchive(path: string, { store, pool, ctx }: Engine): Promise<number | undefined> {
  const stage = store.blobs.temporaryPath()
  mkdirSync(stage)
  const task: ArchiveTask = { path, stage, firstNumber: 0 }
  const found = await pool.run<ArchiveAnswer>('stageArchive', task, ctx.signal)
  rmSync(stage, { recursive: true, force: true })
  if (found.kind !== 'entries') return undefined
  const times = found.entries.flatMap(({ type, mtime }) => (type === 'file' ? [mtime] : []))
  return times.length === 0 ? undefined : times.reduce((newest, time) => Math.max(newest, time))
}
