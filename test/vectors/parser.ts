/** Suite `parser`: BuildKit's parser tests, see the README.md beside the cases. */
import { findDirective, readSection } from '../../grammar/directives.js'
import { findHeredocs, parseHeredocWord, stripLeadingTabs } from '../../grammar/heredocs.js'
import { type Lexed, lex } from '../../grammar/lexer.js'
import { parse } from '../../grammar/parse.js'
import type { SourceFile } from '../../src/core/span.js'
import { buildkitText, isSyntaxError, lineRanges } from './buildkit.js'
import { argumentsOf, dumpLines } from './dump.js'
import { claim, type Judge, type Outcome, passed, recordOf, type Suite, same, skip, textOf, type VectorCase } from './frame.js'

function sourceOf(text: string): SourceFile {
  return { name: 'Dockerfile', text }
}

function syntaxErrors(text: string): string[] {
  return parse(sourceOf(text)).diagnostics.filter(isSyntaxError).map(buildkitText)
}

function lexText(text: string): Lexed {
  return lex(sourceOf(text))
}

const judgeTestfile: Judge = (vector) => {
  const text = textOf(vector, 'dockerfile')
  return [
    same(syntaxErrors(text), [], 'the list of errors'),
    same(dumpLines(lexText(text)), textOf(vector, 'expectDump'), 'the dump'),
  ]
}

const judgeNegative: Judge = (vector) => claim(syntaxErrors(textOf(vector, 'dockerfile')).length > 0, 'no error was found')

const kinds: Readonly<Record<string, Judge>> = {
  parseWords: (vector) => same(lineArguments(`ARG ${textOf(vector, 'input')}`), vector.expect),
  lineNumbers: judgeLineNumbers,
  parseWarnings: judgeWarnings,
  parseError: judgeParseError,
  jsonStringArray: judgeJson,
  parseNameVal: judgeNameVal,
  detectSyntax: (vector) => judgeDirective(vector, 'syntax', true),
  parseDirective: (vector) => judgeDirective(vector, textOf(vector, 'directive'), false),
  directiveParseAll: judgeAllDirectives,
  heredocs: judgeHeredocs,
  chomp: (vector) => same(stripLeadingTabs(textOf(vector, 'input')), vector.expect),
  parseHeredocWord: judgeHeredocWord,
  heredocNamesFromLine: (vector) =>
    same(
      findHeredocs(textOf(vector, 'input')).map(({ name }) => name),
      vector.expect,
    ),
}

const judgeUnit: Judge = (vector, folder) => {
  const kind = textOf(vector, 'kind')
  return kinds[kind]?.(vector, folder) ?? skip(`the kind ${kind} is not known to the runner`)
}

function lineArguments(line: string): string[] {
  return argumentsOf(lexText(line).lines[0]?.tokens ?? [])
}

function judgeLineNumbers(vector: VectorCase): Outcome {
  const children = lineRanges(lexText(textOf(vector, 'dockerfile')))
  return same({ startLine: children[0]?.[0], endLine: children.at(-1)?.[1], children }, vector.expect)
}

function judgeWarnings(vector: VectorCase): Outcome[] {
  const expected = recordOf(vector.expect)
  const { source, lines } = lexText(textOf(vector, 'dockerfile'))
  const warnings = parse(source).diagnostics.filter(({ code }) => code === 'NoEmptyContinuation')
  const shown = lines
    .filter(({ line }) => line.emptyLines.length > 0)
    .map(({ line }) => `Empty continuation line found in: ${line.text}`)
  const wanted = Array.isArray(expected.shortContains) ? expected.shortContains : []
  return [
    same([warnings.length, shown.length], [expected.count, expected.count], 'the number of warnings'),
    ...wanted.flatMap((parts: unknown, index) =>
      (Array.isArray(parts) ? parts : [parts]).map((part) =>
        claim(shown[index]?.includes(String(part)) ?? false, `no warning has "${part}"`),
      ),
    ),
  ]
}

function judgeParseError(vector: VectorCase): Outcome {
  const template = vector.dockerfileTemplate ?? vector.dockerfile
  const text = String(template).replace(/\{\{REPEAT (.) (\d+)\}\}/g, (_, char: string, count: string) =>
    char.repeat(Number(count)),
  )
  const errors = syntaxErrors(text)
  const wanted = textOf(recordOf(vector.expect), 'error')
  return claim(
    errors.some((error) => error.includes(wanted)),
    `errors are ${JSON.stringify(errors)}, expected "${wanted}"`,
  )
}

function judgeJson(vector: VectorCase): Outcome {
  const [instruction] = parse(sourceOf(`CMD ${textOf(vector, 'input')}`)).ast.instructions
  const argv = instruction?.kind === 'cmd' && instruction.command.form === 'exec' ? instruction.command.argv : undefined
  return Array.isArray(vector.expect) ? same(argv, vector.expect) : same(argv, undefined, 'the exec form')
}

function judgeNameVal(vector: VectorCase): Outcome {
  const line = `${textOf(vector, 'command')} ${textOf(vector, 'input')}`
  const wanted = vector.expect
  if (typeof wanted !== 'string') return same(lineArguments(line), wanted)
  const errors = syntaxErrors(line)
  return claim(errors.includes(wanted.replace('error: ', '')), `errors are ${JSON.stringify(errors)}, expected "${wanted}"`)
}

function judgeDirective(vector: VectorCase, key: string, anyFormat: boolean): Outcome[] {
  const expected = recordOf(vector.expect)
  const found = findDirective(key, textOf(vector, 'input'), anyFormat)
  const actual: Record<string, unknown> = {
    ok: found !== undefined,
    ref: found?.ref ?? '',
    cmdline: found?.value ?? '',
    startLine: found?.line,
    endLine: found?.line,
  }
  return Object.entries(expected).map(([field, value]) => same(actual[field], value, field))
}

function judgeAllDirectives(vector: VectorCase): Outcome[] {
  const prefix = typeof vector.comment === 'string' ? vector.comment : '#'
  const { directives } = readSection(textOf(vector, 'input'), prefix)
  return Object.entries(recordOf(vector.expect)).map(([field, value]) => {
    const [, index = '', name = ''] = /^directives\[(\d+)\]\.(\w+)$/.exec(field) ?? []
    if (field === 'count') return same(directives.length, value, field)
    const directive = directives[Number(index)]
    return same(name === 'name' ? directive?.name : directive?.value, value, field)
  })
}

function judgeHeredocs(vector: VectorCase): Outcome[] {
  const text = textOf(vector, 'dockerfile')
  const expected = Array.isArray(vector.expect) ? vector.expect : []
  const { lines } = lexText(text)
  return expected.map((wanted: unknown, index) => {
    const found = lines[index + 1]?.heredocs.map(({ mark, body }) => ({
      Name: mark.name,
      Content: text.slice(body.content.start, body.content.end),
      Expand: mark.expand,
      Chomp: mark.stripTabs || undefined,
      FileDescriptor: mark.fileDescriptor || undefined,
    }))
    return same(found, wanted === null ? [] : wanted, `child ${index + 1}`)
  })
}

function judgeHeredocWord(vector: VectorCase): Outcome {
  const mark = parseHeredocWord(textOf(vector, 'input'))
  if (vector.expect === 'error') return same(mark, 'malformed')
  if (vector.expect === null) return same(mark, undefined)
  const wanted = recordOf(vector.expect)
  if (mark === undefined || mark === 'malformed') return same(mark, wanted)
  const actual: Record<string, unknown> = {
    ...mark,
    Name: mark.name,
    Expand: mark.expand,
    Chomp: mark.stripTabs,
    chomp: mark.stripTabs,
  }
  for (const [field, value] of Object.entries(wanted)) if (actual[field] !== value) return same(actual[field], value, field)
  return passed
}

/** The suite. */
export const suite: Suite = {
  files: { 'testfiles.json': judgeTestfile, 'negative.json': judgeNegative, 'unit.json': judgeUnit },
}
