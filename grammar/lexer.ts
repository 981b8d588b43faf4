/**
 * Source → logical lines of tokens. Never throws: what is wrong comes back as diagnostics.
 *
 * Each logical line (lines.ts) is read by a chevrotain lexer with a mode for every shape of arguments; here-document
 * bodies are raw lines and are taken from the source between two logical lines.
 */
import { createTokenInstance, type ILexerConfig, type IToken, Lexer, type TokenType } from 'chevrotain'
import type { Diagnostic } from '../src/core/diagnostic.js'
import type { SourceFile, Span } from '../src/core/span.js'
import type { Directive } from './ast.js'
import { readDirectives } from './directives.js'
import { findHeredocs, type HeredocMark } from './heredocs.js'
import { findLongLines, type HeredocBody, LineReader, type LogicalLine, maxLineBytes } from './lines.js'
import * as t from './tokens.js'

/** A here-document: its `<<NAME` word and its body. */
export interface LexedHeredoc {
  readonly mark: HeredocMark
  readonly body: HeredocBody
}

/** One instruction's tokens. Their offsets are into `line.text`. */
export interface LexedLine {
  readonly line: LogicalLine
  readonly tokens: readonly IToken[]
  readonly heredocs: readonly LexedHeredoc[]
  /** From the keyword to the end of the last here-document. */
  readonly span: Span
}

/** What `lex` returns. */
export interface Lexed {
  readonly source: SourceFile
  readonly escape: '\\' | '`'
  readonly directives: readonly Directive[]
  readonly lines: readonly LexedLine[]
  readonly diagnostics: readonly Diagnostic[]
}

/** Reads a whole Dockerfile. */
export function lex(source: SourceFile): Lexed {
  const { directives, escape: escapeChar, end, diagnostics: found } = readDirectives(source)
  const diagnostics: Diagnostic[] = [...found, ...longLines(source)]
  const reader = new LineReader(source.text, escapeChar, end)
  const lexer = lexerFor(escapeChar)
  const lines: LexedLine[] = []
  for (let line = reader.next(); line !== undefined; line = reader.next()) {
    const lexed = lexLine(line, lexer, reader)
    lines.push(lexed)
    diagnostics.push(...judgeLine(source, lexed))
  }
  if (lines.length === 0) diagnostics.push(emptyFile(source))
  return { source, escape: escapeChar, directives, lines, diagnostics }
}

function lexLine(line: LogicalLine, lexer: Lexer, reader: LineReader): LexedLine {
  const tokens = [...lexer.tokenize(line.text).tokens]
  const marks = mayHaveHeredocs(tokens) ? findHeredocs(line.text) : []
  const heredocs = marks.map((mark) => ({ mark, body: reader.readHeredoc(mark.name, mark.stripTabs) }))
  for (const { mark } of heredocs) tokens.push(bodyToken(mark, line.text.length))
  return { line, tokens, heredocs, span: { start: line.extent.start, end: heredocs.at(-1)?.body.end ?? line.extent.end } }
}

/** ADD, COPY and RUN, on their own or after ONBUILD, not in JSON form. */
function mayHaveHeredocs(tokens: readonly IToken[]): boolean {
  const commands = tokens.filter(({ tokenType }) => t.keywords.includes(tokenType))
  const command = commands[0]?.tokenType === t.Onbuild ? (commands[1] ?? commands[0]) : commands[0]
  const type = command?.tokenType
  if (type !== t.Add && type !== t.Copy && type !== t.Run) return false
  return !tokens.some(({ tokenType }) => tokenType === t.JsonOpen)
}

function bodyToken(mark: HeredocMark, end: number): IToken {
  return createTokenInstance(t.HeredocBody, mark.name, end, end, Number.NaN, Number.NaN, Number.NaN, Number.NaN)
}

const flags = [t.Blank, t.FlagsEnd, t.Flag]

function modes(escapeChar: '\\' | '`'): Record<string, TokenType[]> {
  const { pair, bare, legacyKey, danglingEscape } = t.pairTokensBy[escapeChar]
  return {
    line: [...flags, ...t.keywords, t.UnknownKeyword],
    words: [...flags, t.Word],
    list: [...flags, t.JsonOpen, t.JsonNotStrings, t.Word],
    command: [...flags, t.JsonOpen, t.JsonNotStrings, t.RestText],
    text: [...flags, t.RestText],
    health: [...flags, t.HealthKind],
    pairs: [...flags, pair, bare, danglingEscape],
    legacyPairs: [...flags, legacyKey, pair, bare, danglingEscape],
    json: [t.JsonString, t.JsonComma, t.JsonClose, t.JsonBlank],
  }
}

/** Makes a lexer; only a test asks for chevrotain's own checks of the token definitions, which take time. */
export function makeLexer(escapeChar: '\\' | '`', options: ILexerConfig = { skipValidations: true }): Lexer {
  return new Lexer(
    { modes: modes(escapeChar), defaultMode: 'line' },
    { positionTracking: 'onlyOffset', safeMode: true, ...options },
  )
}

const lexers = new Map<string, Lexer>()

/** One lexer for each escape character, made when first needed. */
function lexerFor(escapeChar: '\\' | '`'): Lexer {
  let lexer = lexers.get(escapeChar)
  if (lexer === undefined) {
    lexer = makeLexer(escapeChar)
    lexers.set(escapeChar, lexer)
  }
  return lexer
}

function longLines(source: SourceFile): Diagnostic[] {
  return findLongLines(source.text).map((span) => ({
    severity: 'error',
    code: 'DOCKERFILE_SYNTAX',
    message: `the line is ${Buffer.byteLength(source.text.slice(span.start, span.end))} bytes long, at most ${maxLineBytes} are allowed`,
    source,
    span: { start: span.start, end: Math.min(span.end, span.start + 1) },
    hint: 'split the line with a continuation, or COPY the text from a file',
  }))
}

function emptyFile(source: SourceFile): Diagnostic {
  const message = source.text.trim() === '' ? 'the Dockerfile is empty' : 'the Dockerfile has no instructions'
  const hint = 'start with FROM and the name of an image'
  return { severity: 'error', code: 'DOCKERFILE_EMPTY', message, source, span: { start: 0, end: 0 }, hint }
}

/** What is wrong or doubtful about a line before its grammar is looked at. */
function judgeLine(source: SourceFile, { line, heredocs, tokens }: LexedLine): Diagnostic[] {
  const found: Diagnostic[] = line.emptyLines.slice(0, 1).map((span) => ({
    severity: 'warning',
    code: 'NoEmptyContinuation',
    message: 'an empty line inside a continued instruction; this will become an error',
    source,
    span,
    hint: 'remove the empty line, or put a # in it',
    url: 'https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/',
  }))
  if (line.text === '') {
    const message = 'a line continuation has nothing before and nothing after it'
    found.push({ severity: 'error', code: 'DOCKERFILE_SYNTAX', message, source, span: line.extent, hint: 'remove the line' })
  }
  for (const token of tokens) {
    if (token.tokenType !== t.JsonNotStrings) continue
    const message = 'the JSON form takes strings only'
    const span = line.span(token.startOffset, token.startOffset + token.image.length)
    found.push({
      severity: 'error',
      code: 'DOCKERFILE_SYNTAX',
      message,
      source,
      span,
      hint: 'put each argument in double quotes',
    })
  }
  for (const { mark, body } of heredocs) if (!body.terminated) found.push(unterminated(source, line, mark))
  return found
}

function unterminated(source: SourceFile, line: LogicalLine, mark: HeredocMark): Diagnostic {
  return {
    severity: 'error',
    code: 'DOCKERFILE_HEREDOC_UNTERMINATED',
    message: `the here-document "${mark.name}" has no end`,
    source,
    span: line.span(mark.start, mark.end),
    hint: `end it with a line that has only ${mark.name}${mark.stripTabs ? ', tabs before it are allowed' : ''}`,
  }
}
