/** What the events of a build say of its steps: how each ended, when, how long it took, and why it ran. */
import type { BuildEvent } from '../core/context.js'
import type { StepReason } from '../core/reason.js'

/** One step as its events tell it. `would-run` and `may-run` are of dry runs. */
export interface LoggedStep {
  /** The vertex: the same for the same step on the same inputs. */
  readonly id: string
  readonly name: string
  /** `waiting`: it had not begun when the build ended. */
  readonly status: 'ran' | 'cached' | 'failed' | 'running' | 'waiting' | 'would-run' | 'may-run'
  /** ms since 1970. */
  readonly startedAt?: number
  readonly durationMs?: number
  readonly reason?: StepReason
  readonly error?: string
}

/** Follows the events of one build. */
export class StepLog {
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
      this.#steps.set(id, { id, name, status: 'running', startedAt: atMs, ...(reason === undefined ? {} : { reason }) })
    }
    if (event.type !== 'vertex-done') return
    const { id, name, atMs, cached, error } = event
    const started = this.#steps.get(id)
    const status = error !== undefined ? 'failed' : cached ? 'cached' : 'ran'
    const durationMs = Math.max(0, atMs - (started?.startedAt ?? atMs))
    this.#steps.set(id, { ...started, id, name, status, durationMs, ...(error === undefined ? {} : { error }) })
  }
}
