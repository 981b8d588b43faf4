/** Places in text files: byte-exact inside JavaScript strings, shown as 1-based lines and columns. */

/** A text that was read: a Dockerfile, an ignore file. `name` is the path as the user wrote it. */
export interface SourceFile {
  readonly name: string
  readonly text: string
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
