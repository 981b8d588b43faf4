/** How much room text takes on a terminal, and text made safe to print there. Measures cells, not UTF-16 units. */

const narrow = /^[\x20-\x7e]*$/
const zeroWidth = /^[\p{Mn}\p{Me}\p{Cf}\p{Cc}]$/u
const doubleWidth =
  /^(?:\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}])$/u
const escapeSequence = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g
const control = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/g

/** The number of terminal cells that `text` fills; it must be one line without escape sequences. */
export function displayWidth(text: string): number {
  if (narrow.test(text)) return text.length
  let width = 0
  for (const character of text) width += cellsOf(character)
  return width
}

function cellsOf(character: string): number {
  if (zeroWidth.test(character)) return 0
  return doubleWidth.test(character) ? 2 : 1
}

/** The start of `text` that fits into `cells`, with `…` in the last cell when something was cut off. */
export function truncateToWidth(text: string, cells: number): string {
  if (displayWidth(text) <= cells) return text
  if (cells <= 0) return ''
  let width = 0
  let out = ''
  for (const character of text) {
    width += cellsOf(character)
    if (width > cells - 1) break
    out += character
  }
  return `${out}…`
}

/** A line without escape sequences and control characters (a tab stays): nothing in it moves the cursor. */
export function printableLine(text: string): string {
  return text.replace(escapeSequence, '').replace(control, '')
}
