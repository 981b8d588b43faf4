/**
 * The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*` is any text, `?` any one character, nothing else is special.
 *
 * A pattern is cut at its stars into segments. The shortest match takes each segment at its first place, the longest
 * takes the last segment at its last place: no backtracking.
 */

/** One element: a character, `?` or `*`. Escaped ones are characters. */
export type PatternToken = { readonly char: string } | 'any' | 'star'

/** Reads a pattern; undefined when a backslash stands before a character that needs none. */
export function parsePattern(text: string): readonly PatternToken[] | undefined {
  const tokens: PatternToken[] = []
  const chars = Array.from(text)
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? ''
    if (char === '*') tokens.push('star')
    else if (char === '?') tokens.push('any')
    else if (char !== '\\') tokens.push({ char })
    else {
      const escaped = chars[++at] ?? ''
      if (escaped === '' || !'*?\\/}'.includes(escaped)) return undefined
      tokens.push({ char: escaped })
    }
  }
  return tokens
}

/** The value without the shortest or longest start that matches. */
export function trimPrefix(value: string, pattern: readonly PatternToken[], longest: boolean): string {
  const chars = Array.from(value)
  const end = matchEnd(chars, segments(pattern), 0, longest)
  return end === undefined ? value : chars.slice(end).join('')
}

/** The value without the shortest or longest end that matches. */
export function trimSuffix(value: string, pattern: readonly PatternToken[], longest: boolean): string {
  const chars = Array.from(value).reverse()
  const end = matchEnd(chars, segments(pattern.toReversed()), 0, longest)
  return end === undefined ? value : chars.slice(end).reverse().join('')
}

/** The value with the first or all matches (leftmost, longest) replaced by the text as it is. */
export function replacePattern(value: string, pattern: readonly PatternToken[], replacement: string, all: boolean): string {
  const chars = Array.from(value)
  const parts = segments(pattern)
  const out: string[] = []
  let at = 0
  let matchedTo = -1
  while (at <= chars.length) {
    const match = findMatch(chars, parts, at)
    if (match === undefined) break
    out.push(chars.slice(at, match.start).join(''))
    // An empty match right after a match is none.
    if (match.end > match.start || match.start !== matchedTo) out.push(replacement)
    matchedTo = match.end
    at = match.end
    if (!all) break
    if (match.end === match.start) out.push(chars[at++] ?? '')
  }
  return out.join('') + chars.slice(at).join('')
}

type Segment = readonly ({ readonly char: string } | 'any')[]

function segments(pattern: readonly PatternToken[]): Segment[] {
  const parts: ({ readonly char: string } | 'any')[][] = [[]]
  for (const token of pattern) {
    if (token === 'star') parts.push([])
    else parts.at(-1)?.push(token)
  }
  return parts
}

/** Where a match that starts at `start` ends; undefined when there is none. */
function matchEnd(chars: readonly string[], parts: readonly Segment[], start: number, longest: boolean): number | undefined {
  const [first = [], ...rest] = parts
  if (!matchesAt(chars, first, start)) return undefined
  let end = start + first.length
  for (const [index, segment] of rest.entries()) {
    const place = longest && index === rest.length - 1 ? findLast(chars, segment, end) : findFirst(chars, segment, end)
    if (place === undefined) return undefined
    end = place + segment.length
  }
  return end
}

/** The leftmost, then longest match from `from` on. */
function findMatch(
  chars: readonly string[],
  parts: readonly Segment[],
  from: number,
): { readonly start: number; readonly end: number } | undefined {
  const start = findFirst(chars, parts[0] ?? [], from)
  if (start === undefined) return undefined
  // When the segments after the first star do not fit here, there is even less room further right.
  const end = matchEnd(chars, parts, start, true)
  return end === undefined ? undefined : { start, end }
}

function findFirst(chars: readonly string[], segment: Segment, from: number): number | undefined {
  for (let at = from; at + segment.length <= chars.length; at++) if (matchesAt(chars, segment, at)) return at
  return undefined
}

function findLast(chars: readonly string[], segment: Segment, from: number): number | undefined {
  for (let at = chars.length - segment.length; at >= from; at--) if (matchesAt(chars, segment, at)) return at
  return undefined
}

function matchesAt(chars: readonly string[], segment: Segment, at: number): boolean {
  if (at + segment.length > chars.length) return false
  for (let index = 0; index < segment.length; index++) {
    const token = segment[index]
    if (token !== undefined && token !== 'any' && token.char !== chars[at + index]) return false
  }
  return true
}
