/** Which stages are needed: by base, by COPY --from, by mounts. */
import type { Dependency, FileSource } from './stages.js'

/** The part of a stage that says what it needs. */
export interface StageNeeds {
  readonly base: FileSource
  readonly dependencies: readonly Dependency[]
  /** Stages needed for other reasons. */
  readonly extra?: readonly number[]
}

/** The stages that `roots` need, themselves included, in order of the file. */
export function reachableStages(stages: readonly StageNeeds[], roots: readonly number[]): number[] {
  const seen = new Set<number>()
  const open = [...roots]
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    const stage = stages[index]
    if (stage === undefined || seen.has(index)) continue
    seen.add(index)
    open.push(...stageInputs(stage))
  }
  return [...seen].sort((a, b) => a - b)
}

function stageInputs({ base, dependencies, extra }: StageNeeds): number[] {
  const sources = [base, ...dependencies.map((dependency) => dependency.source)]
  return [...sources.flatMap((source) => (source.kind === 'stage' ? [source.index] : [])), ...(extra ?? [])]
}
