/**
 * The one renderer of errors and diagnostics (style.md, section 5).
 *
 * Values in, text out: the command line decides about colours and where the text goes. Everything that comes from
 * a file or a command is made printable first, so that a Dockerfile cannot move the cursor.
 */
import { type Diagnostic, type Note, sortDiagnostics } from './diagnostic.js'
import { BuildError, DockerfileError, RegistryError, SandboxError, SolveError, StoreError } from './errors.js'
import { lineAt, originOf, positionAt, type SourceFile, type Span } from './span.js'
import { displayWidth, printableLine } from './width.js'

/** How the text is made. */
export interface RenderOptions {
  /** Use ANSI colours. */
  readonly color: boolean
  /** Show causes and stacks. */
  readonly verbose?: boolean
}

/** A source line longer than this is shown as a window around the place. */
const maxSourceWidth = 160

/** The text of anything that was thrown, ending in a line feed. What is no `BuildError` is a bug and says so. */
export function renderError(error: unknown, options: RenderOptions): string {
  if (!(error instanceof BuildError)) return renderBug(error, options)
  if (error instanceof DockerfileError) {
    return sortDiagnostics(error.diagnostics)
      .map((diagnostic) => renderDiagnostic(diagnostic, options))
      .join('')
  }
  return lines([
    headline('error', error.code, error.message, error.source, error.span, options),
    ...snippet(error.source, error.span, options),
    ...detailsOf(error, options),
    ...hintLine(hintOf(error), options),
    ...(options.verbose ? causesOf(error) : []),
  ])
}

/** The text of one diagnostic, ending in a line feed. */
export function renderDiagnostic(diagnostic: Diagnostic, options: RenderOptions): string {
  const { severity, code, message, source, span } = diagnostic
  return lines([
    headline(severity, code, message, source, span, options),
    ...snippet(source, span, options),
    ...(diagnostic.notes ?? []).flatMap((note) => renderNote(note, source, options)),
    ...hintLine(diagnostic.hint, options),
    ...(diagnostic.url === undefined ? [] : [`  see ${diagnostic.url}`]),
  ])
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('')
}

function headline(
  severity: 'error' | 'warning',
  code: string,
  message: string,
  source: SourceFile | undefined,
  span: Span | undefined,
  options: RenderOptions,
): string {
  const place = source === undefined || span === undefined ? '' : `${placeOf(source, span)}: `
  const paint = severity === 'error' ? red : yellow
  return `${place}${paint(`${severity}:`, options)} ${printableText(message)} ${dim(`[${code}]`, options)}`
}

function placeOf(text: SourceFile, place: Span): string {
  const { source, span } = originOf(text, place)
  const { line, column } = positionAt(source.text, span.start)
  return `${printableLine(source.name)}:${line}:${column}`
}

/** The source line and the carets below it. A span over several lines is underlined to the end of its first one. */
function snippet(text: SourceFile | undefined, place: Span | undefined, options: RenderOptions): string[] {
  if (text === undefined || place === undefined) return []
  const { source, span } = originOf(text, place)
  const { line, column } = positionAt(source.text, span.start)
  const whole = lineAt(source.text, line)
  const from = column - 1
  const to = Math.max(from, Math.min(from + (span.end - span.start), whole.trimEnd().length))
  const cut = windowAround(whole, from)
  const head = printableLine(whole.slice(cut.start, from))
  const marked = printableLine(whole.slice(from, Math.min(to, cut.end)))
  const tail = printableLine(whole.slice(Math.min(to, cut.end), cut.end))
  const number = String(line).padStart(4)
  const padding = head.replace(/[^\t]/gu, (character) => ' '.repeat(displayWidth(character)))
  const carets = `^${'~'.repeat(Math.max(0, displayWidth(marked) - 1))}`
  return [
    `${dim(`${number} |`, options)} ${head}${marked}${tail}`.trimEnd(),
    `${dim(`${' '.repeat(number.length)} |`, options)} ${padding}${red(carets, options)}`,
  ]
}

function windowAround(line: string, at: number): { readonly start: number; readonly end: number } {
  if (line.length <= maxSourceWidth) return { start: 0, end: line.length }
  const start = Math.max(0, Math.min(at - maxSourceWidth / 4, line.length - maxSourceWidth))
  return { start, end: start + maxSourceWidth }
}

/** What the classes know beyond the message: the step, the last output, the path, the address. Notes come with it. */
function detailsOf(error: BuildError, options: RenderOptions): string[] {
  if (error instanceof SandboxError) return outputOf(error, options)
  return [...placeDetails(error), ...error.notes.flatMap((note) => renderNote(note, error.source, options))]
}

function placeDetails(error: BuildError): string[] {
  if (error instanceof StoreError && error.path !== undefined) return [`  at ${printableLine(error.path)}`]
  if (error instanceof SolveError && error.vertex !== undefined) return [`  in ${printableLine(error.vertex)}`]
  if (!(error instanceof RegistryError) || error.url === undefined) return []
  const status = error.status === undefined ? '' : ` answered ${error.status}`
  return [`  ${error.method ?? 'GET'} ${printableLine(error.url)}${status}`]
}

/** A failed command: where in the build it was, then the end of what it printed. */
function outputOf(error: SandboxError, options: RenderOptions): string[] {
  const where = error.notes.map((note) => printableText(note.message))
  if (error.logTail.length === 0) return where.map((text) => `  ${text}`)
  const tail = error.logTail.map((line) => `${dim('     |', options)} ${printableLine(line)}`.trimEnd())
  return [`  ${[...where, 'last lines of output:'].join('; ')}`, ...tail]
}

/** The hint of an error; a failed command's output file is one when there is no better. */
function hintOf(error: BuildError): string | undefined {
  if (error.hint !== undefined || !(error instanceof SandboxError) || error.logPath === undefined) return error.hint
  return `read the full output in ${error.logPath}`
}

function renderNote(note: Note, source: SourceFile | undefined, options: RenderOptions): string[] {
  if (source === undefined || note.span === undefined) return [`  ${printableText(note.message)}`]
  return [`  ${placeOf(source, note.span)}: ${printableText(note.message)}`, ...snippet(source, note.span, options)]
}

function hintLine(hint: string | undefined, options: RenderOptions): string[] {
  return hint === undefined ? [] : [`  ${cyan('hint:', options)} ${printableText(hint)}`]
}

function causesOf(error: Error): string[] {
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  const { cause } = error
  if (!(cause instanceof Error)) return frames
  return [...frames, `  caused by ${cause.name}: ${printableText(cause.message)}`, ...causesOf(cause)]
}

function renderBug(error: unknown, options: RenderOptions): string {
  const text = error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error)
  const causes = error instanceof Error && error.cause instanceof Error ? causesOf(error) : []
  return `${[
    `${red('error:', options)} this is a bug in mille, not in what you gave it [BUG]`,
    ...text.split('\n').map((line) => `  ${printableLine(line)}`),
    ...causes,
    '  hint: report it with the command line and the lines above',
  ].join('\n')}\n`
}

/** Messages are one line; what a value brought along is flattened. */
function printableText(text: string): string {
  return printableLine(text.replace(/\r?\n/g, ' '))
}

function paint(code: number, text: string, options: RenderOptions): string {
  return options.color ? `\x1b[${code}m${text}\x1b[0m` : text
}

function red(text: string, options: RenderOptions): string {
  return options.color ? `\x1b[1;31m${text}\x1b[0m` : text
}

function yellow(text: string, options: RenderOptions): string {
  return options.color ? `\x1b[1;33m${text}\x1b[0m` : text
}

function dim(text: string, options: RenderOptions): string {
  return paint(2, text, options)
}

function cyan(text: string, options: RenderOptions): string {
  return paint(36, text, options)
}
