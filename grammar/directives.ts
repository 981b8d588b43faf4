/**
 * Parser directives: `# syntax=`, `# escape=` and `# check=` at the very top of a file (semantics.md 1–4).
 *
 * The first line that is not a well-formed known directive ends the section: a blank line, an ordinary comment, an
 * unknown key. `readDirectives` is for the grammar; `findDirective` answers what a front end other than this one is asked for.
 */
import type { Diagnostic } from '../src/core/diagnostic.js'
import type { SourceFile } from '../src/core/span.js'
import type { Directive } from './ast.js'
import { isBlank, skipBlanks } from './blank.js'

/** The value of `# syntax=` that switches mille's own words on. */
export const labsSyntax = 'mille/labs'

const known = ['syntax', 'escape', 'check']
/** The text ends with no blank: a second run of blanks here would take time in proportion to the square of the line. */
const form = /^([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*([^\n]+)$/

/** The directives of a file and where the section ends. */
export interface DirectiveSection {
  readonly directives: readonly Directive[]
  readonly escape: '\\' | '`'
  /** The offset after the last directive line. */
  readonly end: number
  readonly diagnostics: readonly Diagnostic[]
}

/** Reads the directives of a Dockerfile. */
export function readDirectives(source: SourceFile): DirectiveSection {
  const diagnostics: Diagnostic[] = []
  const { directives, end } = readSection(source.text, '#', (directive) => {
    diagnostics.push({
      severity: 'error',
      code: 'DOCKERFILE_BAD_DIRECTIVE',
      message: `the directive "${directive.name}" is given twice, only one is allowed`,
      source,
      span: directive.span,
      hint: 'remove one of the two lines',
    })
  })
  const directive = directives.find(({ name }) => name === 'escape')
  if (directive === undefined || directive.value === '\\') return { directives, escape: '\\', end, diagnostics }
  if (directive.value === '`') return { directives, escape: '`', end, diagnostics }
  diagnostics.push({
    severity: 'error',
    code: 'DOCKERFILE_BAD_DIRECTIVE',
    message: `the escape character is "${directive.value}", expected \\ or \``,
    source,
    span: directive.span,
    hint: 'write # escape=` or # escape=\\',
  })
  return { directives, escape: '\\', end, diagnostics }
}

/** A directive as `findDirective` answers it. */
export interface FoundDirective {
  /** The value up to the first blank. */
  readonly ref: string
  readonly value: string
  /** 1-based; 0 for the JSON form. */
  readonly line: number
}

/**
 * Looks for one directive in any text, after a byte order mark and a `#!` line.
 *
 * @param anyFormat also accept `//key=value` and a JSON object with the key, as `syntax` may be written
 */
export function findDirective(key: string, text: string, anyFormat: boolean): FoundDirective | undefined {
  const bare = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
  const shebang = bare.startsWith('#!') ? bare.slice(0, bare.indexOf('\n') + 1 || bare.length) : ''
  const rest = bare.slice(shebang.length)
  const firstLine = shebang === '' ? 1 : 2
  for (const prefix of anyFormat ? ['#', '//'] : ['#']) {
    const found = readSection(rest, prefix).directives.find(({ name }) => name === key)
    if (found === undefined) continue
    const line = firstLine + rest.slice(0, found.span.start).split('\n').length - 1
    return { ref: firstWord(found.value), value: found.value, line }
  }
  const value = anyFormat ? jsonValue(key, rest) : undefined
  return value === undefined ? undefined : { ref: value, value, line: firstLine - 1 }
}

function firstWord(value: string): string {
  const blank = value.indexOf(' ')
  return blank < 0 ? value : value.slice(0, blank)
}

/** Reads directive lines that start with `prefix`; a key that came before is reported and left out. */
export function readSection(
  text: string,
  prefix: string,
  onRepeated?: (directive: Directive) => void,
): { readonly directives: readonly Directive[]; readonly end: number } {
  const directives: Directive[] = []
  let end = text.charCodeAt(0) === 0xfeff ? 1 : 0
  while (end < text.length) {
    const newline = text.indexOf('\n', end)
    const stop = newline < 0 ? text.length : newline
    const directive = readDirective(text, end, stop, prefix)
    if (directive === undefined) break
    end = newline < 0 ? stop : stop + 1
    if (directives.some(({ name }) => name === directive.name)) onRepeated?.(directive)
    else directives.push(directive)
  }
  return { directives, end }
}

function readDirective(text: string, start: number, stop: number, prefix: string): Directive | undefined {
  const hash = skipBlanks(text, start)
  if (hash >= stop || !text.startsWith(prefix, hash)) return undefined
  let end = stop
  while (end > hash && isBlank(text.charAt(end - 1))) end--
  const match = form.exec(text.slice(skipBlanks(text, hash + prefix.length), end))
  const name = match?.[1]?.toLowerCase() ?? ''
  if (!known.includes(name)) return undefined
  return { name, value: match?.[2] ?? '', span: { start: hash, end } }
}

function jsonValue(key: string, text: string): string | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const found: unknown = Reflect.get(value, key)
  return typeof found === 'string' && Object.hasOwn(value, key) ? found : undefined
}
