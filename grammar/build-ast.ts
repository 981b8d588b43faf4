/**
 * CST → AST, with the checks that need no environment: known flags, numbers of arguments, stage names, ONBUILD nesting,
 * HEALTHCHECK options. What depends on expansion (ports, signals, mounts, platforms) is checked when lowering.
 */
import type { CstNode, IToken } from 'chevrotain'
import type { Span } from '../src/core/span.js'
import { didYouMean } from '../src/core/suggest.js'
import type {
  CommandLine,
  CopyInstruction,
  FromInstruction,
  HealthcheckInstruction,
  Heredoc,
  Instruction,
  KeyValue,
  KeyValueInstruction,
  OnbuildInstruction,
  RunInstruction,
  ShellInstruction,
  Word,
  WordsInstruction,
} from './ast.js'
import { trimBlanks } from './blank.js'
import { firstToken, nodeIn, nodesIn, onlyNode, tokensIn } from './cst.js'
import { checkHealthFlags, checkKnownFlags, checkRunFlags } from './flag-checks.js'
import { readFlag } from './flags.js'
import { parseHeredocWord, stripLeadingTabs } from './heredocs.js'
import type { LexedHeredoc, LexedLine } from './lexer.js'
import { formHint, type Reporter } from './messages.js'

/** Everything the functions below need to know about the line they build from. */
interface Scope {
  readonly text: string
  readonly lexed: LexedLine
  readonly report: Reporter
  /** True inside ONBUILD: comments belong to the whole. */
  readonly nested: boolean
}

type Base = Pick<Instruction, 'keyword' | 'keywordSpan' | 'span' | 'flags' | 'rest' | 'comment' | 'skippedChecks'>

const singleWord = ['user', 'workdir', 'stopsignal', 'maintainer'] as const

/**
 * Builds one instruction. Problems go to `report`.
 *
 * @param text the source's text
 * @returns undefined when no instruction can be made of the line
 */
export function buildInstruction(cst: CstNode, text: string, lexed: LexedLine, report: Reporter): Instruction | undefined {
  const onbuild = nodesIn(cst, 'onbuild')
  const inner = onlyNode(nodeIn(cst, 'simple'))
  const scope = { text, lexed, report, nested: onbuild.length > 0 }
  return onbuild.length === 0 ? build(inner, scope) : buildOnbuild(onbuild, inner, scope)
}

function build(inner: CstNode, scope: Scope): Instruction | undefined {
  switch (inner.name) {
    case 'from':
      return buildFrom(inner, scope)
    case 'run':
      return buildRun(inner, scope)
    case 'cmd':
    case 'entrypoint':
      return { kind: inner.name, ...baseOf(inner, scope), command: commandOf(inner, scope) }
    case 'env':
    case 'label':
      return buildPairs(inner, inner.name, scope)
    case 'arg':
      return buildArg(inner, scope)
    case 'copy':
    case 'add':
      return buildCopy(inner, inner.name, scope)
    case 'shell':
      return buildShell(inner, scope)
    case 'healthcheck':
      return buildHealthcheck(inner, scope)
    case 'expose':
      return { kind: 'expose', ...baseOf(inner, scope), words: wordsOf(inner, scope), json: false }
    case 'volume':
      return buildVolume(inner, scope)
    default:
      return buildSingleWord(inner, scope)
  }
}

function buildFrom(cst: CstNode, scope: Scope): FromInstruction | undefined {
  const base = baseOf(cst, scope)
  const [image, as, name] = wordsOf(cst, scope)
  if (image === undefined) return undefined
  if (as !== undefined && as.text.toLowerCase() !== 'as') {
    const message = `FROM takes an image, or an image and AS NAME; found "${as.text}" where AS belongs`
    scope.report.error('DOCKERFILE_BAD_ARGUMENT', message, as.span, formHint('FROM'))
    return undefined
  }
  if (name !== undefined && !/^[a-z][a-z0-9-_.]*$/.test(name.text.toLowerCase())) {
    const message = `"${name.text}" cannot be the name of a stage`
    const hint = 'a name starts with a letter and has letters, digits, "-", "_" and "." only'
    scope.report.error('DOCKERFILE_BAD_STAGE_NAME', message, name.span, hint)
  }
  return { kind: 'from', ...base, base: image, name, as }
}

function buildRun(cst: CstNode, scope: Scope): RunInstruction {
  const base = baseOf(cst, scope)
  checkRunFlags(base.flags, scope.report)
  const heredocs = scope.lexed.heredocs.map((heredoc) => heredocOf(heredoc, scope))
  return { kind: 'run', ...base, command: commandOf(cst, scope), heredocs }
}

function buildPairs(cst: CstNode, kind: 'env' | 'label', scope: Scope): KeyValueInstruction {
  const base = baseOf(cst, scope)
  const pairs = nodeIn(cst, 'pairs')
  const [legacyKey] = tokensIn(pairs, 'LegacyKey')
  const [rest] = tokensIn(pairs, 'RestText')
  if (legacyKey !== undefined && rest !== undefined) {
    const key = wordOf(legacyKey, scope)
    const value = wordOf(rest, scope)
    return { kind, ...base, pairs: [{ key, value, span: { start: key.span.start, end: value.span.end } }], legacy: true }
  }
  return { kind, ...base, pairs: tokensIn(pairs, 'Pair').map((token) => pairOf(token, kind, scope)), legacy: false }
}

function buildArg(cst: CstNode, scope: Scope): KeyValueInstruction {
  return {
    kind: 'arg',
    ...baseOf(cst, scope),
    pairs: tokensIn(cst, 'Definition').map((token) => pairOf(token, 'arg', scope)),
    legacy: false,
  }
}

function pairOf(token: IToken, kind: string, scope: Scope): KeyValue {
  const { line } = scope.lexed
  const start = token.startOffset
  const end = start + token.image.length
  const span = line.span(start, end)
  const equals = token.image.indexOf('=')
  if (equals < 0) return { key: { text: token.image, span }, value: undefined, span }
  if (equals === 0) {
    scope.report.error('DOCKERFILE_BAD_ARGUMENT', `${kind.toUpperCase()} names may not be blank`, span, 'write a name before =')
  }
  return {
    key: { text: token.image.slice(0, equals), span: line.span(start, start + equals) },
    value: { text: token.image.slice(equals + 1), span: line.span(start + equals + 1, end) },
    span,
  }
}

function buildCopy(cst: CstNode, kind: 'copy' | 'add', scope: Scope): CopyInstruction | undefined {
  const base = baseOf(cst, scope)
  const { words, json } = listOf(cst, scope)
  const name = kind.toUpperCase()
  const destination = words.at(-1)
  if (destination === undefined || words.length < 2) {
    const found = words.length === 0 ? 'none' : 'only one word'
    const message = `${name} takes at least one source and a destination, found ${found}`
    scope.report.error('DOCKERFILE_BAD_ARGUMENT', message, destination?.span ?? base.keywordSpan, formHint(name))
    return undefined
  }
  const sources: Word[] = []
  const heredocs: Heredoc[] = []
  for (const word of words.slice(0, -1)) {
    const heredoc = json ? undefined : copyHeredoc(word, scope)
    if (heredoc === undefined) sources.push(word)
    else heredocs.push(heredoc)
  }
  if (!json && isHeredocWord(destination)) {
    const message = `${name} cannot have the here-document ${destination.text} as its destination`
    scope.report.error('DOCKERFILE_BAD_ARGUMENT', message, destination.span, formHint(name))
  }
  return { kind, ...base, sources, heredocs, destination, json }
}

function isHeredocWord(word: Word): boolean {
  const mark = parseHeredocWord(word.text)
  return mark !== undefined && mark !== 'malformed'
}

/** A source that is a here-document. Of several with one name the last body counts for all. */
function copyHeredoc(word: Word, scope: Scope): Heredoc | undefined {
  const mark = parseHeredocWord(word.text)
  if (mark === undefined || mark === 'malformed') return undefined
  const found = scope.lexed.heredocs.findLast((heredoc) => heredoc.mark.name === mark.name)
  if (found === undefined) {
    const message = `the here-document ${word.text} was not read, because the quotes in this line do not match`
    scope.report.error('DOCKERFILE_SYNTAX', message, word.span, 'close every quote, or escape it')
    return undefined
  }
  return { ...heredocOf({ mark, body: found.body }, scope), span: word.span }
}

function heredocOf({ mark, body }: LexedHeredoc, scope: Scope): Heredoc {
  const raw = scope.text.slice(body.content.start, body.content.end)
  return {
    name: mark.name,
    fileDescriptor: mark.fileDescriptor,
    content: mark.stripTabs ? stripLeadingTabs(raw) : raw,
    expand: mark.expand,
    stripTabs: mark.stripTabs,
    span: scope.lexed.line.span(mark.start, mark.end),
    contentSpan: body.content,
  }
}

function buildShell(cst: CstNode, scope: Scope): ShellInstruction | undefined {
  const base = baseOf(cst, scope)
  const argv = jsonWords(nodeIn(cst, 'json'), scope).map(({ text }) => text)
  if (argv.length === 0) {
    scope.report.error('DOCKERFILE_BAD_ARGUMENT', 'SHELL takes at least one argument, found none', base.span, formHint('SHELL'))
    return undefined
  }
  return { kind: 'shell', ...base, argv }
}

function buildVolume(cst: CstNode, scope: Scope): WordsInstruction {
  const base = baseOf(cst, scope)
  const { words, json } = listOf(cst, scope)
  const trimmed = words.map((word) => ({ ...word, text: trimBlanks(word.text) }))
  if (words.length === 0) {
    scope.report.error('DOCKERFILE_BAD_ARGUMENT', 'VOLUME takes at least one argument, found none', base.span, formHint('VOLUME'))
  }
  for (const { text, span } of trimmed) {
    if (text === '') scope.report.error('DOCKERFILE_BAD_ARGUMENT', 'a VOLUME may not be an empty text', span, formHint('VOLUME'))
  }
  return { kind: 'volume', ...base, words: trimmed, json }
}

function buildSingleWord(cst: CstNode, scope: Scope): WordsInstruction {
  const kind = singleWord.find((name) => name === cst.name)
  if (kind === undefined) throw new Error(`no such rule: ${cst.name}`)
  return { kind, ...baseOf(cst, scope), words: tokensIn(cst, 'RestText').map((token) => wordOf(token, scope)), json: false }
}

function buildHealthcheck(cst: CstNode, scope: Scope): HealthcheckInstruction | undefined {
  const base = baseOf(cst, scope)
  const [kind] = tokensIn(cst, 'HealthKind')
  if (kind === undefined) return undefined
  const word = wordOf(kind, scope)
  const command = commandOf(cst, scope)
  const isEmpty = command.form === 'exec' ? command.argv.length === 0 : command.text === ''
  const bad = (message: string, span: Span, hint?: string): void =>
    scope.report.error('DOCKERFILE_BAD_ARGUMENT', message, span, hint)
  const type = word.text.toUpperCase()
  if (type === 'NONE') {
    if (!isEmpty || command.form === 'exec') bad('HEALTHCHECK NONE takes no arguments', command.span, 'remove what follows NONE')
    return { kind: 'healthcheck', ...base, command: undefined }
  }
  if (type !== 'CMD') {
    bad(
      `HEALTHCHECK takes CMD or NONE, found "${word.text}"`,
      word.span,
      didYouMean(type, ['CMD', 'NONE']) ?? formHint('HEALTHCHECK'),
    )
    return undefined
  }
  if (isEmpty) bad('HEALTHCHECK CMD has no command', word.span, formHint('HEALTHCHECK'))
  checkHealthFlags(base.flags, scope.report)
  return { kind: 'healthcheck', ...base, command }
}

function buildOnbuild(prefixes: readonly CstNode[], inner: CstNode, scope: Scope): OnbuildInstruction | undefined {
  const { report, lexed } = scope
  const [first, second] = prefixes
  if (first === undefined) return undefined
  const base = baseOf(first, { ...scope, nested: false })
  if (second !== undefined) {
    report.error('DOCKERFILE_BAD_ARGUMENT', 'ONBUILD cannot be chained', spanOf(firstToken(second), scope), 'remove one ONBUILD')
    return undefined
  }
  if (inner.name === 'from' || inner.name === 'maintainer') {
    const name = inner.name.toUpperCase()
    report.error(
      'DOCKERFILE_BAD_ARGUMENT',
      `ONBUILD cannot trigger ${name}`,
      spanOf(firstToken(inner), scope),
      formHint('ONBUILD'),
    )
    return undefined
  }
  const trigger = build(inner, scope)
  if (trigger === undefined) return undefined
  const bodies = lexed.heredocs.map(({ mark, body }) => `\n${scope.text.slice(body.content.start, body.content.end)}${mark.name}`)
  return { kind: 'onbuild', ...base, trigger, text: base.rest + bodies.join('') }
}

function baseOf(cst: CstNode, scope: Scope): Base {
  const { lexed, report, nested } = scope
  const keyword = firstToken(cst)
  const flagTokens = tokensIn(nodeIn(cst, 'flags'), 'Flag')
  const flags = flagTokens.map((token) => ({ ...readFlag(token.image), span: spanOf(token, scope) }))
  checkKnownFlags(cst.name, flags, report)
  const keywordEnd = keyword.startOffset + keyword.image.length
  const comments = nested ? [] : lexed.line.comments
  return {
    keyword: keyword.image,
    keywordSpan: spanOf(keyword, scope),
    span: { start: spanOf(keyword, scope).start, end: lexed.span.end },
    flags,
    rest: trimBlanks(lexed.line.text.slice(keywordEnd)),
    comment: comments.length === 0 ? undefined : comments.join('\n'),
    skippedChecks: comments.flatMap(skippedChecksIn),
  }
}

function skippedChecksIn(comment: string): string[] {
  const names = /^check\s*=\s*skip\s*=\s*(.*)$/i.exec(comment)?.[1] ?? ''
  return names
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

function commandOf(cst: CstNode, scope: Scope): CommandLine {
  const command = nodeIn(cst, 'command')
  const [json] = nodesIn(command, 'json')
  if (json !== undefined) {
    return { form: 'exec', argv: jsonWords(json, scope).map(({ text }) => text), span: jsonSpan(json, scope) }
  }
  const [rest] = tokensIn(command, 'RestText')
  const end = scope.lexed.line.text.length
  if (rest === undefined) return { form: 'shell', text: '', span: scope.lexed.line.span(end, end) }
  return { form: 'shell', text: rest.image, span: spanOf(rest, scope) }
}

function listOf(cst: CstNode, scope: Scope): { readonly words: readonly Word[]; readonly json: boolean } {
  const list = nodeIn(cst, 'list')
  const [json] = nodesIn(list, 'json')
  return json === undefined ? { words: wordsOf(list, scope), json: false } : { words: jsonWords(json, scope), json: true }
}

function jsonWords(json: CstNode, scope: Scope): Word[] {
  return tokensIn(json, 'JsonString').map((token) => {
    const text: unknown = JSON.parse(token.image)
    // Half a surrogate pair is no text; left in, it would read as an escaped byte of a file name.
    return { text: String(text).replace(/\p{Surrogate}/gu, '\ufffd'), span: spanOf(token, scope) }
  })
}

function jsonSpan(json: CstNode, scope: Scope): Span {
  const [open] = tokensIn(json, 'JsonOpen')
  const [close] = tokensIn(json, 'JsonClose')
  return scope.lexed.line.span(open?.startOffset ?? 0, (close?.startOffset ?? 0) + 1)
}

function wordsOf(cst: CstNode, scope: Scope): Word[] {
  return tokensIn(cst, 'Word').map((token) => wordOf(token, scope))
}

function wordOf(token: IToken, scope: Scope): Word {
  return { text: token.image, span: spanOf(token, scope) }
}

function spanOf(token: IToken, { lexed }: Scope): Span {
  return lexed.line.span(token.startOffset, token.startOffset + token.image.length)
}
