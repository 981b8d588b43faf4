/**
 * `INCLUDE [--from=NAME] PATH`, a word of mille's own, read only behind `# syntax=mille/labs`: anywhere else it is unknown, so
 * that no Dockerfile means something else to mille than to Docker.
 */
import type { IToken } from 'chevrotain'
import type { Directive, WordsInstruction } from './ast.js'
import { trimBlanks } from './blank.js'
import { labsSyntax } from './directives.js'
import { readFlag } from './flags.js'
import type { LexedLine } from './lexer.js'
import type { Reporter } from './messages.js'
import * as t from './tokens.js'

/** True when the file asks for mille's own words. */
export function asksForLabs(directives: readonly Directive[]): boolean {
  return directives.some(({ name, value }) => name === 'syntax' && value === labsSyntax)
}

/** The line's keyword when it is INCLUDE. */
export function includeKeyword({ tokens }: LexedLine): IToken | undefined {
  const [first] = tokens.filter(({ tokenType }) => tokenType !== t.Blank)
  return first?.tokenType === t.UnknownKeyword && first.image.toUpperCase() === 'INCLUDE' ? first : undefined
}

/** Reads an INCLUDE line. */
export function buildInclude(keyword: IToken, lexed: LexedLine, report: Reporter): WordsInstruction | undefined {
  const { line, tokens, span } = lexed
  const spanOf = (token: IToken): WordsInstruction['span'] => line.span(token.startOffset, token.startOffset + token.image.length)
  const flags = tokens
    .filter(({ tokenType }) => tokenType === t.Flag)
    .map((token) => ({ ...readFlag(token.image), span: spanOf(token) }))
  for (const flag of flags) {
    if (flag.name === 'from' && flag.value) continue
    report.error('DOCKERFILE_BAD_FLAG', `INCLUDE has no flag "--${flag.name}" of this form`, flag.span, 'write --from=NAME')
  }
  const [rest] = tokens.filter(({ tokenType }) => tokenType === t.RestText)
  const path = rest === undefined ? '' : trimBlanks(rest.image)
  if (rest === undefined || path === '' || /[\s"'$\\]/.test(path)) {
    const message = 'INCLUDE takes one path, without quotes, blanks and variables'
    report.error('DOCKERFILE_BAD_ARGUMENT', message, rest === undefined ? spanOf(keyword) : spanOf(rest), 'write INCLUDE PATH')
    return undefined
  }
  const start = spanOf(rest).start
  return {
    ...{ kind: 'include', keyword: keyword.image, keywordSpan: spanOf(keyword), flags, rest: path, json: false },
    ...{ span: { start: spanOf(keyword).start, end: span.end }, comment: undefined, skippedChecks: [] },
    words: [{ text: path, span: { start, end: start + path.length } }],
  }
}
