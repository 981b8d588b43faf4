/**
 * All token types, by lexer mode. Loads chevrotain: import this, the lexer and the parser only where a file is parsed.
 *
 * Tokens are read from one logical line (see lines.ts), so no token has to know about continuations or comments.
 */
import { type CustomPatternMatcherFunc, createToken, type IToken, Lexer, type TokenType } from 'chevrotain'
import { isBlank, skipBlanks } from './blank.js'

const blank = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/

function keyword(name: string, mode: string): TokenType {
  const pattern = new RegExp(`${name}(?![^\\t\\v\\f\\r ])`, 'i')
  return createToken({ name, pattern, push_mode: mode, line_breaks: false })
}

// Line start, and after ONBUILD. The mode after a keyword says what its arguments look like.
export const Add = keyword('Add', 'list')
export const Arg = keyword('Arg', 'pairs')
export const Cmd = keyword('Cmd', 'command')
export const Copy = keyword('Copy', 'list')
export const Entrypoint = keyword('Entrypoint', 'command')
export const Env = keyword('Env', 'legacyPairs')
export const Expose = keyword('Expose', 'words')
export const From = keyword('From', 'words')
export const Healthcheck = keyword('Healthcheck', 'health')
export const Label = keyword('Label', 'legacyPairs')
export const Maintainer = keyword('Maintainer', 'text')
export const Onbuild = keyword('Onbuild', 'line')
export const Run = keyword('Run', 'command')
export const Shell = keyword('Shell', 'command')
export const Stopsignal = keyword('Stopsignal', 'text')
export const User = keyword('User', 'text')
export const Volume = keyword('Volume', 'list')
export const Workdir = keyword('Workdir', 'text')
export const UnknownKeyword = createToken({
  name: 'UnknownKeyword',
  pattern: /[^\t\v\f\r ]+/,
  push_mode: 'text',
  line_breaks: false,
})

/** The instruction names in the order of the reference. */
export const keywords: readonly TokenType[] = [
  ...[Add, Arg, Cmd, Copy, Entrypoint, Env, Expose, From, Healthcheck, Label, Maintainer, Onbuild, Run, Shell],
  ...[Stopsignal, User, Volume, Workdir],
]

// Flags, in every mode but JSON. They follow a keyword or a flag only.
export const Flag = createToken({ name: 'Flag', pattern: flagAt(false), line_breaks: false })
export const FlagsEnd = createToken({ name: 'FlagsEnd', pattern: flagAt(true), group: Lexer.SKIPPED, line_breaks: false })
export const Blank = createToken({ name: 'Blank', pattern: blank, group: Lexer.SKIPPED, line_breaks: false })

// Words and text.
export const Word = createToken({ name: 'Word', pattern: /[^\t\v\f\r ]+/, line_breaks: false })
export const RestText = createToken({ name: 'RestText', pattern: /[\s\S]+/, line_breaks: true })
export const HealthKind = createToken({ name: 'HealthKind', pattern: until(blank), push_mode: 'command', line_breaks: false })

// NAME=value words. The escape character decides where one ends, so there is a token type for each.
export const Pair = createToken({ name: 'Pair', pattern: Lexer.NA })
export const Definition = createToken({ name: 'Definition', pattern: Lexer.NA })
export const LegacyKey = createToken({ name: 'LegacyKey', pattern: Lexer.NA })

/** Token types whose end depends on the file's escape character. */
export interface PairTokens {
  readonly pair: TokenType
  readonly bare: TokenType
  readonly legacyKey: TokenType
  /** An escape character at the very end of the line: the words before it leave nothing else over. */
  readonly danglingEscape: TokenType
}

function pairTokens(escapeChar: string): PairTokens {
  const suffix = escapeChar === '\\' ? 'Backslash' : 'Backtick'
  const word = (accept: (word: string) => boolean): CustomPatternMatcherFunc => {
    return (text, offset) => {
      const word = text.slice(offset, quotedWordEnd(text, offset, escapeChar))
      return word !== '' && accept(word) ? [word] : null
    }
  }
  const hasEquals = (word: string): boolean => word.includes('=')
  const notLegacy = word((text) => !hasEquals(text))
  const legacyKey: CustomPatternMatcherFunc = (text, offset, matched, groups) => {
    if (!isBeforeArguments(matched) || notLegacy(text, offset, matched, groups) === null) return null
    return [text.slice(offset, plainWordEnd(text, offset))]
  }
  const named = (categories: [TokenType, ...TokenType[]], pattern: CustomPatternMatcherFunc, mode?: string): TokenType =>
    createToken({
      name: `${categories[0].name}${suffix}`,
      pattern,
      categories,
      line_breaks: false,
      ...(mode === undefined ? {} : { push_mode: mode }),
    })
  return {
    pair: named([Pair, Definition], word(hasEquals)),
    bare: named([Definition], notLegacy),
    legacyKey: named([LegacyKey], legacyKey, 'text'),
    danglingEscape: createToken({
      name: `DanglingEscape${suffix}`,
      pattern: escapeChar === '\\' ? /\\/ : /`/,
      group: Lexer.SKIPPED,
      line_breaks: false,
    }),
  }
}

/** Both sets are made before any parser, which must know all members of a category. */
export const pairTokensBy: Readonly<Record<'\\' | '`', PairTokens>> = { '\\': pairTokens('\\'), '`': pairTokens('`') }

// JSON form. `JsonOpen` looks ahead: only a valid array of strings to the end of the line is one.
export const JsonOpen = createToken({ name: 'JsonOpen', pattern: jsonAt(true), push_mode: 'json', line_breaks: false })
export const JsonNotStrings = createToken({ name: 'JsonNotStrings', pattern: jsonAt(false), line_breaks: true })
export const JsonString = createToken({ name: 'JsonString', pattern: jsonStringAt, line_breaks: false })
export const JsonComma = createToken({ name: 'JsonComma', pattern: /,/ })
export const JsonClose = createToken({ name: 'JsonClose', pattern: /]/ })
export const JsonBlank = createToken({ name: 'JsonBlank', pattern: /[\t\n\r ]+/, group: Lexer.SKIPPED, line_breaks: true })

// Made by the lexer itself: the raw lines of a here-document.
export const HeredocBody = createToken({ name: 'HeredocBody', pattern: Lexer.NA })

/** True while only keywords, flags and a HEALTHCHECK kind have been read: the next word is the first argument. */
function isBeforeArguments(matched: readonly IToken[]): boolean {
  const type = matched.at(-1)?.tokenType
  return (
    type === Flag ||
    type === FlagsEnd ||
    type === HealthKind ||
    (type !== undefined && keywords.includes(type)) ||
    type === UnknownKeyword
  )
}

/** A word that starts with `--`; a bare `--` ends the flags and is skipped. */
function flagAt(bare: boolean): CustomPatternMatcherFunc {
  return (text, offset, matched) => {
    if (!text.startsWith('--', offset) || !isBeforeArguments(matched)) return null
    const last = matched.at(-1)
    if (last === undefined || last.tokenType === HealthKind) return null
    // Between a keyword or flag and a flag there are blanks only, unless a `--` was skipped.
    if (skipBlanks(text, last.startOffset + last.image.length) < offset) return null
    const word = text.slice(offset, flagEnd(text, offset))
    return (word === '--') === bare ? [word] : null
  }
}

/** In flags a backslash escapes, whatever the escape directive says, and quotes hold blanks. */
function flagEnd(text: string, start: number): number {
  let quote = ''
  let at = start
  for (; at < text.length; at++) {
    const char = text.charAt(at)
    if (char === '\\') at++
    else if (quote !== '') quote = char === quote ? '' : quote
    else if (char === '"' || char === "'") quote = char
    else if (isBlank(char)) return at
  }
  return Math.min(at, text.length)
}

function plainWordEnd(text: string, start: number): number {
  let at = start
  while (at < text.length && !'\t\v\f\r '.includes(text.charAt(at))) at++
  return at
}

/** Quotes and escapes hold blanks; an open quote runs to the end; an escape character at the very end is no part of it. */
function quotedWordEnd(text: string, start: number, escapeChar: string): number {
  let quote = ''
  for (let at = start; at < text.length; at++) {
    const char = text.charAt(at)
    if (char === escapeChar && quote !== "'") {
      if (at + 1 === text.length) return at
      at++
    } else if (quote !== '') quote = char === quote ? '' : quote
    else if (char === '"' || char === "'") quote = char
    else if (isBlank(char)) return at
  }
  return text.length
}

function until(separator: RegExp): CustomPatternMatcherFunc {
  const start = new RegExp(separator.source, 'g')
  return (text, offset) => {
    start.lastIndex = offset
    const end = start.exec(text)?.index ?? text.length
    return end > offset ? [text.slice(offset, end)] : null
  }
}

function jsonAt(strings: boolean): CustomPatternMatcherFunc {
  return (text, offset, matched) => {
    if (text[offset] !== '[' || !isBeforeArguments(matched)) return null
    const values = readJsonArray(text.slice(offset))
    if (values === undefined || values.every((value) => typeof value === 'string') !== strings) return null
    return [strings ? '[' : text.slice(offset)]
  }
}

/** The array that the text is, or undefined when it is not JSON. */
export function readJsonArray(text: string): readonly unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function jsonStringAt(text: string, offset: number): [string] | null {
  if (text[offset] !== '"') return null
  let at = offset + 1
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return [text.slice(offset, at + 1)]
}
