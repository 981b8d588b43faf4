/** The comma-separated `key=value` fields of `RUN --mount`: one CSV record, as BuildKit reads it. */

/** One field. `value` is undefined for a bare `ro`. */
export interface MountField {
  readonly key: string
  readonly value: string | undefined
}

/** The fields in order, keys in lower case; undefined when a quote is left open. */
export function splitMountFields(text: string): readonly MountField[] | undefined {
  const cells = splitCsv(text)
  return cells?.map((cell) => {
    const at = cell.indexOf('=')
    return at < 0
      ? { key: cell.trim().toLowerCase(), value: undefined }
      : { key: cell.slice(0, at).trim().toLowerCase(), value: cell.slice(at + 1) }
  })
}

/** The cells of one CSV record. A cell that starts with `"` ends at the next lone `"`; `""` inside is one quote. */
function splitCsv(text: string): string[] | undefined {
  const cells: string[] = []
  for (let at = 0; ; ) {
    const quoted = text[at] === '"'
    const match = quoted ? /"((?:[^"]|"")*)"(?=,|$)/y : /[^,]*/y
    match.lastIndex = at
    const found = match.exec(text)
    if (found === null) return undefined
    cells.push(quoted ? (found[1] ?? '').replaceAll('""', '"') : found[0])
    at = match.lastIndex
    if (at >= text.length) return cells
    at++
  }
}
