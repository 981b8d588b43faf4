/**
 * Prints a Dockerfile in a canonical layout without changing its meaning: `meaningOf` of the result is that of the input.
 *
 * Keywords are upper case, words have one blank between them, further lines of an instruction are indented by four, there is
 * one blank line at most and one before each FROM. The text of shell commands, whatever stands in quotes, here-documents
 * and triggers of ONBUILD are left alone to the letter: there blanks have a meaning. Comments are all kept.
 */
import type { IToken } from 'chevrotain'
import type { SourceFile } from '../src/core/span.js'
import type { Directive } from './ast.js'
import { trimBlanks } from './blank.js'
import { type Lexed, type LexedLine, lex } from './lexer.js'
import * as t from './tokens.js'

const indent = '    '

/** The canonical text of a Dockerfile without errors. Whoever calls has parsed it and knows. */
export function formatDockerfile(source: SourceFile): string {
  const lexed = lex(source)
  const blocks: Block[] = []
  let at = source.text.charCodeAt(0) === 0xfeff ? 1 : 0
  for (const directive of lexed.directives) {
    blocks.push({ kind: 'directive', text: formatDirective(directive) })
    at = nextLine(source.text, directive.span.end)
  }
  for (const line of lexed.lines) {
    blocks.push(...readGap(source.text.slice(at, line.span.start)))
    blocks.push(...formatInstruction(lexed, line))
    at = nextLine(source.text, line.span.end)
  }
  blocks.push(...readGap(source.text.slice(at)))
  return layOut(blocks)
}

/** A line, or an instruction with its lines. */
interface Block {
  readonly kind: 'directive' | 'comment' | 'blank' | 'instruction' | 'from'
  readonly text: string
}

function nextLine(text: string, from: number): number {
  const newline = text.indexOf('\n', from)
  return newline < 0 ? text.length : newline + 1
}

function formatDirective({ name, value }: Directive): string {
  return `# ${name}=${value}`
}

/** Comments and blank lines between instructions. */
function readGap(text: string): Block[] {
  const lines = text.split('\n')
  if (trimBlanks(lines.at(-1) ?? '') === '') lines.pop()
  return lines.map((line) => {
    const trimmed = trimBlanks(line)
    return trimmed === '' ? { kind: 'blank', text: '' } : { kind: 'comment', text: formatComment(trimmed) }
  })
}

/** `#word` gets a blank; `#!`, `##` and the like are drawings or something for other programs. */
function formatComment(comment: string): string {
  return comment.replace(/^#(?=[\p{L}\p{N}])/u, '# ')
}

function formatInstruction({ source, escape: escapeChar }: Lexed, lexed: LexedLine): Block[] {
  const { line, tokens, span } = lexed
  const pieces = piecesOf(lexed)
  const kind = tokens[0]?.tokenType === t.From ? 'from' : 'instruction'
  let text = ''
  let end = line.extent.start
  for (const [index, piece] of pieces.entries()) {
    const gap = source.text.slice(end, piece.start)
    if (index > 0) text += separator(gap, pieces[index - 1], piece, escapeChar)
    text += piece.text ?? tidyLines(source.text.slice(piece.start, piece.end), escapeChar)
    end = piece.end
  }
  const tail = source.text.slice(end, line.extent.end)
  const bodies = source.text.slice(line.extent.end, span.end).replace(/^\r+(?=\n)/, '')
  return [{ kind, text: text + bodies }, ...commentsIn(tail).map((comment): Block => ({ kind: 'comment', text: comment }))]
}

/** A part of an instruction that is printed as one; `text` is set where it is not printed as it stands in the source. */
interface Piece {
  readonly start: number
  readonly end: number
  readonly type: IToken['tokenType']
  readonly text?: string
}

function piecesOf({ line, tokens }: LexedLine): Piece[] {
  const kept = tokens.filter(({ tokenType }) => tokenType !== t.HeredocBody && tokenType !== t.Blank && tokenType !== t.JsonBlank)
  const [first, second] = kept
  const isFrom = first?.tokenType === t.From
  const isOnbuild = first?.tokenType === t.Onbuild
  const words = kept.filter(({ tokenType }) => tokenType === t.Word)
  const upper = (token: IToken, index: number): boolean =>
    index === 0 || token.tokenType === t.HealthKind || (isFrom && words.length === 3 && token === words[1])
  const pieces = kept.map((token, index): Piece => {
    const { start, end } = line.span(token.startOffset, token.startOffset + token.image.length)
    const { tokenType: type } = token
    return upper(token, index) ? { start, end, type, text: token.image.toUpperCase() } : { start, end, type }
  })
  if (!isOnbuild || second === undefined) return pieces
  // The trigger is stored as it is written.
  const trigger = line.span(second.startOffset, line.text.length)
  return [...pieces.slice(0, 1), { ...trigger, type: t.RestText }]
}

/** What stands between two parts. Where the source has a line end, there is one. */
function separator(gap: string, before: Piece | undefined, after: Piece, escapeChar: string): string {
  // The end of the flags is no token.
  const flagsEnd = /^[^#]*\s--(\s|$)/.test(gap) ? ' --' : ''
  if (gap.includes('\n')) {
    const comments = commentsIn(gap).map((comment) => `${indent}${comment}\n`)
    return `${flagsEnd} ${escapeChar}\n${comments.join('')}${indent}`
  }
  if (before?.type === t.JsonOpen || after.type === t.JsonClose || after.type === t.JsonComma) return ''
  return `${flagsEnd} `
}

/** The comment lines of a text that begins in the middle of a line. */
function commentsIn(text: string): string[] {
  return text
    .split('\n')
    .slice(1)
    .map(trimBlanks)
    .filter((line) => line.startsWith('#'))
    .map(formatComment)
}

/** The inside of a part that goes over several lines: empty lines and what no reader sees at line ends go, nothing else. */
function tidyLines(text: string, escapeChar: string): string {
  if (!text.includes('\n')) return text
  const [first = '', ...rest] = text.split('\n')
  const last = rest.pop() ?? ''
  const tidy = (line: string): string => {
    const end = line.trimEnd()
    return end.endsWith(escapeChar) || end.trimStart().startsWith('#') ? end : line
  }
  return [tidy(first), ...rest.filter((line) => trimBlanks(line) !== '').map(tidy), last].join('\n')
}

/** One blank line at most, none at the ends, one before each FROM and the comments that belong to it. */
function layOut(blocks: readonly Block[]): string {
  const lines: Block[] = []
  for (const block of blocks) {
    if (block.kind === 'blank' && (lines.length === 0 || lines.at(-1)?.kind === 'blank')) continue
    if (block.kind === 'from' && lines.some(({ kind }) => kind === 'from')) separate(lines)
    lines.push(block)
  }
  while (lines.at(-1)?.kind === 'blank') lines.pop()
  const [first] = lines
  // Without the blank line before it this comment would become a directive.
  const guard = first?.kind === 'comment' && /^#\s*(syntax|escape|check)\s*=/i.test(first.text) ? '\n' : ''
  return guard + lines.map(({ text }) => `${text}\n`).join('')
}

function separate(lines: Block[]): void {
  let at = lines.length
  while (at > 0 && lines[at - 1]?.kind === 'comment') at--
  if (at > 0 && lines[at - 1]?.kind !== 'blank') lines.splice(at, 0, { kind: 'blank', text: '' })
}
