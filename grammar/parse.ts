/** The way in: source → AST and diagnostics. Loads chevrotain, so import this file only where a Dockerfile is parsed. */
import { sortDiagnostics } from '../src/core/diagnostic.js'
import type { SourceFile } from '../src/core/span.js'
import type { Instruction, Parsed } from './ast.js'
import { buildInstruction } from './build-ast.js'
import { asksForLabs, buildInclude, includeKeyword } from './include.js'
import { lex } from './lexer.js'
import { Reporter, reportSyntax } from './messages.js'
import { sharedParser } from './parser.js'

/**
 * Parses a Dockerfile. Never throws for what the text says; three mistakes are three diagnostics.
 *
 * @param options.labs read mille's own words whatever the directive says
 */
export function parse(source: SourceFile, options: { readonly labs: boolean } = { labs: false }): Parsed {
  const lexed = lex(source)
  const labs = options.labs || asksForLabs(lexed.directives)
  const parser = sharedParser()
  const report = new Reporter(source)
  const instructions: Instruction[] = []
  for (const line of lexed.lines) {
    const include = labs ? includeKeyword(line) : undefined
    if (include !== undefined) {
      const instruction = buildInclude(include, line, report)
      if (instruction !== undefined) instructions.push(instruction)
      continue
    }
    const cst = parser.parseLine(line.tokens)
    if ('unexpected' in cst) {
      reportSyntax(report, line, cst.unexpected)
      continue
    }
    const instruction = buildInstruction(cst, source.text, line, report)
    if (instruction !== undefined) instructions.push(instruction)
  }
  return {
    ast: { source, escape: lexed.escape, directives: lexed.directives, instructions },
    diagnostics: sortDiagnostics([...lexed.diagnostics, ...report.diagnostics]),
  }
}
