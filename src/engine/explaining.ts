/**
 * The explanations of a build as the solver asks for them. What makes them (src/explain) is loaded with the first step that
 * is not found.
 */
import { basename } from 'node:path'
import { formatPlatform } from '../core/platform.js'
import type { EndedStep, Explanations } from '../explain/explainer.js'
import type { BuildPlan } from '../graph/op.js'
import type { Explainer, FoundStep } from '../solver/ports.js'
import type { BuildFiles } from './dockerfile.js'
import { type Engine, once } from './engine.js'
import type { BuildOptions } from './options.js'

/** An explainer, and what writes down how the steps ended. */
export interface Explaining extends Explainer {
  /** Nothing where no step had to be looked at. */
  save(): Promise<void>
}

/** Explains the steps of the plans of one Dockerfile, one for each platform. `keep` is false for a dry run. */
export function createExplaining(
  plans: readonly BuildPlan[],
  files: BuildFiles,
  options: BuildOptions,
  { store, settings }: Engine,
  keep = true,
): Explaining {
  const ended: EndedStep[] = []
  let found: readonly FoundStep[] = []
  const open = once(async (): Promise<Explanations[]> => {
    const { Explanations } = await import('../explain/explainer.js')
    const folder = store.directory('explain')
    const { noCache = false, verifyReproducible: verifies = false } = options
    const shared = { folder, noCache, verifies, now: settings.now, keep }
    return plans.map((plan) => new Explanations({ ...shared, plan, name: journalName(plan, files) }))
  })
  return {
    begin(steps) {
      found = [...found, ...steps]
    },
    async explain(step, ctx) {
      // Generators of attestations are no steps of the Dockerfile.
      const owner = (await open()).find((explanations) => explanations.has(step.vertex))
      return owner?.explain(step, ctx) ?? { kind: 'needed', text: 'something beside the Dockerfile needs it' }
    },
    succeeded: (step) => void ended.push({ step, succeeded: true }),
    failed: (step) => void ended.push({ step, succeeded: false }),
    async save() {
      if (ended.length > 0) for (const explanations of await open()) explanations.save(ended, found)
    },
  }
}

/** A check-out of the same project elsewhere has the same name, Dockerfile and stages. */
function journalName(plan: BuildPlan, { place, source }: BuildFiles): { readonly place: string; readonly kin: string } {
  const platform = formatPlatform(plan.image.platform)
  const stages = [...source.text.matchAll(/^\s*FROM\s.*$/gim)].map(([line]) => line.trim())
  return {
    place: [place, source.name, platform].join('\n'),
    kin: [basename(place), basename(source.name), platform, ...stages].join('\n'),
  }
}
