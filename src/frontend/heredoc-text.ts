/** Texts of here-documents: what the shell gets, what progress shows. */
import type { Heredoc } from '../../grammar/ast.js'
import { parseHeredocWord } from '../../grammar/heredocs.js'
import type { SourceFile } from '../core/span.js'

/** The first line of a here-document, with dots when there is more. */
export function summarizeHeredoc(content: string): string {
  const [first = '', second] = content.trim().split(/\r?\n/)
  return second === undefined ? first : `${first}...`
}

/** A command with its here-documents as a shell reads them: the bodies as they are in the file, each with its end line. */
export function rebuildHeredocs(command: string, heredocs: readonly Heredoc[], source: SourceFile): string {
  const bodies = heredocs.map(({ contentSpan, name }) => `\n${source.text.slice(contentSpan.start, contentSpan.end)}${name}`)
  return command + bodies.join('')
}

/** True when the command is one here-document and nothing else: `RUN <<EOF`. */
export function isLoneHeredoc(command: string): boolean {
  const mark = parseHeredocWord(command)
  return mark !== undefined && mark !== 'malformed'
}
