/**
 * Quotes, escapes and `$NAME`, `${NAME…}` expansion of Dockerfile words over an environment (semantics.md 20, 24–30).
 *
 * The work is done with an explicit stack, so `${a:-${b:-…` may nest as deep as the line is long. Patterns know `*` and
 * `?` only and are matched without regular expressions, so no pattern can make the time explode. This file does not load
 * chevrotain: lowering and linting use it as well as the parser.
 */
import { isBlank } from './blank.js'
import { type ExpansionProblem, Problem, type Substitution, substitute, unsupported } from './substitution.js'

/** Looks up a variable; undefined means unset. A `Map` will do. */
export interface Env {
  get(name: string): string | undefined
}

/** How a text is expanded. */
export interface ExpandOptions {
  /** The file's escape character; `\` when left out. */
  readonly escape?: '\\' | '`'
  /**
   * `word` removes quotes. `heredoc` is for bodies: quotes are ordinary characters, and `\` (whatever the file's escape
   * character) escapes any character, a line end too. `keep` leaves quotes, escapes and unset variables as written;
   * `keep-unset` leaves unset variables only.
   */
  readonly mode?: 'word' | 'heredoc' | 'keep' | 'keep-unset'
}

/** An expanded word. */
export interface Expansion {
  readonly value: string
  /** Variables that were looked up and found, each once, in order. */
  readonly used: readonly string[]
  /** Variables that were looked up and not found. */
  readonly unset: readonly string[]
}

/** A word of an expanded text; offsets are into the text that was given. */
export interface SplitWord {
  readonly text: string
  readonly start: number
  readonly end: number
}

/** What expansion answers: `problem` is set when there is no value. */
export type Expanded<T> = (T & { readonly problem?: undefined }) | { readonly problem: ExpansionProblem }

/** Expands a text to one word: blanks stay. */
export function expandWord(text: string, env: Env, options: ExpandOptions = {}): Expanded<Expansion> {
  const expanded = new Expander(text, env, options).run()
  if (expanded.problem !== undefined) return expanded
  return { value: expanded.value, used: expanded.used, unset: expanded.unset }
}

/** Expands a text and splits it at blanks outside quotes, those that came from a variable too (EXPOSE). */
export function expandWords(
  text: string,
  env: Env,
  options: ExpandOptions = {},
): Expanded<Expansion & { readonly words: readonly SplitWord[] }> {
  return new Expander(text, env, options).run()
}

/** A text that is being read: the whole, or what stands in `${NAME:-here}`. */
interface Frame {
  readonly substitution: Substitution | undefined
  readonly rawEscapes: boolean
  stop: string
  out: string[]
  /** The text inside double quotes, while inside, and where they start. */
  quoted: string[] | undefined
  quoteStart: number
}

const nameStart = /[\p{L}_]/u
const namePart = /[\p{L}\p{Nd}_]/u
const digit = /\p{Nd}/u
const specialNames = '@*#?-$!'

class Expander {
  readonly #text: string
  readonly #env: Env
  readonly #escape: string
  readonly #quotes: boolean
  readonly #keep: boolean
  readonly #keepUnset: boolean
  readonly #used = new Set<string>()
  readonly #unset = new Set<string>()
  readonly #splitter = new Splitter()
  readonly #stack: Frame[] = []
  #at = 0

  constructor(text: string, env: Env, { escape: escapeChar = '\\', mode = 'word' }: ExpandOptions) {
    this.#text = text
    this.#env = env
    this.#escape = mode === 'heredoc' ? '\\' : escapeChar
    this.#quotes = mode !== 'heredoc'
    this.#keep = mode === 'keep'
    this.#keepUnset = mode === 'keep' || mode === 'keep-unset'
  }

  run(): Expanded<Expansion & { readonly words: readonly SplitWord[] }> {
    const base = newFrame(undefined, '', this.#keep)
    this.#stack.push(base)
    const problem = this.#readAll()
    if (problem !== undefined) return { problem: problem.problem }
    const words = this.#splitter.finish(this.#text.length)
    return { value: base.out.join(''), used: [...this.#used], unset: [...this.#unset], words }
  }

  #readAll(): Problem | undefined {
    for (;;) {
      const frame = this.#stack.at(-1)
      if (frame === undefined) return undefined
      if (this.#at >= this.#text.length) return this.#atEnd(frame)
      const problem = frame.quoted === undefined ? this.#readPlain(frame) : this.#readQuoted(frame, frame.quoted)
      if (problem !== undefined) return problem
    }
  }

  #atEnd(frame: Frame): Problem | undefined {
    const { substitution } = frame
    if (substitution !== undefined) {
      const missing = frame.stop === '/' ? "'/'" : "'}'"
      return new Problem('DOCKERFILE_BAD_SUBSTITUTION', `missing ${missing} after "\${${substitution.name}"`, substitution.start)
    }
    if (frame.quoted !== undefined) return unclosedQuote('double', frame.quoteStart)
    return undefined
  }

  #readPlain(frame: Frame): Problem | undefined {
    const char = this.#text.charAt(this.#at)
    if (char === frame.stop) {
      this.#at++
      return this.#close(frame)
    }
    if (char === '$') return this.#readDollar()
    if (this.#quotes && char === "'") return this.#readSingleQuotes(frame)
    if (this.#quotes && char === '"') {
      frame.quoted = this.#keep ? [char] : []
      frame.quoteStart = this.#at++
      return undefined
    }
    if (this.#quotes && char === '<' && this.#text[this.#at + 1] === '<') return this.#readHeredocMark(frame)
    if (char === this.#escape) return this.#readEscape(frame)
    frame.out.push(char)
    if (frame.substitution === undefined) this.#splitter.add(char, this.#at)
    this.#at++
    return undefined
  }

  /** The escape character takes away the next character's meaning; at the end it vanishes. */
  #readEscape(frame: Frame): undefined {
    const start = this.#at++
    const escaped = this.#text.charAt(this.#at++)
    if (frame.rawEscapes) this.#addRaw(frame, this.#escape, start)
    if (escaped !== '') this.#addRaw(frame, escaped, start)
  }

  #readSingleQuotes(frame: Frame): Problem | undefined {
    const start = this.#at
    const end = this.#text.indexOf("'", start + 1)
    if (end < 0) return unclosedQuote('single', start)
    this.#addRaw(frame, this.#keep ? this.#text.slice(start, end + 1) : this.#text.slice(start + 1, end), start)
    this.#at = end + 1
    return undefined
  }

  /** `<<`, `-` and blanks after it stay together, so that `RUN << EOF` has a here-document. */
  #readHeredocMark(frame: Frame): undefined {
    const start = this.#at
    this.#at += 2
    if (this.#text[this.#at] === '-') this.#at++
    while (this.#at < this.#text.length && isBlank(this.#text.charAt(this.#at))) this.#at++
    this.#addRaw(frame, this.#text.slice(start, this.#at), start)
  }

  /** Inside double quotes only `"`, `$` and the escape character can be escaped. */
  #readQuoted(frame: Frame, quoted: string[]): Problem | undefined {
    const char = this.#text.charAt(this.#at)
    if (char === '$') return this.#readDollar()
    this.#at++
    if (char === '"') {
      if (this.#keep) quoted.push(char)
      frame.quoted = undefined
      this.#addRaw(frame, quoted.join(''), frame.quoteStart)
    } else if (char === this.#escape) {
      const next = this.#text.charAt(this.#at)
      if (frame.rawEscapes) quoted.push(char)
      if (next === '"' || next === '$' || next === this.#escape) {
        quoted.push(next)
        this.#at++
      } else if (next !== '') quoted.push(char)
    } else quoted.push(char)
    return undefined
  }

  #readDollar(): Problem | undefined {
    const start = this.#at++
    if (this.#text[this.#at] !== '{') {
      const name = this.#readName()
      if (name === '') this.#addExpanded('$', start)
      else this.#addExpanded(this.#lookUp(name) ?? (this.#keepUnset ? `$${name}` : ''), start)
      return undefined
    }
    this.#at++
    const next = this.#text.charAt(this.#at)
    if (next === '') return new Problem('DOCKERFILE_BAD_SUBSTITUTION', `missing '}' after "\${"`, start)
    if (next === '{' || next === '}' || next === ':') {
      return new Problem('DOCKERFILE_BAD_SUBSTITUTION', `a variable name is missing after "\${"`, start)
    }
    return this.#readBraces(start, this.#readName())
  }

  #readBraces(start: number, name: string): Problem | undefined {
    let operator = this.#readChar()
    if (operator === '}') {
      this.#addExpanded(this.#lookUp(name) ?? (this.#keepUnset ? `\${${name}}` : ''), start)
      return undefined
    }
    if (operator === '') return new Problem('DOCKERFILE_BAD_SUBSTITUTION', `missing '}' after "\${${name}"`, start)
    const nullIsUnset = operator === ':'
    if (nullIsUnset) operator = this.#readChar()
    else if (!'+-?#%/'.includes(operator)) return unsupported(operator, start)
    const all = operator === '/' && !nullIsUnset && this.#text[this.#at] === '/'
    if (all) this.#at++
    const substitution: Substitution = { name, operator, nullIsUnset, start, all, pattern: undefined }
    const replaces = operator === '/' && !nullIsUnset
    this.#stack.push(newFrame(substitution, replaces ? '/' : '}', replaces || operator === '#' || operator === '%'))
    return undefined
  }

  /** The end of `${NAME…}`, or of the pattern in `${NAME/pattern/…}`. */
  #close(frame: Frame): Problem | undefined {
    const { substitution } = frame
    if (substitution === undefined) throw new Error('the outermost text has no stop character')
    const text = frame.out.join('')
    if (frame.stop === '/') {
      substitution.pattern = text
      frame.stop = '}'
      frame.out = []
      return undefined
    }
    this.#stack.pop()
    const value = this.#lookUp(substitution.name)
    if (value === undefined && this.#keepUnset) {
      this.#addExpanded(this.#asWritten(substitution, text), substitution.start)
      return undefined
    }
    const result = substitute(substitution, value, text)
    if (result instanceof Problem) return result
    this.#addExpanded(result, substitution.start)
    return undefined
  }

  #asWritten({ name, operator, nullIsUnset, pattern, all }: Substitution, text: string): string {
    if (pattern !== undefined) return `\${${name}/${all ? '/' : ''}${pattern}/${text}}`
    return `\${${name}${nullIsUnset ? ':' : ''}${operator}${text}}`
  }

  /** Adds text whose blanks do not separate words. */
  #addRaw(frame: Frame, text: string, start: number): void {
    frame.out.push(text)
    if (frame.substitution === undefined) this.#splitter.addRaw(text, start)
  }

  /** Adds a variable's value to the innermost text; outside quotes its blanks separate words. */
  #addExpanded(text: string, start: number): void {
    const frame = this.#stack.at(-1)
    if (frame?.quoted !== undefined) {
      frame.quoted.push(text)
      return
    }
    frame?.out.push(text)
    if (frame?.substitution === undefined) for (const char of text) this.#splitter.add(char, start)
  }

  #lookUp(name: string): string | undefined {
    const value = this.#env.get(name)
    if (value === undefined) this.#unset.add(name)
    else this.#used.add(name)
    return value
  }

  /** A name, a run of digits, or one special character (`$@`, `$#`, …); empty when there is none. */
  #readName(): string {
    const start = this.#at
    const first = this.#peek()
    if (digit.test(first)) while (digit.test(this.#peek())) this.#at += this.#peek().length
    else if (first !== '' && specialNames.includes(first)) this.#at++
    else if (nameStart.test(first)) while (namePart.test(this.#peek())) this.#at += this.#peek().length
    return this.#text.slice(start, this.#at)
  }

  #peek(): string {
    const code = this.#text.codePointAt(this.#at)
    return code === undefined ? '' : String.fromCodePoint(code)
  }

  #readChar(): string {
    const char = this.#peek()
    this.#at += char.length
    return char
  }
}

function newFrame(substitution: Substitution | undefined, stop: string, rawEscapes: boolean): Frame {
  return { substitution, rawEscapes, stop, out: [], quoted: undefined, quoteStart: 0 }
}

function unclosedQuote(kind: 'single' | 'double', offset: number): Problem {
  const quote = kind === 'single' ? "'" : '"'
  return new Problem(
    'DOCKERFILE_SYNTAX',
    `a ${kind} quote (${quote}) is opened and not closed`,
    offset,
    `add the closing ${quote}`,
  )
}

/** Collects words: a blank ends one, unless it was quoted or escaped. */
class Splitter {
  readonly #words: SplitWord[] = []
  #parts: string[] = []
  #inWord = false
  #start = 0

  add(char: string, at: number): void {
    if (!isBlank(char)) this.addRaw(char, at)
    else if (this.#inWord) this.#end(at)
  }

  addRaw(text: string, at: number): void {
    if (!this.#inWord || this.#parts.length === 0) this.#start = at
    this.#inWord = true
    if (text !== '') this.#parts.push(text)
  }

  finish(end: number): readonly SplitWord[] {
    this.#end(end)
    return this.#words
  }

  /** A word that is empty, `""`, is no word. */
  #end(at: number): void {
    if (this.#parts.length === 0) return
    this.#words.push({ text: this.#parts.join(''), start: this.#start, end: at })
    this.#parts = []
    this.#inWord = false
  }
}
