/** Finds the `<<NAME` words of a line (semantics.md 14–16). Reading their bodies is the lexer's work. */
import { expandWords } from './words.js'

/** A `<<NAME` word. `start` and `end` are offsets in the line it was found in. */
export interface HeredocMark {
  readonly name: string
  readonly fileDescriptor: number
  readonly expand: boolean
  readonly stripTabs: boolean
  readonly start: number
  readonly end: number
}

const form = /^(\d*)<<(-?)[\t\n\f\r ]*([^<]*)$/
const nothing = new Map<string, string>()

/** All here-document words of a joined line, in order; a line that is no well-formed list of words has none. */
export function findHeredocs(line: string): HeredocMark[] {
  if (!line.includes('<<')) return []
  const split = expandWords(line, nothing, { mode: 'keep' })
  if (split.problem !== undefined) return []
  return split.words.flatMap(({ text, start, end }) => {
    const mark = parseHeredocWord(text)
    return mark === undefined || mark === 'malformed' ? [] : [{ ...mark, start, end }]
  })
}

/** Reads one word: undefined when it is no here-document, `malformed` when its quotes do not match. */
export function parseHeredocWord(word: string): HeredocMark | 'malformed' | undefined {
  const match = form.exec(word)
  const written = match?.[3] ?? ''
  if (match === null || written === '') return undefined
  // Names of variables stay as they are; only quotes and escapes are resolved.
  const plain = expandWords(written, nothing, { mode: 'keep-unset' })
  if (plain.problem !== undefined) return 'malformed'
  const [name] = plain.words
  if (name === undefined || plain.words.length !== 1) return undefined
  const kept = expandWords(written, nothing, { mode: 'keep' })
  const raw = kept.problem === undefined ? (kept.words[0]?.text ?? '') : ''
  return {
    name: name.text,
    fileDescriptor: Number(match[1] || '0'),
    expand: countQuotes(raw) === countQuotes(name.text),
    stripTabs: match[2] === '-',
    start: 0,
    end: word.length,
  }
}

function countQuotes(text: string): number {
  return text.replace(/[^'"]/g, '').length
}

/** A body without the tabs at the starts of its lines, for `<<-`. */
export function stripLeadingTabs(body: string): string {
  return body.replace(/^\t+/gm, '')
}
