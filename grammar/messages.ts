/** Tokens that do not fit the grammar → one diagnostic with what was expected, what was found and a hint. */
import type { IToken } from 'chevrotain'
import type { Diagnostic } from '../src/core/diagnostic.js'
import type { ErrorCode } from '../src/core/errors.js'
import type { SourceFile, Span } from '../src/core/span.js'
import { didYouMean } from '../src/core/suggest.js'
import type { LexedLine } from './lexer.js'
import * as t from './tokens.js'

/** The instruction names as people write them. */
export const instructionNames: readonly string[] = t.keywords.map(({ name }) => name.toUpperCase())

const forms: Readonly<Record<string, string>> = {
  ADD: 'ADD SOURCE… DESTINATION',
  ARG: 'ARG NAME[=DEFAULT]',
  COPY: 'COPY SOURCE… DESTINATION',
  ENV: 'ENV NAME=VALUE …',
  EXPOSE: 'EXPOSE PORT[/PROTOCOL] …',
  FROM: 'FROM IMAGE [AS NAME]',
  HEALTHCHECK: 'HEALTHCHECK CMD COMMAND, or HEALTHCHECK NONE',
  LABEL: 'LABEL NAME=VALUE …',
  MAINTAINER: 'MAINTAINER NAME',
  ONBUILD: 'ONBUILD INSTRUCTION',
  SHELL: 'SHELL ["EXECUTABLE", "ARGUMENT", …]',
  STOPSIGNAL: 'STOPSIGNAL SIGNAL',
  USER: 'USER NAME[:GROUP]',
  VOLUME: 'VOLUME PATH …',
  WORKDIR: 'WORKDIR PATH',
}

/** Collects diagnostics about one line. */
export class Reporter {
  readonly diagnostics: Diagnostic[] = []
  readonly #source: SourceFile

  constructor(source: SourceFile) {
    this.#source = source
  }

  error(code: ErrorCode, message: string, span: Span, hint?: string): void {
    const base = { severity: 'error', code, message, source: this.#source, span } as const
    this.diagnostics.push(hint === undefined ? base : { ...base, hint })
  }
}

/** How an instruction is written, as a hint. */
export function formHint(instruction: string): string | undefined {
  const form = forms[instruction]
  return form === undefined ? undefined : `write ${form}`
}

/**
 * Says why a line does not fit the grammar. Says nothing where the lexer has said it already.
 *
 * @param unexpected the token that the parser stopped at; undefined or without offset at the end of the line
 */
export function reportSyntax(report: Reporter, lexed: LexedLine, unexpected: IToken | undefined): void {
  const { tokens, line } = lexed
  if (line.text === '' || tokens.some(({ tokenType }) => tokenType === t.JsonNotStrings)) return
  const spanOf = (token: IToken): Span => line.span(token.startOffset, token.startOffset + token.image.length)
  const unknown = tokens.find(({ tokenType }) => tokenType === t.UnknownKeyword)
  if (unknown !== undefined) {
    reportUnknown(report, unknown.image, spanOf(unknown))
    return
  }
  const named = tokens.filter(({ tokenType }) => t.keywords.includes(tokenType))
  const keyword = named[0]?.tokenType === t.Onbuild ? (named[1] ?? named[0]) : named[0]
  if (keyword === undefined) throw new Error(`a line without a keyword: ${line.text}`)
  const place = unexpected === undefined || Number.isNaN(unexpected.startOffset) ? keyword : unexpected
  const name = keyword.tokenType.name.toUpperCase()
  const words = tokens.filter(({ tokenType }) => isArgument(tokenType.name))
  const { code, message } = describe(name, words)
  report.error(code, message, spanOf(place), formHint(name))
}

function isArgument(tokenTypeName: string): boolean {
  return (
    !/^(Flag|HeredocBody|Json(Open|Comma|Close))$/.test(tokenTypeName) && !t.keywords.some(({ name }) => name === tokenTypeName)
  )
}

function reportUnknown(report: Reporter, written: string, span: Span): void {
  if (written.toUpperCase() === 'INCLUDE') {
    const hint = 'INCLUDE is a word of mille: put "# syntax=mille/labs" on the first line'
    report.error('DOCKERFILE_UNKNOWN_INSTRUCTION', `unknown instruction "${written}"`, span, hint)
    return
  }
  const hint = didYouMean(written.toUpperCase(), instructionNames)
  report.error('DOCKERFILE_UNKNOWN_INSTRUCTION', `unknown instruction "${written}"`, span, hint)
}

function describe(name: string, words: readonly IToken[]): { readonly code: ErrorCode; readonly message: string } {
  const code = 'DOCKERFILE_BAD_ARGUMENT'
  const [first] = words
  if (name === 'FROM') return { code, message: `FROM takes an image, or an image and AS NAME; found ${countWords(words.length)}` }
  if (name === 'SHELL' && first !== undefined) return { code, message: 'SHELL takes its arguments in JSON form only' }
  if (first === undefined) return { code, message: `${name} takes ${neededBy(name)}, found none` }
  const alone = words.find(({ tokenType }) => tokenType.name.startsWith('Definition'))
  if (alone !== undefined)
    return { code: 'DOCKERFILE_SYNTAX', message: `"${alone.image}" has no =, but the word before it has one` }
  return { code: 'DOCKERFILE_SYNTAX', message: `${name} ${first.image} has no value` }
}

function neededBy(name: string): string {
  if (name === 'ADD' || name === 'COPY') return 'at least one source and a destination'
  return /^(MAINTAINER|STOPSIGNAL|USER|WORKDIR)$/.test(name) ? 'exactly one argument' : 'at least one argument'
}

/** `1 word`, `3 words`, `no words`. */
export function countWords(count: number): string {
  return count === 0 ? 'no words' : `${count} word${count === 1 ? '' : 's'}`
}
