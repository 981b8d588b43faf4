/**
 * Tries again what failed in passing: jittered exponential delays, the registry's `Retry-After`, a bounded total.
 *
 * BuildKit gives up after 7 s in four tries; a registry's restart takes longer. Whatever waits here stops at once when
 * the signal aborts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '../core/context.js'
import { TransientRegistryError } from './errors.js'

/** How long to go on. Delays double from `firstDelayMs` up to `longestDelayMs`; their sum stays below `totalDelayMs`. */
export interface RetryPolicy {
  readonly tries: number
  readonly firstDelayMs: number
  readonly longestDelayMs: number
  readonly totalDelayMs: number
}

/** Eight tries in about a minute; a `Retry-After` may stretch them to three minutes. */
export const defaultRetryPolicy: RetryPolicy = { tries: 8, firstDelayMs: 500, longestDelayMs: 30_000, totalDelayMs: 180_000 }

/** Counts the failures of one piece of work. Made anew for each. */
export class Retries {
  readonly #policy: RetryPolicy
  readonly #ctx: Context
  #failures = 0
  #waitedMs = 0

  constructor(policy: RetryPolicy, ctx: Context) {
    this.#policy = policy
    this.#ctx = ctx
  }

  /** The last try got further than the one before, so the count starts anew. */
  progressed(): void {
    this.#failures = 0
    this.#waitedMs = 0
  }

  /** Waits before the next try; throws `error` when it will not pass or the policy is used up. */
  async pause(error: unknown): Promise<void> {
    const { signal, emit } = this.#ctx
    signal.throwIfAborted()
    if (!(error instanceof TransientRegistryError)) throw error
    this.#failures += 1
    const delayMs = Math.max(error.retryAfterMs ?? 0, jitteredDelay(this.#policy, this.#failures))
    if (this.#failures >= this.#policy.tries || this.#waitedMs + delayMs > this.#policy.totalDelayMs) throw error
    this.#waitedMs += delayMs
    emit({ type: 'debug', area: 'registry', message: `${error.message}; trying again in ${(delayMs / 1000).toFixed(1)} s` })
    await sleep(delayMs, undefined, { signal })
  }
}

/** Does `work`, and again after each `TransientRegistryError`, until the policy is used up: then that error is thrown. */
export async function retrying<T>(policy: RetryPolicy, ctx: Context, work: () => Promise<T>): Promise<T> {
  const retries = new Retries(policy, ctx)
  for (;;) {
    ctx.signal.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      await retries.pause(error)
    }
  }
}

/** Between half and the whole of the doubled delay, so that many clients do not come back at one moment. */
function jitteredDelay(policy: RetryPolicy, failures: number): number {
  const full = Math.min(policy.longestDelayMs, policy.firstDelayMs * 2 ** (failures - 1))
  return full * (0.5 + Math.random() / 2)
}
