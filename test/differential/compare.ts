/** Builds a case with both builders, says how they differ, and makes a case smaller that still differs. */
import { join } from 'node:path'
import { type Builder, compareBuilt } from './built.js'
import { type Case, printCase, writeCase } from './case.js'

/** The two builders and where contexts are written. */
export interface Pair {
  readonly mille: Builder
  readonly peer: Builder
  readonly directory: string
}

/** What came out of a case. */
export interface Outcome {
  readonly differences: readonly string[]
  /** Why both refused it. */
  readonly refused: string | undefined
}

/** Builds a case with both. */
export async function tryCase(found: Case, { mille, peer, directory }: Pair, slot: string): Promise<Outcome> {
  const context = join(directory, `context-${slot}`)
  writeCase(found, context)
  const [first, second] = await Promise.all([peer(context, found), mille(context, found)])
  return {
    differences: compareBuilt(first, second),
    refused: 'refused' in first && 'refused' in second ? `${second.refused} | ${lastLine(first.refused)}` : undefined,
  }
}

/** Leaves out instructions and context entries for as long as the builders differ; `limit` bounds the builds. */
export async function shrinkCase(found: Case, pair: Pair, slot: string, limit = 30): Promise<Case> {
  let best = found
  let tries = 0
  const attempt = async (smaller: Case): Promise<boolean> => {
    if (tries++ >= limit) return false
    const { differences } = await tryCase(smaller, pair, slot)
    if (differences.length === 0) return false
    best = smaller
    return true
  }
  for (let at = best.instructions.length - 1; at >= 0; at--) {
    await attempt({ ...best, instructions: best.instructions.filter((_, index) => index !== at) })
  }
  for (let at = best.context.length - 1; at >= 0; at--) {
    const path = best.context[at]?.path
    await attempt({ ...best, context: best.context.filter((entry) => entry.path !== path && !entry.path.startsWith(`${path}/`)) })
  }
  return best
}

/** The report of a case that differs: `-` is the peer, `+` mille. */
export async function explain(found: Case, pair: Pair, slot: string): Promise<string> {
  const smaller = await shrinkCase(found, pair, slot)
  const { differences } = await tryCase(smaller, pair, slot)
  return `${printCase(smaller)}difference (- docker, + mille):\n${differences.map((line) => `  ${line}`).join('\n')}\n`
}

function lastLine(text: string): string {
  return text.split('\n').at(-1) ?? ''
}
