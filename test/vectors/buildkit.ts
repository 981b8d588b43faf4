/** How our diagnostics and positions read in BuildKit's words, which the cases quote. */
import type { Dockerfile } from '../../grammar/ast.js'
import type { Lexed } from '../../grammar/lexer.js'
import type { Diagnostic } from '../../src/core/diagnostic.js'
import { positionAt } from '../../src/core/span.js'

/** Codes of errors that BuildKit's parser finds; the others come when its nodes are made instructions. */
const syntaxCodes = ['DOCKERFILE_SYNTAX', 'DOCKERFILE_EMPTY', 'DOCKERFILE_BAD_DIRECTIVE', 'DOCKERFILE_HEREDOC_UNTERMINATED']

/** True for an error that BuildKit's parser would report. */
export function isSyntaxError({ severity, code }: Diagnostic): boolean {
  return severity === 'error' && syntaxCodes.includes(code)
}

/** 1-based first and last line of each logical line. */
export function lineRanges({ source, lines }: Lexed): [number, number][] {
  return lines.map(({ span }) => [positionAt(source.text, span.start).line, positionAt(source.text, span.end).line])
}

/** The stages of a tree as BuildKit's instruction parser groups them. */
export function stagesOf(ast: Dockerfile): {
  readonly metaArgs: Dockerfile['instructions']
  readonly stages: readonly Dockerfile['instructions'][]
} {
  const first = ast.instructions.findIndex(({ kind }) => kind === 'from')
  const stages: (typeof ast.instructions)[number][][] = []
  for (const instruction of ast.instructions.slice(Math.max(first, 0))) {
    if (instruction.kind === 'from') stages.push([])
    stages.at(-1)?.push(instruction)
  }
  return { metaArgs: ast.instructions.slice(0, Math.max(first, 0)), stages }
}

/** True when an instruction that needs a stage stands before the first FROM. */
export function hasStray(ast: Dockerfile): boolean {
  const [first] = ast.instructions.filter(({ kind }) => kind !== 'arg')
  return first !== undefined && first.kind !== 'from'
}

const texts: readonly (readonly [RegExp, string])[] = [
  [/^(\w+) takes exactly one argument, found none$/, '$1 requires exactly one argument'],
  [/^(\w+) takes at least one argument, found none$/, '$1 requires at least one argument'],
  [
    /^(\w+) takes at least one source .*$/,
    '$1 requires at least two arguments, but only one was provided. Destination could not be determined',
  ],
  [/^FROM takes an image, .*$/, 'FROM requires either one or three arguments'],
  [/^unknown instruction "(.*)"$/s, 'unknown instruction: $1'],
  [/^unknown flag (--.*) of \w+$/s, 'unknown flag: $1'],
  [/^--(\S+) is given twice$/, 'duplicate flag specified: $1'],
  [/^--(\S+) has no value$/, 'missing a value on flag: $1'],
  [/^--(\S+) is "(.*)", expected true or false$/s, 'expecting boolean value for flag $1, not: $2'],
  [/^ONBUILD cannot be chained$/, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
  [/^ONBUILD cannot trigger (\w+)$/, "$1 isn't allowed as an ONBUILD trigger"],
  [/^(\w+) cannot have the here-document .*$/s, '$1 cannot accept a heredoc as a destination'],
  [/^(\w+) names may not be blank$/, '$1 names can not be blank'],
  [
    /^"(.*)" cannot be the name of a stage$/s,
    'invalid name for build stage: "$1", name can\'t start with a number or contain symbols',
  ],
  [/^HEALTHCHECK takes CMD or NONE, found "(.*)"$/s, 'Unknown type "$1" in HEALTHCHECK (try CMD)'],
  [/^HEALTHCHECK CMD has no command$/, 'Missing command after HEALTHCHECK CMD'],
  [/^--retries cannot be negative, found (.*)$/, '--retries cannot be negative ($1)'],
  [/^SHELL takes its arguments in JSON form only$/, 'SHELL requires the arguments to be in JSON form'],
  [/^a VOLUME may not be an empty text$/, 'VOLUME specified can not be an empty string'],
  [/^(\w+) \S+ has no value$/, '$1 must have two arguments'],
  [/^"(.*)" has no =, .*$/s, 'Syntax error - can\'t find = in "$1". Must be of the form: name=value'],
  [/^the Dockerfile (is empty|has no instructions)$/, 'file with no instructions'],
  [/^the JSON form takes strings only$/, 'when using JSON array syntax, arrays must be comprised of strings only'],
  [/^the here-document ".*" has no end$/s, 'unterminated heredoc'],
  [/^the line is .*$/, 'dockerfile line greater than max allowed size of 65535'],
  [/^the directive "(.*)" is given twice, .*$/, 'only one $1 parser directive can be used'],
  [/^the escape character is "(.*)", .*$/, "invalid escape token '$1' does not match ` or \\"],
  [/^--\S+ is "(.*)", expected a duration$/s, 'time: invalid duration "$1"'],
]

/** What BuildKit says where we say `message`; the message itself where it is much the same. */
export function buildkitText({ code, message, hint }: Diagnostic): string {
  const [pattern, text] = texts.find(([each]) => each.test(message)) ?? []
  const said = pattern === undefined || text === undefined ? message : message.replace(pattern, text)
  const near = code.startsWith('DOCKERFILE_UNKNOWN_') ? /^did you mean (?:--)?(.*)\?$/.exec(hint ?? '')?.[1] : undefined
  return near === undefined ? said : `${said} (did you mean ${near}?)`
}
