/** The AST as stable text, for golden files and `mille debug ast`: one line for each part, with its place in the file. */
import type { SourceFile, Span } from '../src/core/span.js'
import type { CommandLine, Dockerfile, Heredoc, Instruction, Word } from './ast.js'
import { assertNever } from './ast.js'

/**
 * Prints a tree. Texts are JSON strings; places are `line:column-line:column`, 1-based, the end exclusive.
 *
 * @returns lines, each with a line end
 */
export function printAst(ast: Dockerfile): string {
  const place = placesIn(ast.source)
  const head = [
    `dockerfile escape=${ast.escape}`,
    ...ast.directives.map(({ name, value, span }) => `  directive ${name}=${JSON.stringify(value)} ${place(span)}`),
  ]
  return [...head, ...ast.instructions.flatMap((instruction) => indent(printInstruction(instruction, place)))]
    .map((line) => `${line}\n`)
    .join('')
}

type Place = (span: Span) => string

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`)
}

function printInstruction(instruction: Instruction, place: Place): string[] {
  const { kind, keyword, flags, comment, skippedChecks } = instruction
  const written = keyword === kind.toUpperCase() ? '' : ` keyword=${keyword}`
  return [
    `${kind} ${place(instruction.span)}${written}`,
    ...indent([
      ...(comment === undefined ? [] : [`comment ${JSON.stringify(comment)}`]),
      ...(skippedChecks.length === 0 ? [] : [`skipped-checks ${skippedChecks.join(',')}`]),
      ...flags.map(
        ({ name, value, span }) => `flag ${name}${value === undefined ? '' : `=${JSON.stringify(value)}`} ${place(span)}`,
      ),
      ...printParts(instruction, place),
    ]),
  ]
}

function printParts(instruction: Instruction, place: Place): string[] {
  const word = (name: string, part: Word | undefined): string[] =>
    part === undefined ? [] : [`${name} ${JSON.stringify(part.text)} ${place(part.span)}`]
  switch (instruction.kind) {
    case 'from':
      return [...word('base', instruction.base), ...word('as', instruction.as), ...word('name', instruction.name)]
    case 'run':
      return [printCommand(instruction.command, place), ...printHeredocs(instruction.heredocs, place)]
    case 'cmd':
    case 'entrypoint':
      return [printCommand(instruction.command, place)]
    case 'env':
    case 'label':
    case 'arg':
      return [
        ...(instruction.legacy ? ['legacy'] : []),
        ...instruction.pairs.flatMap(({ key, value }) => [...word('key', key), ...indent(word('value', value))]),
      ]
    case 'copy':
    case 'add':
      return [
        ...(instruction.json ? ['json'] : []),
        ...instruction.sources.flatMap((source) => word('source', source)),
        ...printHeredocs(instruction.heredocs, place),
        ...word('destination', instruction.destination),
      ]
    case 'expose':
    case 'volume':
    case 'user':
    case 'workdir':
    case 'stopsignal':
    case 'maintainer':
    case 'include':
      return [...(instruction.json ? ['json'] : []), ...instruction.words.flatMap((part) => word('word', part))]
    case 'healthcheck':
      return [instruction.command === undefined ? 'none' : printCommand(instruction.command, place)]
    case 'shell':
      return [`argv ${JSON.stringify(instruction.argv)}`]
    case 'onbuild':
      return [`text ${JSON.stringify(instruction.text)}`, ...printInstruction(instruction.trigger, place)]
    default:
      return assertNever(instruction)
  }
}

function printCommand(command: CommandLine, place: Place): string {
  const text = command.form === 'exec' ? JSON.stringify(command.argv) : JSON.stringify(command.text)
  return `${command.form} ${text} ${place(command.span)}`
}

function printHeredocs(heredocs: readonly Heredoc[], place: Place): string[] {
  return heredocs.flatMap(({ name, fileDescriptor, content, expand, stripTabs, span, contentSpan }) => {
    const traits = [
      ...(fileDescriptor === 0 ? [] : [`fd=${fileDescriptor}`]),
      ...(expand ? [] : ['literal']),
      ...(stripTabs ? ['strip-tabs'] : []),
    ]
    return [
      [`heredoc ${JSON.stringify(name)}`, ...traits, place(span)].join(' '),
      `  content ${JSON.stringify(content)} ${place(contentSpan)}`,
    ]
  })
}

/** A printer of places that finds lines by bisection: a long file is not read again for every span. */
function placesIn({ text }: SourceFile): Place {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  const position = (offset: number): string => {
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((starts[middle] ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    return `${low + 1}:${offset - (starts[low] ?? 0) + 1}`
  }
  return ({ start, end }) => `${position(start)}-${position(end)}`
}
