/** Instruction flags: which there are, and what a `--name=value` word says (semantics.md 11). */

/** How a flag may be written: `--link[=true|false]`, `--from=x` once, `--mount=x` many times. */
export type FlagKind = 'bool' | 'string' | 'list'

/** The flags that an instruction knows. */
export type FlagTable = Readonly<Record<string, FlagKind>>

const none: FlagTable = {}

const copyFlags: FlagTable = { chown: 'string', chmod: 'string', link: 'bool', exclude: 'list' }

/** The known flags of each instruction, by `Instruction.kind`. */
export const knownFlags: Readonly<Record<string, FlagTable>> = {
  from: { platform: 'string' },
  run: { mount: 'list', network: 'string', security: 'string', device: 'list' },
  copy: { ...copyFlags, from: 'string', parents: 'bool' },
  add: { ...copyFlags, checksum: 'string', 'keep-git-dir': 'bool', unpack: 'bool' },
  healthcheck: {
    ...{ interval: 'string', timeout: 'string', 'start-period': 'string', 'start-interval': 'string' },
    retries: 'string',
  },
}

/** The known flags of an instruction, none for those without. */
export function flagsOf(kind: string): FlagTable {
  return knownFlags[kind] ?? none
}

/** The name and value of a flag word; quotes and backslashes are resolved. */
export function readFlag(word: string): { readonly name: string; readonly value: string | undefined } {
  const text = unquoteFlag(word).slice(2)
  const equals = text.indexOf('=')
  return equals < 0 ? { name: text, value: undefined } : { name: text.slice(0, equals), value: text.slice(equals + 1) }
}

/** A flag word without its quotes. A backslash takes away the meaning of any next character and vanishes. */
export function unquoteFlag(word: string): string {
  const out: string[] = []
  let quote = ''
  for (let at = 0; at < word.length; at++) {
    const char = word.charAt(at)
    if (char === '\\') out.push(word.charAt(++at))
    else if (quote !== '' ? char === quote : char === '"' || char === "'") quote = quote === '' ? char : ''
    else out.push(char)
  }
  return out.join('')
}

/** What is wrong with one flag. */
export interface FlagProblem {
  readonly problem: 'unknown' | 'repeated' | 'missing-value' | 'not-bool'
  readonly index: number
}

/** Checks the flags of an instruction against its table; in order, the first problem of each flag. */
export function checkFlags(
  flags: readonly { readonly name: string; readonly value: string | undefined }[],
  table: FlagTable,
): FlagProblem[] {
  const seen = new Set<string>()
  const problems: FlagProblem[] = []
  for (const [index, { name, value }] of flags.entries()) {
    const kind = Object.hasOwn(table, name) ? table[name] : undefined
    if (kind === undefined) problems.push({ problem: 'unknown', index })
    else if (kind !== 'list' && seen.has(name)) problems.push({ problem: 'repeated', index })
    else if (kind === 'bool' ? value === '' : value === undefined) problems.push({ problem: 'missing-value', index })
    else if (kind === 'bool' && value !== undefined && !/^(true|false)$/i.test(value))
      problems.push({ problem: 'not-bool', index })
    seen.add(name)
  }
  return problems
}
