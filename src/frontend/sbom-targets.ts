/**
 * What an SBOM lists besides the image: stages and the context, for which the Dockerfile asks with
 * `ARG BUILDKIT_SBOM_SCAN_STAGE` and `ARG BUILDKIT_SBOM_SCAN_CONTEXT` (a truth value, or names of stages).
 */
import type { PlannedScan } from '../graph/op.js'
import type { PlanBuilder } from './plan-builder.js'
import type { Resolved } from './resolve.js'
import type { StageState } from './stage-state.js'
import type { Stage } from './stages.js'

/** The further scans, the context first. Stages that the target does not need are none. */
export function sbomTargets(resolved: Resolved, finished: ReadonlyMap<number, StageState>, plan: PlanBuilder): PlannedScan[] {
  const { analysis, reachable, stages } = resolved
  const target = stages[analysis.target ?? stages.length - 1]
  if (target === undefined) return []
  const asks = (name: string, stage: Stage): boolean => isOn(valueFor(name, stage, resolved, finished), stage)
  const context = { name: 'context', vertex: plan.addContext('context', analysis.options.ignore) }
  return [
    ...(asks('BUILDKIT_SBOM_SCAN_CONTEXT', target) ? [context] : []),
    ...reachable.flatMap((index): PlannedScan[] => {
      const stage = stages[index]
      if (stage === undefined || stage === target || !asks('BUILDKIT_SBOM_SCAN_STAGE', stage)) return []
      return [{ name: stage.name ?? `stage-${index}`, vertex: finished.get(index)?.rootfs }]
    }),
  ]
}

/** The stage's own ARG, else the global one: a `--build-arg` has had its say in both. */
function valueFor(name: string, stage: Stage, resolved: Resolved, finished: ReadonlyMap<number, StageState>): string {
  const isOwn = stage.steps.some(
    ({ instruction }) => instruction.kind === 'arg' && instruction.pairs.some(({ key }) => key.text === name),
  )
  const own = isOwn ? finished.get(stage.index)?.args.findLast(([each]) => each === name)?.[1] : undefined
  return own ?? resolved.analysis.globals.get(name) ?? ''
}

function isOn(value: string, { name, index }: Stage): boolean {
  if (/^(1|t|true)$/i.test(value)) return true
  if (/^(0|f|false)?$/i.test(value)) return false
  return value.split(',').some((each) => each.trim().toLowerCase() === name || each.trim() === String(index))
}
