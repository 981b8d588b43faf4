/**
 * Ignore files: `.dockerignore` and the patterns of `COPY --exclude`.
 *
 * The last pattern that matches a path or one of its parents decides; `!` includes again. Patterns are Go's
 * `filepath.Match` with `**` for any number of folders. Semantics: moby/patternmatcher, whose conformance cases are
 * in the vector suite `dockerignore`. A tree is walked from the top, so the number of the last pattern that matched is
 * handed from a directory to its children, and each path is compared only with the patterns after that.
 */
import { posix } from 'node:path'
import { BuildError } from '../core/errors.js'
import { canMatchAfter, codePoints, type GlobElement, matchGlob, parseGlob, parseGlobElement } from '../core/glob.js'

/** Number of the last pattern that matches a path or a parent of it; -1 for none. */
export type IgnoreState = number

/** Compiled ignore patterns. Paths are relative to the root, without `/` at either end. */
export interface IgnoreMatcher {
  /** True when there is no pattern at all. */
  readonly isEmpty: boolean
  /** The state of a path, given its parent's (-1 for what lies in the root). */
  enter(path: string, parent: IgnoreState): IgnoreState
  /** True when a path in this state is left out. */
  isExcluded(state: IgnoreState): boolean
  /** True when nothing below the excluded directory `path` can be included again. */
  canPruneAt(path: string, state: IgnoreState): boolean
  /** True when some pattern may match something below the directory `path`. */
  canMatchBelow(path: string): boolean
  /** `enter` and `isExcluded` from the root on, for a single path. */
  excludes(path: string): boolean
  /** `canPruneAt` for a single path. False for a directory that is not excluded. */
  canPrune(path: string): boolean
}

interface Pattern {
  readonly negated: boolean
  matches(path: string): boolean
  canMatchBelow(directory: string): boolean
}

/** The patterns of an ignore file: comments and blank lines dropped, paths cleaned, a leading `/` removed. */
export function readIgnoreFile(text: string): string[] {
  const patterns: string[] = []
  for (const line of text.replace(/^\uFEFF/, '').split('\n')) {
    if (line.startsWith('#')) continue
    const trimmed = line.trim()
    if (trimmed === '') continue
    const negated = trimmed.startsWith('!')
    const path = negated ? trimmed.slice(1).trim() : trimmed
    patterns.push(`${negated ? '!' : ''}${path === '' ? '' : withoutRoot(cleanPath(path))}`)
  }
  return patterns
}

function withoutRoot(path: string): string {
  return path.length > 1 && path.startsWith('/') ? path.slice(1) : path
}

/** Go's `filepath.Clean`. */
function cleanPath(path: string): string {
  const normal = posix.normalize(path)
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal
}

/**
 * Prepares patterns for matching. Blank ones are skipped.
 *
 * @throws BuildError CONTEXT_BAD_IGNORE_PATTERN naming the pattern
 */
export function compileIgnore(patterns: readonly string[]): IgnoreMatcher {
  const compiled = patterns.map((text) => text.trim()).flatMap((text) => (text === '' ? [] : [compilePattern(text)]))
  const enter = (path: string, parent: IgnoreState): IgnoreState => {
    for (let i = compiled.length - 1; i > parent; i--) if (compiled[i]?.matches(path)) return i
    return parent
  }
  const isExcluded = (state: IgnoreState): boolean => state >= 0 && compiled[state]?.negated === false
  const canPruneAt = (path: string, state: IgnoreState): boolean => {
    for (let i = compiled.length - 1; i > state; i--) {
      const pattern = compiled[i]
      if (pattern?.negated && pattern.canMatchBelow(path)) return false
    }
    return true
  }
  const stateOf = (path: string): IgnoreState => {
    let state = -1
    for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) state = enter(path.slice(0, at), state)
    return path === '.' || path === '' ? -1 : enter(path, state)
  }
  return {
    isEmpty: compiled.length === 0,
    enter,
    isExcluded,
    canPruneAt,
    canMatchBelow: (path) => compiled.some((pattern) => pattern.canMatchBelow(path)),
    excludes: (path) => isExcluded(stateOf(path)),
    canPrune(path) {
      const state = stateOf(path)
      return isExcluded(state) && canPruneAt(path, state)
    },
  }
}

function compilePattern(text: string): Pattern {
  const cleaned = cleanPath(text)
  const negated = cleaned.startsWith('!')
  const pattern = negated ? cleaned.slice(1) : cleaned
  if (pattern === '') throw badPattern(text, 'it is a lone "!"')
  if (parseGlob(pattern) === undefined) throw badPattern(text, 'its syntax is wrong')
  return { negated, ...matcherOf(pattern) }
}

function badPattern(text: string, why: string): BuildError {
  return new BuildError('CONTEXT_BAD_IGNORE_PATTERN', `ignore pattern "${text}" cannot be used: ${why}`, {
    hint: 'write "[" and "\\" as "\\[" and "\\\\" where they stand for themselves',
  })
}

/** The four shapes of patterns, the common ones without any interpretation. */
function matcherOf(pattern: string): Omit<Pattern, 'negated'> {
  const wildcard = /[*?[\\]/
  if (!wildcard.test(pattern)) {
    return { matches: (path) => path === pattern, canMatchBelow: (dir) => pattern.startsWith(`${dir}/`) }
  }
  const head = pattern.slice(0, -2)
  if (pattern.endsWith('**') && !wildcard.test(head) && head !== '') {
    return {
      matches: (path) => path.startsWith(head),
      canMatchBelow: (dir) => head.startsWith(`${dir}/`) || `${dir}/`.startsWith(head),
    }
  }
  const tail = pattern.startsWith('**') ? pattern.slice(2) : undefined
  if (tail !== undefined && !wildcard.test(tail)) {
    const name = tail.startsWith('/') ? tail.slice(1) : undefined
    return { matches: (path) => path.endsWith(tail) || path === name, canMatchBelow: () => true }
  }
  return generalMatcher(pattern)
}

/** Literal text at both ends is compared first: it rejects nearly every path. */
function generalMatcher(pattern: string): Omit<Pattern, 'negated'> {
  const elements = parseElements(pattern)
  const start = literal(elements)
  const end = literal([...elements].reverse(), true)
  return {
    matches: (path) => path.startsWith(start) && path.endsWith(end) && matchGlob(elements, path),
    canMatchBelow: (dir) => canMatchAfter(elements, `${dir}/`),
  }
}

function literal(elements: readonly GlobElement[], reversed = false): string {
  const chars: string[] = []
  for (const element of elements) {
    if (element.kind !== 'char') break
    chars.push(String.fromCodePoint(element.char))
  }
  return (reversed ? chars.reverse() : chars).join('')
}

function parseElements(pattern: string): GlobElement[] {
  const chars = codePoints(pattern)
  const elements: GlobElement[] = []
  for (let i = 0; i < chars.length; ) {
    if (chars[i] === 0x2a && chars[i + 1] === 0x2a) {
      i += chars[i + 2] === 0x2f ? 3 : 2
      elements.push({ kind: i >= chars.length ? 'any' : 'folders' })
      continue
    }
    const parsed = parseGlobElement(chars, i)
    if (parsed === undefined) throw badPattern(pattern, 'its syntax is wrong')
    elements.push(parsed.element)
    i = parsed.next
  }
  return elements
}
