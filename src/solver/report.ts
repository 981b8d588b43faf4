/** Tells the listeners of a build of each vertex, and remembers how it got its result. */
import type { Context, WorkingProcess } from '../core/context.js'
import type { StepReason } from '../core/reason.js'
import type { Vertex, VertexId } from '../graph/op.js'
import { errorLine } from './failure.js'
import type { SolvedBy } from './solution.js'

/** Tells of each vertex once that it started and once that it is done. */
export interface Report {
  /** Why the vertex is about to run; to be said before it starts. */
  because(vertex: Vertex, reason: StepReason): void
  /** Another process runs the step, and its result is waited for; said again when that process is stopped or goes on. */
  waiting(vertex: Vertex, process: WorkingProcess | undefined): void
  waited(vertex: Vertex): void
  started(vertex: Vertex): void
  done(vertex: Vertex, by: SolvedBy): void
  failed(vertex: Vertex, error: unknown): void
  readonly how: ReadonlyMap<VertexId, SolvedBy>
  readonly reasons: ReadonlyMap<VertexId, StepReason>
}

const work = 'runs this step'

/** A report to the listeners of `ctx`; `now` is in ms since 1970. */
export function createReport(now: () => number, ctx: Context): Report {
  const how = new Map<VertexId, SolvedBy>()
  const started = new Set<VertexId>()
  const reasons = new Map<VertexId, StepReason>()
  const begin = ({ id, name }: Vertex): void => {
    if (started.has(id)) return
    started.add(id)
    const reason = reasons.get(id)
    ctx.emit({ type: 'vertex-started', id, name, atMs: now(), ...(reason === undefined ? {} : { reason }) })
  }
  return {
    how,
    reasons,
    because: ({ id }, reason) => void reasons.set(id, reason),
    waiting({ id, name }, process) {
      const event = { type: 'waiting', id, name, atMs: now(), isOver: false, work } as const
      ctx.emit(process === undefined ? event : { ...event, process })
    },
    waited: ({ id, name }) => ctx.emit({ type: 'waiting', id, name, atMs: now(), isOver: true, work }),
    started: begin,
    done(vertex, by) {
      if (how.has(vertex.id)) return
      how.set(vertex.id, by)
      begin(vertex)
      // A context was looked at just now.
      const looked = by === 'known' && vertex.op.kind === 'context'
      ctx.emit({ type: 'vertex-done', id: vertex.id, name: vertex.name, atMs: now(), cached: by !== 'ran' && !looked })
    },
    failed(vertex, error) {
      if (!started.has(vertex.id)) return
      const { id, name } = vertex
      ctx.emit({ type: 'vertex-done', id, name, atMs: now(), cached: false, error: errorLine(error) })
    },
  }
}
