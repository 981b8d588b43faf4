/** "Did you mean": the nearest known word, or none when nothing is near. */

/** Fewer letters begin too many words by accident. */
const shortestBeginning = 3

/**
 * The candidate with the smallest edit distance to `word` (at most a third of its length, at least 1, case ignored); where
 * none is that near, the only one that begins with the word.
 */
export function nearestWord(word: string, candidates: Iterable<string>): string | undefined {
  const known = [...candidates]
  const lower = word.toLowerCase()
  const limit = Math.max(1, Math.min(3, Math.floor(lower.length / 3)))
  let best: string | undefined
  let bestDistance = limit + 1
  for (const candidate of known) {
    const distance = editDistance(lower, candidate.toLowerCase(), bestDistance)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  if (best !== undefined || lower.length < shortestBeginning) return best
  const longer = known.filter((candidate) => candidate.toLowerCase().startsWith(lower))
  return longer.length === 1 ? longer[0] : undefined
}

/** `did you mean X?`, or undefined when nothing is near. */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const nearest = nearestWord(word, candidates)
  return nearest === undefined ? undefined : `did you mean ${nearest}?`
}

/** Optimal string alignment distance (insert, delete, replace, swap), cut off at `stop`. */
function editDistance(a: string, b: string, stop: number): number {
  if (Math.abs(a.length - b.length) >= stop) return stop
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let value = Math.min((row[j - 1] ?? 0) + 1, (last[j] ?? 0) + 1, (last[j - 1] ?? 0) + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) value = Math.min(value, (beforeLast[j - 2] ?? 0) + 1)
      row.push(value)
    }
    beforeLast = last
    last = row
  }
  return last[b.length] ?? stop
}
