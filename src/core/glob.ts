/**
 * Shell-like patterns over paths: the syntax of Go's `path/filepath.Match` and a matcher whose cost is at most
 * pattern length × text length, whatever the pattern (no regular expressions, no backtracking).
 *
 * COPY sources use the syntax as it is; ignore files build on the same elements and add `**` (frontend/dockerignore.ts).
 */

/** One element of a pattern. `loop` and `option` are only made for `**`. */
export type GlobElement =
  | { readonly kind: 'char'; readonly char: number }
  /** `?`: one character that is not `/`. */
  | { readonly kind: 'one' }
  /** `*`: any run of characters that are not `/`. */
  | { readonly kind: 'star' }
  | { readonly kind: 'class'; readonly negated: boolean; readonly ranges: readonly (readonly [number, number])[] }
  /** Any run of characters, `/` too, to the end or to what follows. */
  | { readonly kind: 'any' }
  /** Nothing, or any run of characters that ends in `/`. */
  | { readonly kind: 'folders' }

const slash = 0x2f
const backslash = 0x5c

/** The elements of a Go `filepath.Match` pattern, or undefined when its syntax is wrong. */
export function parseGlob(pattern: string): GlobElement[] | undefined {
  const chars = codePoints(pattern)
  const elements: GlobElement[] = []
  for (let i = 0; i < chars.length; ) {
    const parsed = parseGlobElement(chars, i)
    if (parsed === undefined) return undefined
    elements.push(parsed.element)
    i = parsed.next
  }
  return elements
}

/** The element at `at`, or undefined for a syntax error. `*` is one element each time it is written. */
export function parseGlobElement(
  chars: readonly number[],
  at: number,
): { readonly element: GlobElement; readonly next: number } | undefined {
  const char = chars[at] ?? 0
  switch (char) {
    case 0x2a:
      return { element: { kind: 'star' }, next: at + 1 }
    case 0x3f:
      return { element: { kind: 'one' }, next: at + 1 }
    case 0x5b:
      return parseClass(chars, at + 1)
    case backslash: {
      const escaped = chars[at + 1]
      return escaped === undefined ? undefined : { element: { kind: 'char', char: escaped }, next: at + 2 }
    }
    default:
      return { element: { kind: 'char', char }, next: at + 1 }
  }
}

function parseClass(chars: readonly number[], start: number): { element: GlobElement; next: number } | undefined {
  let at = start
  const negated = chars[at] === 0x5e
  if (negated) at++
  const ranges: [number, number][] = []
  while (chars[at] !== 0x5d || ranges.length === 0) {
    const low = classChar(chars, at)
    if (low === undefined) return undefined
    let high = low
    at = low.next
    if (chars[at] === 0x2d) {
      const end = classChar(chars, at + 1)
      if (end === undefined) return undefined
      high = end
      at = end.next
    }
    ranges.push([low.char, high.char])
  }
  return { element: { kind: 'class', negated, ranges }, next: at + 1 }
}

/** One character of a class: `-` and `]` must be escaped, and the class may not end here. */
function classChar(chars: readonly number[], start: number): { char: number; next: number } | undefined {
  const first = chars[start]
  if (first === undefined || first === 0x2d || first === 0x5d) return undefined
  const at = first === backslash ? start + 1 : start
  const char = chars[at]
  if (char === undefined || at + 1 >= chars.length) return undefined
  return { char, next: at + 1 }
}

/** True when the elements match all of `text`. */
export function matchGlob(elements: readonly GlobElement[], text: string): boolean {
  return run(elements, text)[elements.length * 2] === 1
}

/** True when some text that begins with `start` would match. */
export function canMatchAfter(elements: readonly GlobElement[], start: string): boolean {
  return run(elements, start).includes(1)
}

/** True when a name has wildcards that are not escaped. */
export function hasWildcard(pattern: string): boolean {
  return /(?:^|[^\\])(?:\\\\)*[*?[]/.test(pattern)
}

/** The characters of a text; a lone surrogate (a byte that is not UTF-8) is one. */
export function codePoints(text: string): number[] {
  return Array.from(text, (char) => char.codePointAt(0) ?? 0)
}

/**
 * Follows all ways through the elements at once. State `2i` is "before element i", `2i + 1` "inside the folders of
 * element i". Returns the states that are alive after the text; `2 × length` is the accepting one.
 */
function run(elements: readonly GlobElement[], text: string): Uint8Array {
  let states = new Uint8Array(elements.length * 2 + 1)
  let next = new Uint8Array(elements.length * 2 + 1)
  states[0] = 1
  skipEmpty(elements, states)
  for (const char of codePoints(text)) {
    next.fill(0)
    for (let i = 0; i < elements.length; i++) {
      const element = elements[i]
      if (element === undefined || (states[2 * i] === 0 && states[2 * i + 1] === 0)) continue
      step(element, i, char, next)
    }
    skipEmpty(elements, next)
    const swap = states
    states = next
    next = swap
  }
  return states
}

function step(element: GlobElement, i: number, char: number, next: Uint8Array): void {
  switch (element.kind) {
    case 'star':
      if (char !== slash) next[2 * i] = 1
      return
    case 'any':
      next[2 * i] = 1
      return
    case 'folders':
      next[2 * i + 1] = 1
      if (char === slash) next[2 * i + 2] = 1
      return
    default:
      if (matchesOne(element, char)) next[2 * i + 2] = 1
  }
}

function matchesOne(element: GlobElement, char: number): boolean {
  if (element.kind === 'char') return element.char === char
  if (element.kind === 'one') return char !== slash
  if (element.kind !== 'class') return false
  return element.ranges.some(([low, high]) => low <= char && char <= high) !== element.negated
}

/** `*`, `**` and folders may be empty: what comes after them is reached without a character. */
function skipEmpty(elements: readonly GlobElement[], states: Uint8Array): void {
  for (let i = 0; i < elements.length; i++) {
    const kind = elements[i]?.kind
    if (states[2 * i] === 1 && (kind === 'star' || kind === 'any' || kind === 'folders')) states[2 * i + 2] = 1
  }
}
