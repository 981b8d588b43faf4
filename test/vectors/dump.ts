/** The s-expression dump of a Dockerfile that BuildKit's parser prints, made from our tokens. */
import type { IToken } from 'chevrotain'
import { unquoteFlag } from '../../grammar/flags.js'
import type { Lexed, LexedLine } from '../../grammar/lexer.js'
import * as t from '../../grammar/tokens.js'

/** All lines, each `(instruction "argument" …)`. */
export function dumpLines(lexed: Lexed): string {
  return `${lexed.lines.map(dumpLine).join('\n')}\n`
}

function dumpLine({ tokens }: LexedLine): string {
  const starts = tokens.flatMap(({ tokenType }, index) => (isKeyword(tokenType.name) ? [index] : []))
  let text = ''
  for (const [nth, start] of starts.entries()) text += ` (${dumpCommand(tokens.slice(start, starts[nth + 1]))}`
  return text.slice(1) + ')'.repeat(starts.length)
}

function isKeyword(name: string): boolean {
  return name === 'UnknownKeyword' || t.keywords.some((keyword) => keyword.name === name)
}

function dumpCommand(tokens: readonly IToken[]): string {
  const [keyword, ...rest] = tokens
  const flags = rest.filter(({ tokenType }) => tokenType === t.Flag).map(({ image }) => quote(unquoteFlag(image)))
  const values = keyword?.tokenType === t.UnknownKeyword ? [''] : argumentsOf(tokens)
  const shownFlags = flags.length === 0 ? [] : [`[${flags.join(' ')}]`]
  return [keyword?.image.toLowerCase() ?? '', ...shownFlags, ...values.map(quote)].join(' ')
}

/** The arguments of a command as a flat list; `NAME=value` is three items, the third says which of the two notations it was. */
export function argumentsOf(tokens: readonly IToken[]): string[] {
  const isLegacy = tokens.some(({ tokenType }) => tokenType.name.startsWith('LegacyKey'))
  const isArg = tokens.some(({ tokenType }) => tokenType === t.Arg)
  const values = tokens.flatMap(({ tokenType, image }) => {
    if (/^(Word|RestText|HealthKind|LegacyKey|Definition)/.test(tokenType.name)) return [image]
    if (tokenType === t.JsonString) return [String(JSON.parse(image))]
    if (!tokenType.name.startsWith('Pair')) return []
    const equals = image.indexOf('=')
    return isArg ? [image] : [image.slice(0, equals), image.slice(equals + 1), '=']
  })
  return isLegacy ? [...values, ''] : values
}

/** Text as Go's `strconv.Quote` prints it. */
function quote(text: string): string {
  const named = new Map(
    [...'\x07a\bb\ff\nn\rr\tt\vv\\\\""'].reduce<[string, string][]>((pairs, char, index, all) => {
      if (index % 2 === 0) pairs.push([char, `\\${all.at(index + 1) ?? ''}`])
      return pairs
    }, []),
  )
  const shown = Array.from(text, (char) => {
    const name = named.get(char)
    if (name !== undefined) return name
    if (/[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(char)) return char
    const code = char.codePointAt(0) ?? 0
    const hex = code.toString(16)
    if (code < 32 || code === 127) return `\\x${hex.padStart(2, '0')}`
    return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`
  })
  return `"${shown.join('')}"`
}
