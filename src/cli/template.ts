/**
 * The Go templates of `--format`: the part of text/template that docker's users write.
 *
 * Actions: `{{.A.B}}`, `{{json .A}}`, pipes, parentheses, texts and numbers, `if`/`else if`/`else`, `range`, `with`,
 * `$` for the whole, variables, trim marks. The functions are in template-functions.ts. Everything else is an error that
 * names it; nothing is printed half.
 */
import { bad, Duration, entriesOf, functions, isTrue, printed } from './template-functions.js'

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly pipe: Pipe }
  | { readonly kind: 'set'; readonly variables: Variables; readonly pipe: Pipe }
  | {
      readonly kind: 'if' | 'range' | 'with'
      readonly variables: Variables | undefined
      readonly pipe: Pipe
      readonly body: readonly Node[]
      readonly other: readonly Node[]
    }

/** What stands before `:=` or `=`: names with their `$`; `range` can have two. */
interface Variables {
  readonly names: readonly string[]
  readonly isNew: boolean
}

type Pipe = readonly Call[]

interface Call {
  readonly name: string | undefined
  readonly args: readonly Term[]
}

type Term =
  /** `variable` has its `$`; the whole is `$` alone, the current value undefined. */
  | { readonly kind: 'path'; readonly variable: string | undefined; readonly names: readonly string[] }
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'pipe'; readonly pipe: Pipe; readonly names: readonly string[] }

/** The variables of a block, and those around it. */
interface Scope {
  readonly values: Map<string, unknown>
  readonly around: Scope | undefined
}

/** Fills a template with a value. @throws UsageError USAGE_BAD_FLAG for what is no such template */
export function renderTemplate(template: string, value: unknown): string {
  return compileTemplate(template)(value)
}

/** Reads a template once, for many values. */
export function compileTemplate(template: string): (value: unknown) => string {
  const nodes = parseTemplate(template)
  return (value) => renderNodes(nodes, value, { values: new Map([['$', value]]), around: undefined })
}

// ---- reading

interface Action {
  readonly words: readonly string[]
}

function parseTemplate(template: string): readonly Node[] {
  const parts = splitActions(template).map((part) => (typeof part === 'string' ? unescaped(part) : part))
  const reader = { parts, at: 0 }
  const { nodes, ended } = parseBlock(reader)
  if (ended !== undefined) throw bad(`has a {{${ended.words.join(' ')}}} too many`)
  return nodes
}

/** Outside of actions `\t` and `\n` are what they say; inside, texts in quotes have their own rules. */
function unescaped(text: string): string {
  return text.replaceAll('\\t', '\t').replaceAll('\\n', '\n')
}

function splitActions(template: string): (string | Action)[] {
  const parts: (string | Action)[] = []
  let at = 0
  for (let open = template.indexOf('{{'); open >= 0; open = template.indexOf('{{', at)) {
    const close = template.indexOf('}}', open)
    if (close < 0) throw bad(`has a {{ without }} at "${template.slice(open, open + 20)}"`)
    let text = template.slice(at, open)
    let inner = template.slice(open + 2, close)
    at = close + 2
    if (inner.startsWith('- ')) {
      text = text.trimEnd()
      inner = inner.slice(1)
    }
    if (inner.endsWith(' -')) {
      inner = inner.slice(0, -1)
      while (/\s/.test(template[at] ?? '')) at++
    }
    if (/^\s*\/\*.*\*\/\s*$/s.test(inner)) parts.push(text)
    else parts.push(text, { words: wordsOf(inner) })
  }
  return [...parts, template.slice(at)]
}

/** Texts in quotes, parentheses, pipes, signs of variables, numbers, paths and names. */
function wordsOf(inner: string): string[] {
  const pattern = /\s*("(?:[^"\\]|\\.)*"|`[^`]*`|:=|[()|,=]|[^\s()|,:="`]+)/gy
  const words: string[] = []
  let end = 0
  for (let match = pattern.exec(inner); match !== null; match = pattern.exec(inner)) {
    words.push(match[1] ?? '')
    end = pattern.lastIndex
  }
  if (inner.slice(end).trim() !== '') throw bad(`has "${inner.slice(end).trim()}", which is not understood`)
  if (words.length === 0) throw bad('has an empty {{}}')
  return words
}

function parseBlock(reader: { readonly parts: readonly (string | Action)[]; at: number }): {
  readonly nodes: readonly Node[]
  readonly ended: Action | undefined
} {
  const nodes: Node[] = []
  while (reader.at < reader.parts.length) {
    const part = reader.parts[reader.at++] ?? ''
    if (typeof part === 'string') {
      if (part !== '') nodes.push({ kind: 'text', text: part })
      continue
    }
    const [first] = part.words
    if (first === 'end' || first === 'else') return { nodes, ended: part }
    if (first === 'if' || first === 'range' || first === 'with') nodes.push(parseControl(first, part.words.slice(1), reader))
    else nodes.push(parseAction(part.words))
  }
  return { nodes, ended: undefined }
}

function parseAction(words: readonly string[]): Node {
  const { variables, rest } = parseVariables(words, 1)
  const pipe = parsePipe(rest)
  return variables === undefined ? { kind: 'print', pipe } : { kind: 'set', variables, pipe }
}

/** The variables at the start of an action, and the words behind their sign. */
function parseVariables(
  words: readonly string[],
  most: number,
): { readonly variables: Variables | undefined; readonly rest: readonly string[] } {
  const sign = words.findIndex((word) => word === ':=' || word === '=')
  if (sign < 0) return { variables: undefined, rest: words }
  const names = words.slice(0, sign).filter((word) => word !== ',')
  if (names.length > most || sign !== 2 * names.length - 1 || !names.every((name) => /^\$\w+$/.test(name))) {
    throw bad(`has "${words.slice(0, sign + 1).join(' ')}", which is not understood`)
  }
  return { variables: { names, isNew: words[sign] === ':=' }, rest: words.slice(sign + 1) }
}

function parseControl(
  kind: 'if' | 'range' | 'with',
  words: readonly string[],
  reader: { readonly parts: readonly (string | Action)[]; at: number },
): Node {
  const { variables, rest } = parseVariables(words, kind === 'range' ? 2 : 1)
  const pipe = parsePipe(rest)
  const { nodes: body, ended } = parseBlock(reader)
  if (ended === undefined) throw bad(`has a {{${kind}}} without {{end}}`)
  if (ended.words[0] === 'end') return { kind, variables, pipe, body, other: [] }
  if (ended.words[1] === 'if') return { kind, variables, pipe, body, other: [parseControl('if', ended.words.slice(2), reader)] }
  const { nodes: other, ended: last } = parseBlock(reader)
  if (last?.words[0] !== 'end') throw bad(`has a {{${kind}}} without {{end}}`)
  return { kind, variables, pipe, body, other }
}

function parsePipe(words: readonly string[]): Pipe {
  const reader = { words, at: 0 }
  const pipe = parseCalls(reader)
  if (reader.at < words.length) throw bad(`has "${words[reader.at]}", which is not understood`)
  return pipe
}

interface WordReader {
  readonly words: readonly string[]
  at: number
}

function parseCalls(reader: WordReader): Pipe {
  const calls: Call[] = []
  for (;;) {
    const terms: Term[] = []
    let name: string | undefined
    for (let word = reader.words[reader.at]; word !== undefined && word !== '|' && word !== ')'; word = reader.words[reader.at]) {
      reader.at++
      if (terms.length === 0 && name === undefined && Object.hasOwn(functions, word)) name = word
      else terms.push(parseTerm(word, reader))
    }
    if (name === undefined && terms.length !== 1) throw bad(`has "${reader.words.join(' ')}", which is not understood`)
    calls.push({ name, args: terms })
    if (reader.words[reader.at] !== '|') return calls
    reader.at++
  }
}

function parseTerm(word: string, reader: WordReader): Term {
  if (word === '(') {
    const pipe = parseCalls(reader)
    if (reader.words[reader.at++] !== ')') throw bad('has a ( without )')
    const names = pathOf(reader.words[reader.at] ?? '', '.')
    if (names === undefined || names.length === 0) return { kind: 'pipe', pipe, names: [] }
    reader.at++
    return { kind: 'pipe', pipe, names }
  }
  if (word.startsWith('"')) return { kind: 'value', value: textIn(word) }
  if (word.startsWith('`')) return { kind: 'value', value: word.slice(1, -1) }
  if (/^-?\d+$/.test(word)) return { kind: 'value', value: Number(word) }
  if (word === 'true' || word === 'false') return { kind: 'value', value: word === 'true' }
  if (word === 'nil') return { kind: 'value', value: undefined }
  const fromDot = pathOf(word, '.')
  if (fromDot !== undefined) return { kind: 'path', variable: undefined, names: fromDot }
  const variable = /^\$\w*(?=\.|$)/.exec(word)?.[0]
  const names = variable === undefined || variable === word ? [] : pathOf(word.slice(variable.length), '.')
  if (variable !== undefined && names !== undefined) return { kind: 'path', variable, names }
  throw bad(`has "${word}", which mille does not know`)
}

function textIn(word: string): string {
  try {
    return JSON.parse(word) as string
  } catch (error) {
    if (error instanceof SyntaxError) throw bad(`has ${word}, which is no valid text`)
    throw error
  }
}

function pathOf(word: string, start: string): string[] | undefined {
  if (!word.startsWith(start)) return undefined
  const rest = word.slice(start.length)
  if (rest === '') return []
  return /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/.test(rest) ? rest.split('.') : undefined
}

// ---- filling in

function renderNodes(nodes: readonly Node[], dot: unknown, scope: Scope): string {
  return nodes.map((node) => renderNode(node, dot, scope)).join('')
}

function renderNode(node: Node, dot: unknown, scope: Scope): string {
  if (node.kind === 'text') return node.text
  if (node.kind === 'print') return printed(evaluate(node.pipe, dot, scope))
  if (node.kind === 'set') {
    assign(node.variables, [evaluate(node.pipe, dot, scope)], scope)
    return ''
  }
  const inner: Scope = { values: new Map(), around: scope }
  const value = evaluate(node.pipe, dot, inner)
  if (node.kind === 'range') {
    const entries = entriesOf(value)
    if (entries.length === 0) return renderNodes(node.other, dot, inner)
    return entries.map((entry) => renderItem(node.variables, entry, node.body, scope)).join('')
  }
  if (node.variables !== undefined) assign(node.variables, [value], inner)
  if (!isTrue(value)) return renderNodes(node.other, dot, inner)
  return renderNodes(node.body, node.kind === 'with' ? value : dot, inner)
}

/** One round of `range`: with one variable that is the item, with two the first is its number or name. */
function renderItem(
  variables: Variables | undefined,
  [key, item]: readonly [unknown, unknown],
  body: readonly Node[],
  around: Scope,
): string {
  const scope: Scope = { values: new Map(), around }
  if (variables !== undefined) assign(variables, variables.names.length === 2 ? [key, item] : [item], scope)
  return renderNodes(body, item, scope)
}

function assign({ names, isNew }: Variables, values: readonly unknown[], scope: Scope): void {
  for (const [index, name] of names.entries()) (isNew ? scope : scopeOf(name, scope)).values.set(name, values[index])
}

function scopeOf(name: string, scope: Scope): Scope {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.around) if (at.values.has(name)) return at
  throw bad(`has the variable ${name}, which is not set there`)
}

function evaluate(pipe: Pipe, dot: unknown, scope: Scope): unknown {
  let value: unknown
  pipe.forEach((call, index) => {
    const args = call.args.map((term) => resolveTerm(term, dot, scope))
    if (index > 0) args.push(value)
    const apply = call.name === undefined ? undefined : functions[call.name]
    if (apply === undefined && args.length > 1) throw bad('pipes a value into something that is no function')
    value = apply === undefined ? args[0] : apply(args)
  })
  return value
}

function resolveTerm(term: Term, dot: unknown, scope: Scope): unknown {
  if (term.kind === 'value') return term.value
  if (term.kind === 'pipe') return walk(evaluate(term.pipe, dot, scope), term.names)
  return walk(term.variable === undefined ? dot : scopeOf(term.variable, scope).values.get(term.variable), term.names)
}

/** The fields of a health check that are lengths of time, in nanoseconds. No other numbers are called so. */
const durations: ReadonlySet<string> = new Set(['Interval', 'Timeout', 'StartPeriod', 'StartInterval'])

function walk(value: unknown, names: readonly string[]): unknown {
  let current = value
  for (const name of names) {
    if (current === undefined || current === null) return undefined
    if (typeof current !== 'object' || current instanceof Duration) {
      throw bad(`asks for .${name} of "${printed(current)}", which has no fields`)
    }
    current = durationIn(current, name) ?? fieldOf(current, name)
  }
  return current
}

function fieldOf(value: object, name: string): unknown {
  if (Object.hasOwn(value, name) || isOpen(value)) return (value as Readonly<Record<string, unknown>>)[name]
  const known = Object.keys(value).map((key) => `.${key}`)
  throw bad(`asks for .${name}; there are ${known.join(' ')}`)
}

/** A length of time, which is 0 where a health check does not say it. */
function durationIn(value: object, name: string): Duration | undefined {
  if (!durations.has(name)) return undefined
  const absent = Object.hasOwn(value, 'Test') ? 0 : undefined
  const { [name]: field = absent } = value as Readonly<Record<string, unknown>>
  return typeof field === 'number' ? new Duration(field) : undefined
}

/** Maps of names that the user chose (labels): a missing name is empty there, as in Go, and not a mistake. */
function isOpen(value: object): boolean {
  return Array.isArray(value) || Object.keys(value).some((key) => !/^[A-Z]/.test(key)) || Object.keys(value).length === 0
}
