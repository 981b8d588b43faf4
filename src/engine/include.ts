/**
 * INCLUDE (behind `# syntax=mille/labs`): the text of other files put in place of the lines that name them.
 *
 * Each file is parsed by itself first, so that no heredoc or continued line reaches out of it, and its mistakes are shown in it.
 * The result knows of each part where it comes from (`SourceFile.parts`). docs/dockerfile.md has the rules.
 */
import { readFileSync, realpathSync, statSync } from 'node:fs'
import { join, posix } from 'node:path'
import type { Instruction, Parsed, WordsInstruction } from '../../grammar/ast.js'
import { DockerfileError, systemCode } from '../core/errors.js'
import type { SourceFile, SourcePart, Span } from '../core/span.js'
import { didYouMean } from '../core/suggest.js'
import { errorAt } from '../frontend/problem.js'
import { checkSyntax } from '../frontend/syntax.js'
import type { ContextDirectories } from '../ops/context.js'

/** How deep files may include one another. */
const maxDepth = 16
/** More is no Dockerfile. */
const maxBytes = 4 << 20

/** What includes are looked for in. */
export interface IncludeWorld {
  /** Parses with mille's own words. */
  readonly parse: (source: SourceFile) => Promise<Parsed>
  /** By the name of their context; `context` is the build's own. */
  readonly directories: ContextDirectories
  /** The directory of the Dockerfile in the build's context; empty for the top, and for a Dockerfile from elsewhere. */
  readonly includesFrom: string
}

interface OpenFile {
  readonly source: SourceFile
  readonly parsed: Parsed
  readonly context: string
  /** Relative to the context. */
  readonly directory: string
  /** Real paths of the files that lead here, outermost first. */
  readonly chain: readonly string[]
}

/**
 * The whole text. A file with mistakes of its own is left as it is: they are to be told first.
 *
 * @throws DockerfileError for a file that is not there, is outside its context, includes itself, or cannot be parsed
 */
export async function expandIncludes(parsed: Parsed, world: IncludeWorld): Promise<SourceFile> {
  const { source } = parsed.ast
  if (parsed.diagnostics.some(({ severity }) => severity === 'error')) return source
  return expand({ source, parsed, context: 'context', directory: world.includesFrom, chain: [] }, world)
}

/** Parses with mille's own words; loads the parser. */
export async function parseLabs(source: SourceFile): Promise<Parsed> {
  const { parse } = await import('../../grammar/parse.js')
  return parse(source, { labs: true })
}

async function expand(file: OpenFile, world: IncludeWorld): Promise<SourceFile> {
  const { source, parsed } = file
  const text = new Composer(source.name)
  let at = 0
  for (const include of parsed.ast.instructions.filter(isInclude)) {
    text.add(source, at, include.span.start)
    // A blank line: what is included begins like any other line, never as a directive of the file around it.
    text.addText('\n', source, include.span.start)
    text.addAll(await expand(await openIncluded(include, file, world), world))
    at = include.span.end
  }
  text.add(source, at, source.text.length)
  return text.finish()
}

function isInclude(instruction: Instruction): instruction is WordsInstruction {
  return instruction.kind === 'include'
}

async function openIncluded(include: WordsInstruction, file: OpenFile, world: IncludeWorld): Promise<OpenFile> {
  const span = include.words[0]?.span ?? include.span
  const { context, path } = placeOf(include, file, world)
  const found = readInside(await rootOf(context, world), path, (message, hint) => problem(file, span, message, hint))
  const { chain } = file
  if (chain.includes(found.realPath)) {
    throw problem(file, span, `"${path}" includes itself`, 'an included file cannot include the files that lead to it')
  }
  if (chain.length === maxDepth) throw problem(file, span, `files include one another more than ${maxDepth} deep`)
  const name = context === 'context' ? nameBeside(file, include, path) : `${context}:${path}`
  const source = { name, text: found.text.replace(/^\ufeff/, '') }
  const parsed = await world.parse(source)
  checkIncluded(parsed, file, span)
  return { source, parsed, context, directory: posix.dirname(path), chain: [...chain, found.realPath] }
}

/** The directory of a context; one that has to be fetched is. */
async function rootOf(context: string, { directories }: IncludeWorld): Promise<string> {
  const directory = await directories.get(context)?.()
  if (directory === undefined) throw new Error(`the context ${context} was there a moment ago`)
  return directory.path
}

/** Where an include leads: relative to the file that it stands in; from the top of the context when it begins with `/`. */
function placeOf(include: WordsInstruction, file: OpenFile, world: IncludeWorld): { context: string; path: string } {
  const written = include.words[0]?.text ?? ''
  const flag = include.flags.find(({ name }) => name === 'from')
  const context = flag?.value ?? file.context
  if (!world.directories.has(context)) {
    const names = [...world.directories.keys()]
    const hint = didYouMean(context, names) ?? `give it with --build-context ${context}=DIRECTORY`
    throw problem(file, flag?.span ?? include.span, `there is no directory of the name "${context}" to include from`, hint)
  }
  const from = flag === undefined && !written.startsWith('/') ? file.directory : ''
  const path = posix.normalize(posix.join(from, written)).replace(/^\/+/, '')
  if (path.split('/')[0] !== '..') return { context, path }
  const span = include.words[0]?.span ?? include.span
  throw problem(file, span, `"${written}" leads out of the context`, 'only files inside the context can be included')
}

/** Reads a file below `root`; links are followed as long as they stay there. */
function readInside(
  root: string,
  path: string,
  fail: (message: string, hint?: string) => DockerfileError,
): { readonly realPath: string; readonly text: string } {
  try {
    const realPath = realpathSync(join(root, path))
    if (!`${realPath}/`.startsWith(`${realpathSync(root)}/`)) throw fail(`"${path}" is a link that leads out of the context`)
    const stats = statSync(realPath)
    if (!stats.isFile()) throw fail(`"${path}" is no file`)
    if (stats.size > maxBytes) throw fail(`"${path}" has ${stats.size} bytes, at most ${maxBytes} can be included`)
    return { realPath, text: readFileSync(realPath, 'utf8') }
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') throw fail(`there is no file "${path}" in the context`)
    if (code === 'EACCES' || code === 'ELOOP') throw fail(`"${path}" cannot be read (${code})`)
    throw error
  }
}

/** The name that messages give an included file: as the one that includes it is named. */
function nameBeside(file: OpenFile, include: WordsInstruction, path: string): string {
  const written = include.words[0]?.text ?? ''
  const above = posix.dirname(file.source.name)
  return written.startsWith('/') || include.flags.length > 0 ? path : posix.normalize(posix.join(above, written))
}

/** An included file must be whole by itself, and be written with the same escape character. */
function checkIncluded({ ast, diagnostics }: Parsed, file: OpenFile, span: Span): void {
  const foreign = checkSyntax(ast, {})
  const errors = diagnostics.filter(({ severity, code }) => severity === 'error' && code !== 'DOCKERFILE_EMPTY')
  const [first, ...more] = foreign.length > 0 ? foreign : errors
  if (first !== undefined) throw new DockerfileError([first, ...more])
  const { escape: escapeChar, source } = ast
  const hasOwn = ast.directives.some(({ name }) => name === 'escape')
  if (hasOwn && escapeChar !== file.parsed.ast.escape) {
    throw problem(file, span, `"${source.name}" has another escape character than the file that includes it`)
  }
  const lastLine = source.text.trimEnd().split('\n').at(-1) ?? ''
  if (!lastLine.trimStart().startsWith('#') && lastLine.endsWith(escapeChar) && !lastLine.endsWith(escapeChar + escapeChar)) {
    throw problem(file, span, `"${source.name}" ends inside of an instruction`, 'take the escape character off its last line')
  }
}

function problem({ source }: OpenFile, span: Span, message: string, hint?: string): DockerfileError {
  return new DockerfileError([errorAt({ source, span }, 'DOCKERFILE_BAD_ARGUMENT', message, hint)])
}

/** Puts a text together and keeps account of where its parts come from. */
class Composer {
  readonly #name: string
  readonly #parts: SourcePart[] = []
  #text = ''

  constructor(name: string) {
    this.#name = name
  }

  add(source: SourceFile, start: number, end: number): void {
    this.addText(source.text.slice(start, end), source, start)
  }

  addText(text: string, source: SourceFile, offset: number): void {
    if (text === '') return
    const start = this.#text.length
    this.#text += text
    this.#parts.push({ start, end: this.#text.length, source, offset })
  }

  addAll({ text, parts = [] }: SourceFile): void {
    for (const { start, end, source, offset } of parts) this.addText(text.slice(start, end), source, offset)
  }

  finish(): SourceFile {
    return { name: this.#name, text: this.#text, parts: this.#parts }
  }
}
