/** The functions of `--format` templates, and how Go prints the values that they get. */
import { UsageError } from '../core/errors.js'
import { goDuration } from '../frontend/go-text.js'

/** A function of a template. */
export type TemplateFunction = (args: readonly unknown[]) => unknown

/** A length of time: Go prints it as `1m30s`, and writes its nanoseconds as JSON. */
export class Duration {
  readonly #nanoseconds: number

  constructor(nanoseconds: number) {
    this.#nanoseconds = nanoseconds
  }

  toString(): string {
    return goDuration(this.#nanoseconds)
  }

  toJSON(): number {
    return this.#nanoseconds
  }
}

/** A value as it is compared and calculated with. */
function plain(value: unknown): unknown {
  return value instanceof Duration ? value.toJSON() : value
}

/** What is wrong with a template. */
export function bad(what: string): UsageError {
  return new UsageError('USAGE_BAD_FLAG', `the template of --format ${what}`, {
    hint: 'for example --format "{{.ID}} {{json .Labels}}"',
  })
}

/** The items of a list with their numbers, of a map with their names in order. */
export function entriesOf(value: unknown): readonly (readonly [key: unknown, item: unknown])[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value.map((item: unknown, index) => [index, item])
  if (typeof value === 'object') return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  throw bad(`ranges over "${printed(value)}", which is no list`)
}

/** What `if` takes for true. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (value instanceof Duration) return value.toJSON() !== 0
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0
  return Boolean(value)
}

/** As Go prints values: lists as `[a b]`, maps as `map[k:v]`; in a map that is only a set (ports, volumes) each item is `{}`. */
export function printed(value: unknown): string {
  if (value === undefined || value === null) return '<no value>'
  if (Array.isArray(value)) return `[${value.map(printed).join(' ')}]`
  if (typeof value !== 'object' || value instanceof Duration) return String(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `map[${entries.map(([key, item]) => `${key}:${isEmptyObject(item) ? '{}' : printed(item)}`).join(' ')}]`
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : printed(value)
}

function isLess(one: unknown, other: unknown): boolean {
  const [first, second] = [plain(one), plain(other)]
  return typeof first === 'number' && typeof second === 'number' ? first < second : text(first) < text(second)
}

function lengthOf(value: unknown): number {
  if (typeof value === 'string' || Array.isArray(value)) return value.length
  return typeof value === 'object' && value !== null ? Object.keys(value).length : 0
}

function indexed(value: unknown, keys: readonly unknown[]): unknown {
  return keys.reduce<unknown>((current, key) => {
    if (typeof current !== 'object' || current === null) return undefined
    return (current as Readonly<Record<string, unknown>>)[String(key)]
  }, value)
}

/** Go's verbs: %s %v %q %d %t %x %f with flags, width and precision. */
function formatted(format: string, values: readonly unknown[]): string {
  const left = [...values]
  return format.replace(
    /%([-+ 0]*)(\d*)(?:\.(\d+))?(.)/g,
    (_, flags: string, width: string, precision: string | undefined, verb: string) => {
      if (verb === '%') return '%'
      if (left.length === 0) throw bad(`gives printf too few values for "${format}"`)
      const body = formattedValue(left.shift(), verb, precision === undefined ? undefined : Number(precision))
      if (flags.includes('-')) return body.padEnd(Number(width))
      return body.padStart(Number(width), flags.includes('0') && verb === 'd' ? '0' : ' ')
    },
  )
}

function formattedValue(value: unknown, verb: string, precision: number | undefined): string {
  if (verb === 's' || verb === 'v' || verb === 't') return text(value).slice(0, verb === 's' ? precision : undefined)
  if (verb === 'q') return JSON.stringify(text(value))
  if (verb === 'd') return String(Number(plain(value)))
  if (verb === 'x') return typeof value === 'number' ? value.toString(16) : Buffer.from(text(value)).toString('hex')
  if (verb === 'f') return Number(value).toFixed(precision ?? 6)
  throw bad(`has %${verb} in printf, which mille does not know`)
}

/** All functions by name. */
export const functions: Readonly<Record<string, TemplateFunction>> = {
  json: ([value]) => JSON.stringify(value ?? null),
  join: ([list, separator]) =>
    entriesOf(list)
      .map(([, item]) => text(item))
      .join(text(separator ?? '')),
  split: ([value, separator]) => text(value).split(text(separator)),
  lower: ([value]) => text(value).toLowerCase(),
  upper: ([value]) => text(value).toUpperCase(),
  title: ([value]) => text(value).replace(/(^|\s)\S/g, (letter) => letter.toUpperCase()),
  truncate: ([value, length]) => text(value).slice(0, Number(length)),
  pad: ([value, before, after]) => `${' '.repeat(Number(before))}${text(value)}${' '.repeat(Number(after))}`,
  slice: ([value, from, to]) =>
    Array.isArray(value) ? value.slice(Number(from ?? 0), to as number) : text(value).slice(Number(from ?? 0), to as number),
  println: (args) => `${args.map(text).join(' ')}\n`,
  print: (args) => args.map(text).join(''),
  printf: ([format, ...values]) => formatted(text(format), values),
  len: ([value]) => lengthOf(value),
  index: ([value, ...keys]) => indexed(value, keys),
  eq: ([first, ...others]) => others.some((other) => plain(other) === plain(first)),
  ne: ([first, second]) => plain(first) !== plain(second),
  lt: ([first, second]) => isLess(first, second),
  le: ([first, second]) => !isLess(second, first),
  gt: ([first, second]) => isLess(second, first),
  ge: ([first, second]) => !isLess(first, second),
  not: ([value]) => !isTrue(value),
  and: (args) => args.find((value) => !isTrue(value)) ?? args.at(-1),
  or: (args) => args.find(isTrue) ?? args.at(-1),
}
