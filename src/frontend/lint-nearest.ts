/** Which known name a wrong one probably means, by the measure that BuildKit's lint messages use: they are compared by tools. */

/** At more than this many changed letters two names have nothing to do with each other. */
const maxDistance = 2

/** The first option with the smallest edit distance (a swap counts as two); undefined when the name itself is an option. */
export function nearestOption(name: string, options: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = maxDistance + 1
  for (const option of options) {
    if (option === name) return undefined
    if (option === '' || Math.abs(option.length - name.length) >= bestDistance) continue
    const distance = editDistance(name, option)
    if (distance >= bestDistance) continue
    best = option
    bestDistance = distance
  }
  return best
}

function editDistance(from: string, to: string): number {
  let last = Array.from({ length: to.length + 1 }, (_, at) => at)
  for (let row = 1; row <= from.length; row++) {
    const next = [row]
    for (let column = 1; column <= to.length; column++) {
      const replaced = (last[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1)
      next.push(Math.min((last[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1, replaced))
    }
    last = next
  }
  return last[to.length] ?? 0
}
