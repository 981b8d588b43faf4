/** What counts as blank in a Dockerfile: Unicode White_Space, as Go's `unicode.IsSpace` has it (JavaScript's `\s` differs). */

const other = /[\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/

/** True for a blank character. */
export function isBlank(char: string): boolean {
  const code = char.charCodeAt(0)
  if (code < 128) return code === 32 || (code >= 9 && code <= 13)
  return other.test(char)
}

/** The first offset from `at` on that is not blank, or the end of the text. */
export function skipBlanks(text: string, at: number): number {
  let next = at
  while (next < text.length && isBlank(text.charAt(next))) next++
  return next
}

/** The end of the text without the blanks before it, never less than `from`. */
export function endWithoutBlanks(text: string, from = 0): number {
  let end = text.length
  while (end > from && isBlank(text.charAt(end - 1))) end--
  return end
}

/** The text without blanks at both ends. */
export function trimBlanks(text: string): string {
  const start = skipBlanks(text, 0)
  return text.slice(start, endWithoutBlanks(text, start))
}
