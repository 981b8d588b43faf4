/**
 * Runs a step unless another process runs it: then waits for that one's result, and takes over when there is none.
 *
 * A claim is taken when the step has its place in the schedule, and given back when its records are saved. Who waits has no
 * place, so that other steps go on. A step that is to run whatever others have done (`--no-cache`) does not wait; where it can
 * it lets others wait for it.
 */
import type { Digest } from '../core/digest.js'
import type { Vertex } from '../graph/op.js'
import type { Claim, WorkEnd } from '../store/claims.js'
import type { StepClaims } from './ports.js'
import type { Report } from './report.js'
import type { Schedule } from './schedule.js'

/** A step whose inputs are here. */
export interface ClaimedStep<Outcome> {
  readonly vertex: Vertex
  /** Two steps with the same key have the same result. */
  readonly key: Digest
  /** Looks whether it has a result by now, and takes that. */
  find(): Outcome | undefined
  /** Runs it and saves its result. */
  run(): Promise<Outcome>
}

/** Where claimed steps run. */
export interface ClaimedWorld {
  readonly claims: StepClaims | undefined
  readonly schedule: Schedule
  readonly report: Report
  readonly signal: AbortSignal
}

type OthersClaim = Extract<Claim, { isOurs: false }>
type Attempt<Outcome> = { readonly outcome: Outcome } | { readonly busy: OthersClaim }

/** The result of a step, from here or from another process. */
export async function runClaimed<Outcome>(step: ClaimedStep<Outcome>, world: ClaimedWorld): Promise<Outcome> {
  const { schedule, report, signal } = world
  const { vertex } = step
  for (let isPatient = !vertex.ignoreCache; ; ) {
    const attempt = await schedule.run(() => tryStep(step, isPatient, world), signal)
    if ('outcome' in attempt) return attempt.outcome
    const { busy } = attempt
    report.waiting(vertex, busy.process)
    const end = await busy.ended(signal, (process) => report.waiting(vertex, process))
    report.waited(vertex)
    const found = step.find()
    if (found !== undefined) return found
    // What failed there most likely fails here: several that wait then try at once, not one after the other.
    isPatient = end !== 'failed'
  }
}

async function tryStep<Outcome>(
  step: ClaimedStep<Outcome>,
  isPatient: boolean,
  { claims, signal }: ClaimedWorld,
): Promise<Attempt<Outcome>> {
  const claim = claims?.take(step.key)
  if (claim !== undefined && !claim.isOurs) {
    if (isPatient) return { busy: claim }
    claim.forgo()
    return { outcome: await step.run() }
  }
  let end: WorkEnd | undefined
  try {
    // Another process may have finished it between our last look and our claim.
    const found = claim === undefined || step.vertex.ignoreCache ? undefined : step.find()
    const outcome = found ?? (await step.run())
    end = 'done'
    return { outcome }
  } finally {
    claim?.release(end ?? (signal.aborted ? 'gone' : 'failed'))
  }
}
