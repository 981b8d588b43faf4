/**
 * Physical lines → logical lines: continuations joined, comments between them dropped, here-document bodies left alone.
 *
 * The lexer works on one logical line at a time; `LogicalLine.span` leads from an offset in its joined text back to the
 * source. A continuation is the escape character and blanks at the end of a line, unless another escape character is
 * right before it (semantics.md 5). Leading blanks are dropped on the first line only (7).
 */
import type { Span } from '../src/core/span.js'
import { endWithoutBlanks, skipBlanks, trimBlanks } from './blank.js'

/** The longest physical line in bytes, without its line end (semantics.md 8). */
export const maxLineBytes = 65_535

/** One instruction's text on one line, and where each part of it stands in the source. */
export class LogicalLine {
  /** The joined text, without blanks at its ends. */
  readonly text: string
  /** From the first character of the instruction to the end of its last physical line. */
  readonly extent: Span
  /** The comment lines directly above, without `#`. */
  readonly comments: readonly string[]
  /** Blank lines inside a continued instruction. */
  readonly emptyLines: readonly Span[]
  readonly #pieces: readonly Piece[]

  constructor(text: string, extent: Span, pieces: readonly Piece[], comments: readonly string[], emptyLines: readonly Span[]) {
    this.text = text
    this.extent = extent
    this.comments = comments
    this.emptyLines = emptyLines
    this.#pieces = pieces
  }

  /** The place in the source of `[start, end)` of the joined text. */
  span(start: number, end: number): Span {
    const from = this.#sourceOffset(start)
    return { start: from, end: end > start ? this.#sourceOffset(end - 1) + 1 : from }
  }

  #sourceOffset(offset: number): number {
    let low = 0
    let high = this.#pieces.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#pieces[middle]?.joined ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    const piece = this.#pieces[low]
    return piece === undefined ? this.extent.start : piece.source + (offset - piece.joined)
  }
}

/** A run of joined text that is contiguous in the source. */
interface Piece {
  readonly joined: number
  readonly source: number
}

/** The body of a here-document: whole lines, the terminator left out. */
export interface HeredocBody {
  readonly content: Span
  /** The end of the terminator line, without its line end. */
  readonly end: number
  readonly terminated: boolean
}

/** Reads a source from top to bottom. */
export class LineReader {
  readonly #text: string
  readonly #escape: string
  readonly #commentsFrom: number
  #at: number

  /** @param commentsFrom comment lines before this offset are directives and are no one's comment */
  constructor(text: string, escapeChar: string, commentsFrom: number) {
    this.#text = text
    this.#escape = escapeChar
    this.#commentsFrom = commentsFrom
    this.#at = text.charCodeAt(0) === 0xfeff ? 1 : 0
  }

  /** The next instruction, or undefined at the end of the file. */
  next(): LogicalLine | undefined {
    let comments: string[] = []
    while (this.#at < this.#text.length) {
      const line = this.#readLine()
      const start = Math.min(skipBlanks(this.#text, line.start), line.end)
      if (start === line.end) comments = []
      else if (this.#text[start] === '#') {
        const comment = trimBlanks(this.#text.slice(start + 1, line.end))
        if (comment === '') comments = []
        else if (line.start >= this.#commentsFrom) comments.push(comment)
      } else return this.#readInstruction({ start, end: line.end }, comments)
    }
    return undefined
  }

  /** The body that starts at the current place; without a terminator it is the rest of the file. */
  readHeredoc(terminator: string, stripTabs: boolean): HeredocBody {
    const start = this.#at
    while (this.#at < this.#text.length) {
      const line = this.#readLine()
      let from = line.start
      if (stripTabs) while (this.#text[from] === '\t') from++
      if (line.end - from === terminator.length && this.#text.startsWith(terminator, from)) {
        return { content: { start, end: line.start }, end: line.end, terminated: true }
      }
    }
    return { content: { start, end: this.#at }, end: this.#at, terminated: false }
  }

  #readInstruction(first: Span, comments: readonly string[]): LogicalLine {
    const parts: string[] = []
    const pieces: Piece[] = []
    const emptyLines: Span[] = []
    let joined = 0
    let line = first
    for (;;) {
      const end = this.#endBeforeContinuation(line)
      pieces.push({ joined, source: line.start })
      parts.push(this.#text.slice(line.start, end ?? line.end))
      joined += (end ?? line.end) - line.start
      if (end === undefined) break
      const next = this.#readContinuation(emptyLines)
      if (next === undefined) break
      line = next
    }
    const whole = parts.join('')
    const text = whole.slice(0, endWithoutBlanks(whole))
    return new LogicalLine(text, { start: first.start, end: this.#lastLineEnd }, pieces, comments, emptyLines)
  }

  #readContinuation(emptyLines: Span[]): Span | undefined {
    while (this.#at < this.#text.length) {
      const line = this.#readLine()
      const start = skipBlanks(this.#text, line.start)
      if (start >= line.end) emptyLines.push(line)
      else if (this.#text[start] !== '#') return line
    }
    return undefined
  }

  /** Where the line's text ends if it is continued; undefined if it is not. */
  #endBeforeContinuation(line: Span): number | undefined {
    let at = line.end
    while (at > line.start && (this.#text[at - 1] === ' ' || this.#text[at - 1] === '\t')) at--
    at--
    if (at < line.start || this.#text[at] !== this.#escape) return undefined
    return at > line.start && this.#text[at - 1] === this.#escape ? undefined : at
  }

  #lastLineEnd = 0

  /** The next physical line without its line end (`\n` and any `\r` before it). */
  #readLine(): Span {
    const start = this.#at
    const newline = this.#text.indexOf('\n', start)
    let end = newline < 0 ? this.#text.length : newline
    this.#at = newline < 0 ? end : newline + 1
    while (end > start && this.#text[end - 1] === '\r') end--
    this.#lastLineEnd = end
    return { start, end }
  }
}

/** The physical lines that are longer than `maxLineBytes`. */
export function findLongLines(text: string): Span[] {
  const long: Span[] = []
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start)
    const end = newline < 0 ? text.length : newline
    // A UTF-16 unit is at most three bytes of UTF-8, so most lines need no counting.
    if ((end - start) * 3 > maxLineBytes && Buffer.byteLength(text.slice(start, end)) > maxLineBytes) long.push({ start, end })
    start = end + 1
  }
  return long
}
