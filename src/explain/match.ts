/**
 * Which step of an earlier build a step is: the same text in the same stage, else the same text in another stage (which was
 * renamed), else the most similar of the same keyword in the stage, else the one at the same position. Each earlier step is
 * one step of now at most. Pure.
 */
import type { StepPlace } from './state.js'

/** Steps less alike than this are different steps, unless one stands where the other stood. */
const leastSimilarity = 0.5

/** For each of `now` the index of the earlier step that it is. */
export function matchSteps(now: readonly StepPlace[], earlier: readonly StepPlace[]): ReadonlyMap<number, number> {
  const matches = new Map<number, number>()
  const taken = new Set<number>()
  const match = (score: (a: StepPlace, b: StepPlace) => number): void => {
    for (const [i, step] of now.entries()) {
      if (matches.has(i)) continue
      let best = -1
      let bestScore = 0
      for (const [j, other] of earlier.entries()) {
        const points = taken.has(j) ? 0 : score(step, other)
        if (points <= bestScore) continue
        best = j
        bestScore = points
      }
      if (best < 0) continue
      matches.set(i, best)
      taken.add(best)
    }
  }
  match((a, b) => (a.stage === b.stage && a.text === b.text ? 1 : 0))
  match((a, b) => (a.text === b.text ? 1 : 0))
  match((a, b) => (isSameKind(a, b) ? likeness(a.text, b.text) : 0))
  match((a, b) => (isSameKind(a, b) && a.position === b.position ? 1 : 0))
  return matches
}

function isSameKind(a: StepPlace, b: StepPlace): boolean {
  return a.stage === b.stage && a.keyword === b.keyword
}

/** How many of their pairs of letters two texts share: 1 for all (Dice's coefficient); 0 below what counts as alike. */
function likeness(a: string, b: string): number {
  const pairs = new Map<string, number>()
  for (const pair of pairsOf(a)) pairs.set(pair, (pairs.get(pair) ?? 0) + 1)
  let shared = 0
  for (const pair of pairsOf(b)) {
    const left = pairs.get(pair) ?? 0
    if (left > 0) shared++
    pairs.set(pair, left - 1)
  }
  const score = (2 * shared) / Math.max(1, a.length + b.length - 2)
  return score < leastSimilarity ? 0 : score
}

function* pairsOf(text: string): Generator<string> {
  for (let i = 0; i + 1 < text.length; i++) yield text.slice(i, i + 2)
}
