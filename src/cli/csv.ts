/** The comma-separated `key=value` lists of `--output`, `--mount`, `--secret`: one CSV record, fields may be quoted. */
import { UsageError } from '../core/errors.js'
import { didYouMean } from '../core/suggest.js'

/** Splits one CSV record. @throws UsageError for a quote that is not closed */
export function splitCsv(text: string, flag: string): string[] {
  const fields: string[] = []
  let at = 0
  for (;;) {
    const quoted = text[at] === '"' ? readQuoted(text, at, flag) : undefined
    const end = quoted?.end ?? endOfField(text, at)
    fields.push(quoted?.value ?? text.slice(at, end))
    if (end >= text.length) return fields
    at = end + 1
  }
}

function endOfField(text: string, at: number): number {
  const comma = text.indexOf(',', at)
  return comma < 0 ? text.length : comma
}

function readQuoted(text: string, at: number, flag: string): { readonly value: string; readonly end: number } {
  const match = /"((?:[^"]|"")*)"/y
  match.lastIndex = at
  const found = match.exec(text)
  const end = match.lastIndex
  if (found === null || (end < text.length && text[end] !== ',')) {
    throw new UsageError('USAGE_BAD_FLAG', `${flag} ${text} has a quote that is not closed`)
  }
  return { value: (found[1] ?? '').replaceAll('""', '"'), end }
}

/** What a list may have: each known key, with its other spellings. */
export type KnownKeys = Readonly<Record<string, readonly string[]>>

/**
 * Reads `key=value,key,…`. A key without a value is `true`; the last of a repeated key wins.
 *
 * @param shown `text` as errors may have it: without secrets
 * @throws UsageError USAGE_BAD_FLAG for a key that is not known
 */
export function readFields(text: string, flag: string, known: KnownKeys, shown = text): Map<string, string> {
  const names = new Map(Object.entries(known).flatMap(([name, others]) => [name, ...others].map((key) => [key, name] as const)))
  const fields = new Map<string, string>()
  for (const field of splitCsv(text, flag)) {
    const at = field.indexOf('=')
    const key = (at < 0 ? field : field.slice(0, at)).trim().toLowerCase()
    const name = names.get(key)
    if (name === undefined) {
      throw new UsageError('USAGE_BAD_FLAG', `${flag} ${shown} has the unknown key "${key}"`, {
        hint: didYouMean(key, names.keys()) ?? `known are ${Object.keys(known).join(', ')}`,
      })
    }
    fields.set(name, at < 0 ? 'true' : field.slice(at + 1))
  }
  return fields
}

/** Reads the truth value of a field. */
export function isTrueField(value: string | undefined, flag: string): boolean {
  if (value === undefined || /^(0|f|false)$/i.test(value)) return false
  if (/^(1|t|true)$/i.test(value)) return true
  throw new UsageError('USAGE_BAD_FLAG', `${flag} has "${value}" where true or false is expected`)
}

/** Reads `NAME=value` words; a word without `=` takes its value from the environment and is left out when that has none. */
export function readAssignments(
  words: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  flag: string,
): Record<string, string> {
  const out: Record<string, string> = {}
  for (const word of words) {
    const at = word.indexOf('=')
    const name = at < 0 ? word : word.slice(0, at)
    if (name === '') throw new UsageError('USAGE_BAD_FLAG', `${flag} "${word}" has no name before the =`)
    const value = at < 0 ? env[name] : word.slice(at + 1)
    if (value !== undefined) out[name] = value
  }
  return out
}
