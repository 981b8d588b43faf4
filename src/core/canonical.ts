/** Canonical JSON: the one text form of a value that is hashed. Keys sorted by UTF-16 units, no blanks, undefined left out. */

/** Values that have a canonical form. */
export type CanonicalValue =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly CanonicalValue[]
  | { readonly [key: string]: CanonicalValue }

/** The canonical text of `value`. Equal values give equal text on every machine. Throws for a number that JSON cannot hold. */
export function canonicalJson(value: CanonicalValue): string {
  if (value === undefined) return 'null'
  if (typeof value === 'number' && !Number.isFinite(value)) throw new Error(`no canonical form for ${value}`)
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const record = value as { readonly [key: string]: CanonicalValue }
  const members: string[] = []
  for (const key of Object.keys(record).sort()) {
    const member = record[key]
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${canonicalJson(member)}`)
  }
  return `{${members.join(',')}}`
}
