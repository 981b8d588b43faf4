/**
 * Flags as tables: one entry says how a flag is parsed, what `--help` prints and which environment variable stands in.
 *
 * The reading of words is `util.parseArgs`'s; the rules on top are docker's: `--flag value`, `--flag=value`, `-tx`,
 * `-t=x`, `-it`, `--flag=false`, the last one of a repeated flag wins, and a command like `run` reads flags up to its
 * first argument only. Whatever is not in the table is an error that names it.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { UsageError } from '../core/errors.js'
import { didYouMean } from '../core/suggest.js'

/** One flag. The key in its table is the long name. */
export interface FlagSpec {
  readonly type: 'boolean' | 'string' | 'list' | 'integer' | 'decimal' | 'bytes'
  readonly short?: string
  /** The word in `--help` for the value. */
  readonly value?: string
  readonly help: string
  /** As it would be written on the command line; shown by `--help` and used when nothing else is given. */
  readonly default?: string
  /** Shown by `--help` where the default is not a fixed text. */
  readonly defaultText?: string
  /** The environment variable that is used when the flag is not given. */
  readonly env?: string
  readonly choices?: readonly string[]
  /** A size may be -1, which is unlimited. */
  readonly unlimited?: boolean
  /** The flag may stand alone and then has this value; one of its own follows `=` only. */
  readonly bare?: string
}

/** The flags of one command by long name. */
export type FlagTable = Readonly<Record<string, FlagSpec>>

type ValueOf<S extends FlagSpec> = S['type'] extends 'boolean'
  ? boolean
  : S['type'] extends 'list'
    ? readonly string[]
    : S['type'] extends 'string'
      ? S extends { readonly default: string }
        ? string
        : string | undefined
      : S extends { readonly default: string }
        ? number
        : number | undefined

/** What the flags of a table were set to. */
export type FlagValues<T extends FlagTable> = { readonly [K in keyof T]: ValueOf<T[K]> }

/** A command line that was read. */
export interface ParsedArgs<T extends FlagTable> {
  readonly values: FlagValues<T>
  /** Long names of the flags that were written (not of those from the environment or a default). */
  readonly given: ReadonlySet<string>
  readonly positionals: readonly string[]
}

/** How a command line is read. */
export interface ParseOptions {
  /** For messages: `mille build`. */
  readonly command: string
  /** False: everything from the first argument on is an argument, even when it starts with a dash. */
  readonly interspersed: boolean
  /** What docker has and mille has not yet, as `name` or `name|letter`: an error of its own. */
  readonly unsupported: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

interface Token {
  readonly name: string
  readonly rawName: string
  readonly index: number
  readonly value: string | undefined
  readonly inline: boolean
}

/**
 * Reads the words after a command.
 *
 * @throws UsageError USAGE_UNKNOWN_FLAG, USAGE_BAD_FLAG
 */
export function parseFlags<const T extends FlagTable>(args: readonly string[], table: T, options: ParseOptions): ParsedArgs<T> {
  const written = new Map<string, string[]>()
  const { flags, positionals } = scan(args, table, options.interspersed)
  for (const token of flags) {
    const spec = Object.hasOwn(table, token.name) ? table[token.name] : undefined
    if (spec === undefined || (token.rawName.startsWith('--') && token.name.length === 1))
      throw unknownFlag(token, table, options)
    const values = written.get(token.name) ?? []
    written.set(token.name, values)
    values.push(textOf(token, spec))
  }
  const values: Record<string, unknown> = {}
  for (const [name, spec] of Object.entries(table)) values[name] = resolveFlag(name, spec, written.get(name), options.env)
  return { values: values as FlagValues<T>, given: new Set(written.keys()), positionals }
}

function scan(
  args: readonly string[],
  table: FlagTable,
  interspersed: boolean,
): { readonly flags: readonly Token[]; readonly positionals: readonly string[] } {
  const { tokens } = parseArgs({ args: [...args], options: parseArgsOptions(table), strict: false, tokens: true })
  const flags: Token[] = []
  const positionals: string[] = []
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      if (!interspersed) return { flags, positionals: args.slice(token.index) }
      positionals.push(token.value)
      continue
    }
    const before = flags.at(-1)
    if (before?.index === token.index && before.inline) continue
    if (token.rawName === '-=' && before?.index === token.index) {
      flags.pop()
      const word = args[token.index] ?? ''
      flags.push({ ...before, value: word.slice(word.indexOf('=') + 1), inline: true })
      continue
    }
    const { name, rawName, index } = token
    const isShort = !rawName.startsWith('--')
    const value = isShort && token.inlineValue && token.value.startsWith('=') ? token.value.slice(1) : token.value
    flags.push({ name, rawName, index, value, inline: token.inlineValue ?? false })
  }
  return { flags, positionals }
}

function parseArgsOptions(table: FlagTable): NonNullable<ParseArgsConfig['options']> {
  const options: NonNullable<ParseArgsConfig['options']> = {}
  for (const [name, spec] of Object.entries(table)) {
    const type = spec.type === 'boolean' || spec.bare !== undefined ? 'boolean' : 'string'
    options[name] = spec.short === undefined ? { type } : { type, short: spec.short }
  }
  return options
}

function unknownFlag(token: Token, table: FlagTable, options: ParseOptions): UsageError {
  const isShort = !token.rawName.startsWith('--')
  const known = options.unsupported.find((entry) => entry.split('|')[isShort ? 1 : 0] === token.name)
  if (known !== undefined) {
    const name = isShort ? `${token.rawName} (--${known.split('|')[0]})` : token.rawName
    return new UsageError('USAGE_UNKNOWN_FLAG', `${name} of docker is not supported by "${options.command}" yet`)
  }
  const near = token.rawName.startsWith('--')
    ? didYouMean(
        token.rawName,
        Object.keys(table).map((name) => `--${name}`),
      )
    : undefined
  return new UsageError('USAGE_UNKNOWN_FLAG', `unknown flag ${token.rawName} for "${options.command}"`, {
    hint: near ?? `"${options.command} --help" lists the flags`,
  })
}

function textOf(token: Token, spec: FlagSpec): string {
  if (token.value !== undefined) return token.value
  if (spec.bare !== undefined) return spec.bare
  if (spec.type === 'boolean') return 'true'
  throw new UsageError('USAGE_BAD_FLAG', `${token.rawName} needs a value`, {
    hint: `write ${token.rawName} ${spec.value ?? 'value'}`,
  })
}

function resolveFlag(
  name: string,
  spec: FlagSpec,
  written: readonly string[] | undefined,
  env: Readonly<Record<string, string | undefined>>,
): unknown {
  if (spec.type === 'list') return written ?? listIn(spec.env === undefined ? undefined : env[spec.env])
  const last = written?.at(-1)
  if (last !== undefined) return readValue(last, spec, `--${name}`)
  const fromEnv = spec.env === undefined ? undefined : env[spec.env]
  if (fromEnv !== undefined && fromEnv !== '') return readValue(fromEnv, spec, spec.env ?? '')
  if (spec.default !== undefined) return readValue(spec.default, spec, `--${name}`)
  return spec.type === 'boolean' ? false : undefined
}

/** A variable that stands in for a list has commas between the values. */
function listIn(text: string | undefined): readonly string[] {
  return (text ?? '')
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
}

function readValue(text: string, spec: FlagSpec, from: string): unknown {
  if (spec.choices !== undefined && !spec.choices.includes(text)) {
    throw badValue(from, text, `one of ${spec.choices.join(', ')}`, didYouMean(text, spec.choices))
  }
  switch (spec.type) {
    case 'boolean':
      return readBoolean(text, from)
    case 'integer':
      return readNumber(text, from, /^-?\d+$/, 'a whole number')
    case 'decimal':
      return readNumber(text, from, /^\d+(\.\d+)?$|^\.\d+$/, 'a number such as 1.5')
    case 'bytes':
      return spec.unlimited === true && text === '-1' ? -1 : parseBytes(text, from)
    default:
      return text
  }
}

function readBoolean(text: string, from: string): boolean {
  if (/^(1|t|true)$/i.test(text)) return true
  if (/^(0|f|false)$/i.test(text)) return false
  throw badValue(from, text, 'true or false')
}

function readNumber(text: string, from: string, pattern: RegExp, expected: string): number {
  if (pattern.test(text)) return Number(text)
  throw badValue(from, text, expected)
}

/** Reads a size as docker does: `512`, `64k`, `1.5g`, `20MiB`, `2gb`; units are powers of 1024. */
export function parseBytes(text: string, from: string, expected = 'a size such as 512m or 2g'): number {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(text)
  if (match === null) {
    throw badValue(from, text, expected)
  }
  const power = 'kmgtp'.indexOf((match[2] ?? '').toLowerCase() || '?') + 1
  const bytes = Math.floor(Number(match[1]) * 1024 ** power)
  if (Number.isSafeInteger(bytes)) return bytes
  throw new UsageError('USAGE_BAD_FLAG', `${from} is "${text}", the most that can be asked for is 8p`)
}

/**
 * What a variable that turns something off says; it is on unless told.
 *
 * @throws UsageError for a value that is neither
 */
export function isOn(env: Readonly<Record<string, string | undefined>>, name: string): boolean {
  const text = env[name] ?? ''
  if (/^(off|0|f|false|no)$/i.test(text)) return false
  if (text === '' || /^(on|1|t|true|yes)$/i.test(text)) return true
  throw badValue(name, text, 'on or off')
}

/** The error for a value that a flag (`from` begins with `-`) or an environment variable cannot have. */
export function badValue(from: string, text: string, expected: string, hint?: string): UsageError {
  const code = from.startsWith('-') ? 'USAGE_BAD_FLAG' : 'USAGE_BAD_VARIABLE'
  return new UsageError(code, `${from} is "${text}", expected ${expected}`, { hint })
}
