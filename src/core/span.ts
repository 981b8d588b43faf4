/** Places in text files: byte-exact inside JavaScript strings, shown as 1-based lines and columns. */

/** A text that was read: a Dockerfile, an ignore file. `name` is the path as the user wrote it. */
export interface SourceFile {
  readonly name: string
  readonly text: string
  /** Set for a text that was put together of others (INCLUDE): in order, without gaps. */
  readonly parts?: readonly SourcePart[]
}

/** Where a part of a text that was put together comes from: `[start, end)` of it is `source` from `offset` on. */
export interface SourcePart {
  readonly start: number
  readonly end: number
  readonly source: SourceFile
  readonly offset: number
}

/** The file and the place in it that a place in a text stands for. */
export function originOf(source: SourceFile, span: Span): { readonly source: SourceFile; readonly span: Span } {
  const part = source.parts?.findLast(({ start }) => start <= span.start)
  if (part === undefined) return { source, span }
  const shift = part.offset - part.start
  const end = Math.min(span.end, part.end)
  return { source: part.source, span: { start: span.start + shift, end: Math.max(span.start, end) + shift } }
}

/** A half-open range `[start, end)` of UTF-16 offsets into `SourceFile.text`. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** 1-based line and column (in UTF-16 units). */
export interface Position {
  readonly line: number
  readonly column: number
}

/** The position of an offset; offsets past the end give the end. */
export function positionAt(text: string, offset: number): Position {
  const stop = Math.min(offset, text.length)
  let line = 1
  let lineStart = 0
  for (let at = text.indexOf('\n'); at >= 0 && at < stop; at = text.indexOf('\n', at + 1)) {
    line++
    lineStart = at + 1
  }
  return { line, column: stop - lineStart + 1 }
}

/** The text of a 1-based line without its line end, or an empty text when there is no such line. */
export function lineAt(text: string, line: number): string {
  let start = 0
  for (let n = 1; n < line; n++) {
    const at = text.indexOf('\n', start)
    if (at < 0) return ''
    start = at + 1
  }
  const end = text.indexOf('\n', start)
  return text.slice(start, end < 0 ? text.length : end).replace(/\r$/, '')
}
