/** What the events of a build say of its steps: how each ended, when, how long it took and waited, and why it ran. */
import type { BuildEvent } from '../core/context.js'
import type { RecordedStep } from '../store/builds.js'

/** One step as its events tell it. `would-run` and `may-run` are of dry runs. */
export interface LoggedStep extends Omit<RecordedStep, 'status' | 'key'> {
  readonly status: RecordedStep['status'] | 'would-run' | 'may-run'
}

type WaitEvent = Extract<BuildEvent, { type: 'waiting' }>

/** A step that waits: since when, and for which work. A base waits for several layers at once. */
interface Wait {
  readonly sinceMs: number
  readonly works: Set<string>
}

/** Follows the events of one build. */
export class StepLog {
  readonly #waits = new Map<string, Wait>()
  readonly #steps = new Map<string, LoggedStep>()

  /** The steps in the order of the plan. */
  get steps(): readonly LoggedStep[] {
    return [...this.#steps.values()]
  }

  /** True when any step ran or tried to. */
  get anyRan(): boolean {
    return this.steps.some(({ reason }) => reason !== undefined)
  }

  /** Takes note of an event; those that are not about steps say nothing. */
  add(event: BuildEvent): void {
    if (event.type === 'plan') for (const { id, name } of event.vertices) this.#steps.set(id, { id, name, status: 'waiting' })
    if (event.type === 'vertex-started') {
      const { id, name, atMs, reason } = event
      const known = this.#steps.get(id)
      this.#steps.set(id, { ...known, id, name, status: 'running', startedAt: atMs, ...(reason === undefined ? {} : { reason }) })
    }
    if (event.type === 'waiting') this.#wait(event)
    if (event.type !== 'vertex-done') return
    const { id, name, atMs, cached, error } = event
    const started = this.#steps.get(id)
    const status = error !== undefined ? 'failed' : cached ? 'cached' : 'ran'
    const durationMs = Math.max(0, atMs - (started?.startedAt ?? atMs))
    this.#steps.set(id, { ...started, id, name, status, durationMs, ...(error === undefined ? {} : { error }) })
  }
  #wait({ id, work, atMs, isOver, process }: WaitEvent): void {
    const step = this.#steps.get(id)
    if (step === undefined) return
    const wait = this.#waits.get(id) ?? { sinceMs: atMs, works: new Set() }
    if (isOver) wait.works.delete(work)
    else this.#waits.set(id, { ...wait, works: wait.works.add(work) })
    const waitedFor = process === undefined ? {} : { waitedFor: { pid: process.pid, command: process.command } }
    const ends = isOver && wait.works.size === 0 && this.#waits.delete(id)
    const waitedMs = ends ? { waitedMs: (step.waitedMs ?? 0) + Math.max(0, atMs - wait.sinceMs) } : {}
    this.#steps.set(id, { ...step, ...waitedFor, ...waitedMs })
  }
}
