/** Suite `realworld`: real Dockerfiles, see the README.md beside the cases. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { lex } from '../../grammar/lexer.js'
import { parse } from '../../grammar/parse.js'
import { lintText } from '../helpers/lint.js'
import { buildkitText, hasStray, isSyntaxError, lineRanges, stagesOf } from './buildkit.js'
import { dumpLines } from './dump.js'
import { claim, type Judge, type Outcome, recordOf, type Suite, same, skip, textOf } from './frame.js'
import { stageDescription } from './instructions.js'
import { warningsOf } from './lint.js'

const judgeFile: Judge = (vector, folder) => {
  const expected = recordOf(vector.expect)
  const source = { name: 'Dockerfile', text: readFileSync(join(folder, textOf(vector, 'file')), 'utf8') }
  const { ast, diagnostics } = parse(source)
  const errors = diagnostics.filter(({ severity }) => severity === 'error')
  const parses = !errors.some(isSyntaxError)
  const outcomes: Outcome[] = [
    same(parses, expected.parsesOk, `parses, with the errors ${JSON.stringify(errors.map(({ message }) => message))},`),
  ]
  if (!parses) return outcomes
  const lexed = lex(source)
  const problems = [...errors.map(buildkitText), ...(hasStray(ast) ? ['no build stage in current context'] : [])]
  const warned = lexed.lines.filter(({ line }) => line.emptyLines.length > 0)
  outcomes.push(
    same(dumpLines(lexed), expected.dump, 'the dump'),
    same(lineRanges(lexed), expected.lines, 'the list of lines'),
    same(
      warned.map(({ line }) => `Empty continuation line found in: ${line.text}`),
      trimmed(expected.parseWarnings),
      'the list of warnings',
    ),
    same(problems.length === 0, expected.instructionsOk, `no error (${problems.join('; ')})`),
  )
  if (expected.instructionsOk === false && typeof expected.instructionError === 'string') {
    const wanted = expected.instructionError
    outcomes.push(
      claim(
        problems.some((text) => wanted.includes(text)),
        `the errors are ${JSON.stringify(problems)}, expected "${wanted}"`,
      ),
    )
  }
  const { metaArgs, stages } = stagesOf(ast)
  if (typeof expected.metaArgs === 'number' && expected.instructionsOk !== false)
    outcomes.push(same(metaArgs.length, expected.metaArgs, 'the number of global ARGs'))
  if (Array.isArray(expected.stages) && expected.instructionsOk !== false)
    outcomes.push(same(stages.map(stageOf), expected.stages, 'the list of stages'))
  return [...outcomes, ...judgeLint(source.text, recordOf(expected.lint))]
}

function judgeLint(text: string, expected: Readonly<Record<string, unknown>>): Outcome[] {
  const { findings } = lintText(text)
  const found = warningsOf(findings).map(({ ruleName, detail, line }) => `${line} ${ruleName}: ${detail}`)
  const wanted = Array.isArray(expected.warnings) ? expected.warnings.map(recordOf) : []
  const lines = wanted.map(({ ruleName, detail, line }) => `${line} ${ruleName}: ${detail}`)
  return [same(found.sort(), lines.sort(), 'the list of lint warnings')]
}

function trimmed(value: unknown): unknown {
  return Array.isArray(value) ? value.map((text) => String(text).trimEnd()) : value
}

function stageOf([from, ...commands]: ReturnType<typeof stagesOf>['stages'][number]): unknown {
  if (from?.kind !== 'from') return undefined
  return {
    name: from.name?.text.toLowerCase() ?? '',
    base: from.base.text,
    platform: from.flags.find(({ name }) => name === 'platform')?.value ?? '',
    doc: stageDescription(from),
    commands: commands.map(({ keyword }) => keyword),
  }
}

/** The suite. */
export const suite: Suite = { files: { 'cases.json': judgeFile, 'bake-files.json': () => skip('bake files are not read yet') } }
