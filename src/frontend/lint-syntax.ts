/** Rules about how a Dockerfile is written: casing, stage names, comments, MAINTAINER. They need the tree only. */
import type { Dockerfile, FromInstruction, Instruction, KeyValueInstruction } from '../../grammar/ast.js'
import type { Diagnostic } from '../core/diagnostic.js'
import { findFlag, flagWord } from './expand.js'
import { goQuote } from './go-text.js'
import type { Edit, Findings } from './lint-findings.js'

/**
 * Runs the rules.
 *
 * @param parsed the parser's diagnostics: they hold the empty continuation lines, and the first error ends the linting, since
 *   what comes after it may be read wrongly
 */
export function lintSyntax(ast: Dockerfile, parsed: readonly Diagnostic[], findings: Findings): void {
  lintContinuations(ast, parsed, findings)
  lintCasing(ast, findings)
  const stop = Math.min(...parsed.filter(({ severity }) => severity === 'error').map(({ span }) => span?.start ?? 0))
  for (const instruction of ast.instructions) {
    if (instruction.span.start >= stop) return
    if (instruction.kind === 'from') lintFromSyntax(instruction, ast, findings)
    if (instruction.kind === 'arg') lintDescription(instruction, argNames(instruction), findings)
    if (instruction.kind === 'maintainer') lintMaintainer(instruction, findings)
  }
}

function lintContinuations({ source, instructions }: Dockerfile, parsed: readonly Diagnostic[], findings: Findings): void {
  for (const { code, span } of parsed) {
    if (code !== 'NoEmptyContinuation' || span === undefined) continue
    const owner = instructions.find((each) => each.span.start <= span.start && span.start <= each.span.end)
    const hint = 'remove the empty line, or put a # in it'
    const details = { span, hint, edits: emptyLineEdits(source.text, span.start, owner) }
    // BuildKit places this one at the end of the instruction.
    const end = owner?.span.end ?? span.end
    findings.addToFile('NoEmptyContinuation', { start: end, end }, 'Empty continuation line', details)
  }
}

/** Removes every blank line of the instruction from the first one on; blank lines of here-documents come after its first line end without escape. */
function emptyLineEdits(text: string, from: number, owner: Instruction | undefined): Edit[] {
  const end = owner === undefined ? from : firstHeredoc(owner)
  const edits: Edit[] = []
  for (let start = from; start < end; ) {
    const newline = text.indexOf('\n', start)
    const stop = newline < 0 ? text.length : newline + 1
    if (text.slice(start, stop).trim() === '') edits.push({ span: { start, end: stop }, text: '' })
    start = stop
  }
  return edits
}

function firstHeredoc(instruction: Instruction): number {
  const inner = instruction.kind === 'onbuild' ? instruction.trigger : instruction
  const heredocs = inner.kind === 'run' || inner.kind === 'copy' || inner.kind === 'add' ? inner.heredocs : []
  return Math.min(instruction.span.end, ...heredocs.map(({ contentSpan }) => contentSpan.start))
}

/** The majority decides; with as many of the one as of the other it is upper case. */
function lintCasing({ instructions }: Dockerfile, findings: Findings): void {
  const lower = instructions.filter(({ keyword }) => keyword === keyword.toLowerCase()).length
  const upper = instructions.filter(({ keyword }) => keyword === keyword.toUpperCase()).length
  const isLower = lower > upper
  for (const instruction of instructions) {
    const { keyword, keywordSpan } = instruction
    const wanted = isLower ? keyword.toLowerCase() : keyword.toUpperCase()
    if (keyword === wanted) continue
    const detail = `Command '${keyword}' should match the case of the command majority (${isLower ? 'lowercase' : 'uppercase'})`
    const edits = [{ span: keywordSpan, text: wanted }, ...asEdits(instruction, isLower)]
    findings.add('ConsistentInstructionCasing', instruction, detail, { span: keywordSpan, hint: `write ${wanted}`, edits })
  }
}

/** `AS` goes with its FROM. */
function asEdits(instruction: Instruction, isLower: boolean): Edit[] {
  if (instruction.kind !== 'from' || instruction.as === undefined) return []
  return [{ span: instruction.as.span, text: isLower ? 'as' : 'AS' }]
}

function lintFromSyntax(from: FromInstruction, ast: Dockerfile, findings: Findings): void {
  const { as, name, keyword } = from
  if (as === undefined || name === undefined) return
  if (name.text !== name.text.toLowerCase()) {
    const detail = `Stage name '${name.text}' should be lowercase`
    const edits = [...stageNameEdits(ast, name.text), { span: name.span, text: name.text.toLowerCase() }]
    findings.add('StageNameCasing', from, detail, { span: name.span, hint: `write ${name.text.toLowerCase()}`, edits })
  }
  const wanted = keyword === keyword.toUpperCase() ? 'AS' : keyword === keyword.toLowerCase() ? 'as' : as.text
  if (as.text !== wanted) {
    const detail = `'${as.text}' and '${keyword}' keywords' casing do not match`
    findings.add('FromAsCasing', from, detail, {
      span: as.span,
      hint: `write ${wanted}`,
      edits: [{ span: as.span, text: wanted }],
    })
  }
  lintDescription(from, [name.text.toLowerCase()], findings)
}

/** The uses of a stage in FROM and --from, so that the name is spelled alike everywhere. */
function stageNameEdits({ instructions, source }: Dockerfile, name: string): Edit[] {
  return instructions.flatMap((each) => {
    if (each.kind === 'from') return each.base.text === name ? [{ span: each.base.span, text: name.toLowerCase() }] : []
    const flag = each.kind === 'copy' ? findFlag(each, 'from') : undefined
    if (flag?.value !== name) return []
    const { span, text } = flagWord(source, flag)
    return span.end - span.start === text.length ? [{ span, text: name.toLowerCase() }] : []
  })
}

function argNames({ pairs }: KeyValueInstruction): string[] {
  return pairs.map(({ key }) => key.text)
}

/** The last comment line above FROM … AS and ARG is a description when it starts with the name. */
function lintDescription(instruction: Instruction, names: readonly string[], findings: Findings): void {
  const last = instruction.comment?.split('\n').at(-1)
  const [first] = names
  if (last === undefined || first === undefined || names.includes(last.split(' ')[0] ?? '')) return
  const example = names.length > 1 ? '<arg_key>' : first
  const detail = `Comment for ${instruction.kind.toUpperCase()} should follow the format: \`# ${example} <description>\``
  findings.add('InvalidDefinitionDescription', instruction, detail)
}

function lintMaintainer(instruction: Instruction, findings: Findings): void {
  if (instruction.kind !== 'maintainer') return
  const author = instruction.words[0]?.text ?? ''
  const keyword = instruction.keyword === instruction.keyword.toLowerCase() ? 'label' : 'LABEL'
  // Quotes, variables and continuations would not mean the same in a label.
  const isPlain = /^[^"'\\`$]+$/.test(author)
  const text = `${keyword} org.opencontainers.image.authors=${goQuote(author)}`
  findings.add('MaintainerDeprecated', instruction, 'Maintainer instruction is deprecated in favor of using label', {
    span: instruction.keywordSpan,
    hint: 'use LABEL org.opencontainers.image.authors=…',
    edits: isPlain ? [{ span: instruction.span, text }] : [],
  })
}
