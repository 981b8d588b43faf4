/**
 * The Go templates of `--format`: the part of text/template that docker's users write.
 *
 * Actions: `{{.A.B}}`, `{{json .A}}`, pipes, parentheses, texts and numbers, `if`/`else if`/`else`, `range`, `with`,
 * `$` for the whole, trim marks. Functions: json join split lower upper title len index eq ne and or not println
 * truncate pad slice. Everything else is an error that names it; nothing is printed half.
 */
import { UsageError } from '../core/errors.js'

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly pipe: Pipe }
  | {
      readonly kind: 'if' | 'range' | 'with'
      readonly pipe: Pipe
      readonly body: readonly Node[]
      readonly other: readonly Node[]
    }

type Pipe = readonly Call[]

interface Call {
  readonly name: string | undefined
  readonly args: readonly Term[]
}

type Term =
  | { readonly kind: 'path'; readonly from: 'dot' | 'root'; readonly names: readonly string[] }
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'pipe'; readonly pipe: Pipe; readonly names: readonly string[] }

/** Fills a template with a value. @throws UsageError USAGE_BAD_FLAG for what is no such template */
export function renderTemplate(template: string, value: unknown): string {
  return compileTemplate(template)(value)
}

/** Reads a template once, for many values. */
export function compileTemplate(template: string): (value: unknown) => string {
  const nodes = parseTemplate(template)
  return (value) => renderNodes(nodes, value, value)
}

function bad(what: string): UsageError {
  return new UsageError('USAGE_BAD_FLAG', `the template of --format ${what}`, {
    hint: 'for example --format "{{.ID}} {{json .Labels}}"',
  })
}

// ---- reading

interface Action {
  readonly words: readonly string[]
}

function parseTemplate(template: string): readonly Node[] {
  const parts = splitActions(template.replaceAll('\\t', '\t').replaceAll('\\n', '\n'))
  const reader = { parts, at: 0 }
  const { nodes, ended } = parseBlock(reader)
  if (ended !== undefined) throw bad(`has a {{${ended.words.join(' ')}}} too many`)
  return nodes
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

/** Texts in quotes, parentheses, pipes, numbers, paths and names. */
function wordsOf(inner: string): string[] {
  const pattern = /\s*("(?:[^"\\]|\\.)*"|`[^`]*`|[()|]|[^\s()|"`]+)/gy
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
    else nodes.push({ kind: 'print', pipe: parsePipe(part.words) })
  }
  return { nodes, ended: undefined }
}

function parseControl(
  kind: 'if' | 'range' | 'with',
  words: readonly string[],
  reader: { readonly parts: readonly (string | Action)[]; at: number },
): Node {
  const pipe = parsePipe(words)
  const { nodes: body, ended } = parseBlock(reader)
  if (ended === undefined) throw bad(`has a {{${kind}}} without {{end}}`)
  if (ended.words[0] === 'end') return { kind, pipe, body, other: [] }
  if (ended.words[1] === 'if') return { kind, pipe, body, other: [parseControl('if', ended.words.slice(2), reader)] }
  const { nodes: other, ended: last } = parseBlock(reader)
  if (last?.words[0] !== 'end') throw bad(`has a {{${kind}}} without {{end}}`)
  return { kind, pipe, body, other }
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
  if (fromDot !== undefined) return { kind: 'path', from: 'dot', names: fromDot }
  const fromRoot = word === '$' ? [] : pathOf(word, '$.')
  if (fromRoot !== undefined) return { kind: 'path', from: 'root', names: fromRoot }
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

function renderNodes(nodes: readonly Node[], dot: unknown, root: unknown): string {
  return nodes.map((node) => renderNode(node, dot, root)).join('')
}

function renderNode(node: Node, dot: unknown, root: unknown): string {
  if (node.kind === 'text') return node.text
  const value = evaluate(node.pipe, dot, root)
  if (node.kind === 'print') return printed(value)
  if (node.kind === 'range') {
    const items = itemsOf(value)
    return items.length === 0
      ? renderNodes(node.other, dot, root)
      : items.map((item) => renderNodes(node.body, item, root)).join('')
  }
  if (!isTrue(value)) return renderNodes(node.other, dot, root)
  return renderNodes(node.body, node.kind === 'with' ? value : dot, root)
}

function evaluate(pipe: Pipe, dot: unknown, root: unknown): unknown {
  let value: unknown
  pipe.forEach((call, index) => {
    const args = call.args.map((term) => resolveTerm(term, dot, root))
    if (index > 0) args.push(value)
    const apply = call.name === undefined ? undefined : functions[call.name]
    if (apply === undefined && args.length > 1) throw bad('pipes a value into something that is no function')
    value = apply === undefined ? args[0] : apply(args)
  })
  return value
}

function resolveTerm(term: Term, dot: unknown, root: unknown): unknown {
  if (term.kind === 'value') return term.value
  if (term.kind === 'pipe') return walk(evaluate(term.pipe, dot, root), term.names)
  return walk(term.from === 'dot' ? dot : root, term.names)
}

function walk(value: unknown, names: readonly string[]): unknown {
  let current = value
  for (const name of names) {
    if (current === undefined || current === null) return undefined
    if (typeof current !== 'object') throw bad(`asks for .${name} of "${printed(current)}", which has no fields`)
    if (!Object.hasOwn(current, name) && !isOpen(current)) {
      throw bad(
        `asks for .${name}; there are ${Object.keys(current)
          .map((key) => `.${key}`)
          .join(' ')}`,
      )
    }
    current = (current as Readonly<Record<string, unknown>>)[name]
  }
  return current
}

/** Maps of names that the user chose (labels): a missing name is empty there, as in Go, and not a mistake. */
function isOpen(value: object): boolean {
  return Array.isArray(value) || Object.keys(value).some((key) => !/^[A-Z]/.test(key)) || Object.keys(value).length === 0
}

function itemsOf(value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value
  if (typeof value === 'object')
    return Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, item]) => item)
  throw bad(`ranges over "${printed(value)}", which is no list`)
}

function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0
  return Boolean(value)
}

/** As Go prints values: lists as `[a b]`, maps as `map[k:v]`. */
function printed(value: unknown): string {
  if (value === undefined || value === null) return '<no value>'
  if (Array.isArray(value)) return `[${value.map(printed).join(' ')}]`
  if (typeof value !== 'object') return String(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `map[${entries.map(([key, item]) => `${key}:${printed(item)}`).join(' ')}]`
}

type TemplateFunction = (args: readonly unknown[]) => unknown

function text(value: unknown): string {
  return typeof value === 'string' ? value : printed(value)
}

function lengthOf(value: unknown): number {
  if (typeof value === 'string' || Array.isArray(value)) return value.length
  return typeof value === 'object' && value !== null ? Object.keys(value).length : 0
}

function indexed(value: unknown, keys: readonly unknown[]): unknown {
  return keys.reduce<unknown>((current, key) => {
    if (typeof current !== 'object' || current === null) return undefined
    return (current as Readonly<Record<string, unknown>>)[String(key)]
  }, value)
}

const functions: Readonly<Record<string, TemplateFunction>> = {
  json: ([value]) => JSON.stringify(value ?? null),
  join: ([list, separator]) =>
    itemsOf(list)
      .map(text)
      .join(text(separator ?? '')),
  split: ([value, separator]) => text(value).split(text(separator)),
  lower: ([value]) => text(value).toLowerCase(),
  upper: ([value]) => text(value).toUpperCase(),
  title: ([value]) => text(value).replace(/(^|\s)\S/g, (letter) => letter.toUpperCase()),
  truncate: ([value, length]) => text(value).slice(0, Number(length)),
  pad: ([value, before, after]) => `${' '.repeat(Number(before))}${text(value)}${' '.repeat(Number(after))}`,
  slice: ([value, from, to]) =>
    Array.isArray(value) ? value.slice(Number(from ?? 0), to as number) : text(value).slice(Number(from ?? 0), to as number),
  println: (args) => `${args.map(text).join(' ')}\n`,
  print: (args) => args.map(text).join(''),
  len: ([value]) => lengthOf(value),
  index: ([value, ...keys]) => indexed(value, keys),
  eq: ([first, ...others]) => others.some((other) => other === first),
  ne: ([first, second]) => first !== second,
  not: ([value]) => !isTrue(value),
  and: (args) => args.find((value) => !isTrue(value)) ?? args.at(-1),
  or: (args) => args.find(isTrue) ?? args.at(-1),
}
