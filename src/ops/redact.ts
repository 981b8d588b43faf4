/**
 * Takes the values of secrets out of a stream of output, also where a value comes in several pieces.
 *
 * What could be the start of a value is held back until it is known; `end` lets go of it. Values of fewer than four bytes
 * stay: they would turn up everywhere. Of a value with several lines each long line is taken out by itself, too.
 */

/** A stream's filter. */
export interface Redactor {
  /** What of the output so far can be shown. */
  push(data: Uint8Array): Buffer
  /** The rest. */
  end(): Buffer
}

const shortestValue = 4
const shortestLine = 8
const mask = Buffer.from('***')
const nothing = Buffer.alloc(0)

/** What must not be shown, longest first: the values without white space around them, and their lines. */
export function redactions(values: readonly Uint8Array[]): readonly Buffer[] {
  const found = new Set<string>()
  for (const value of values) {
    const text = Buffer.from(value).toString('latin1').trim()
    if (text.length >= shortestValue) found.add(text)
    for (const line of text.split('\n').map((part) => part.trim())) {
      if (line.length >= shortestLine) found.add(line)
    }
  }
  return [...found].sort((a, b) => b.length - a.length).map((text) => Buffer.from(text, 'latin1'))
}

/** A filter for one stream. */
export function createRedactor(patterns: readonly Buffer[]): Redactor {
  if (patterns.length === 0) return { push: (data) => Buffer.from(data), end: () => nothing }
  let waiting: Buffer = nothing
  const take = (isEnd: boolean): Buffer => {
    const { shown, rest } = redact(waiting, patterns, isEnd)
    waiting = rest
    return shown
  }
  return {
    push(data) {
      waiting = Buffer.concat([waiting, data])
      return take(false)
    },
    end: () => take(true),
  }
}

function redact(data: Buffer, patterns: readonly Buffer[], isEnd: boolean): { shown: Buffer; rest: Buffer } {
  const out: Buffer[] = []
  const hold = isEnd ? data.length : heldFrom(data, patterns)
  let at = 0
  while (at < hold) {
    const match = firstMatch(data, at, patterns)
    if (match === undefined || match.start >= hold) break
    out.push(data.subarray(at, match.start), mask)
    at = match.start + match.length
  }
  // A match may reach over what would be held back: that is then said already.
  const end = Math.max(at, hold)
  out.push(data.subarray(at, end))
  return { shown: Buffer.concat(out), rest: data.subarray(end) }
}

/** Where the first value starts of which the data may have only the beginning. */
function heldFrom(data: Buffer, patterns: readonly Buffer[]): number {
  let from = data.length
  for (const pattern of patterns) {
    const first = pattern.subarray(0, 1)
    for (let at = Math.max(0, data.length - pattern.length + 1); at < from; at++) {
      at = data.indexOf(first, at)
      if (at < 0 || at >= from) break
      if (data.subarray(at).equals(pattern.subarray(0, data.length - at))) from = at
    }
  }
  return from
}

function firstMatch(data: Buffer, from: number, patterns: readonly Buffer[]): { start: number; length: number } | undefined {
  let found: { start: number; length: number } | undefined
  for (const pattern of patterns) {
    const start = data.indexOf(pattern, from)
    if (start >= 0 && (found === undefined || start < found.start)) found = { start, length: pattern.length }
  }
  return found
}
