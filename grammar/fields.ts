/** Comma-separated `key=value` values of flags such as `--mount` and `--device`, with CSV quotes. */

/** The fields of one line of CSV, or undefined when its quotes do not match. */
export function splitFields(text: string): readonly string[] | undefined {
  const fields: string[] = []
  for (let at = 0; ; at++) {
    const field = text[at] === '"' ? quotedField(text, at) : plainField(text, at)
    if (field === undefined) return undefined
    fields.push(field.value)
    at = field.end
    if (at >= text.length) return fields
  }
}

interface Field {
  readonly value: string
  readonly end: number
}

function plainField(text: string, start: number): Field | undefined {
  const comma = text.indexOf(',', start)
  const end = comma < 0 ? text.length : comma
  const value = text.slice(start, end)
  return value.includes('"') ? undefined : { value, end }
}

/** A doubled quote is a quote; after the closing one comes a comma or the end. */
function quotedField(text: string, start: number): Field | undefined {
  const match = /"((?:[^"]|"")*)"(?=,|$)/y
  match.lastIndex = start
  const value = match.exec(text)?.[1]
  return value === undefined ? undefined : { value: value.replaceAll('""', '"'), end: match.lastIndex }
}
