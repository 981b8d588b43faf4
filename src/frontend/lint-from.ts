/** Rules about FROM: stage names, platforms, global arguments. They look at every stage, needed or not. */
import type { FromInstruction } from '../../grammar/ast.js'
import { type Expansion, expandWord } from '../../grammar/words.js'
import { parsePlatform } from '../core/platform.js'
import { isReference, parseReference } from '../core/reference.js'
import { findFlag, flagWord } from './expand.js'
import { readGlobals } from './globals.js'
import { goQuote } from './go-text.js'
import type { Findings } from './lint-findings.js'
import { nearestOption } from './lint-nearest.js'
import { predefinedArgs } from './platform-args.js'
import type { Analysis, Step } from './stages.js'

/** What the rules need of the file. */
export interface FromScope {
  readonly analysis: Analysis
  readonly froms: readonly FromInstruction[]
  /** The ARGs before the first FROM. */
  readonly globals: readonly Step[]
  readonly findings: Findings
}

/** Runs the rules. Stops at the first stage whose FROM is wrong. */
export function lintFroms(scope: FromScope): void {
  lintDefaults(scope)
  lintNames(scope)
  for (const [index, from] of scope.froms.entries()) {
    lintVariables(from, from.base, scope)
    if (findFlag(from, 'platform') !== undefined) lintPlatform(from, scope)
    const { start, end } = from.span
    const problems = scope.analysis.stages[index]?.problems ?? []
    if (problems.some(({ span }) => span !== undefined && span.start >= start && span.end <= end)) return
  }
}

/** Without any --build-arg every base should still be a possible image name. */
function lintDefaults({ analysis, froms, globals, findings }: FromScope): void {
  const { options, platform, escape: escapeChar } = analysis
  const predefined = predefinedArgs(
    options.buildPlatform,
    platform,
    options.target ?? froms.at(-1)?.name?.text.toLowerCase(),
    options.buildArgs,
  )
  const { env } = readGlobals(globals, predefined, {}, escapeChar, [])
  for (const from of froms) {
    const expanded = expandWord(from.base.text, env, { escape: escapeChar })
    if (expanded.problem !== undefined) return
    if (expanded.value !== '' && isReference(parseReference(expanded.value))) continue
    const detail = `Default value for ARG ${from.base.text} results in empty or invalid base image name`
    const hint = 'give the argument a default that makes an image name'
    findings.add('InvalidDefaultArgInFrom', from, detail, { span: from.base.span, hint })
  }
}

function lintNames({ froms, findings }: FromScope): void {
  const seen = new Set<string>()
  for (const from of froms) {
    const { name } = from
    if (name === undefined) continue
    const lower = name.text.toLowerCase()
    if (lower === 'scratch' || lower === 'context') {
      const detail = `Stage name should not use the same name as reserved stage ${goQuote(lower)}`
      findings.add('ReservedStageName', from, detail, { span: name.span })
    }
    if (seen.has(lower)) {
      const detail = `Duplicate stage name ${goQuote(lower)}, stage names should be unique`
      findings.add('DuplicateStageName', from, detail, { span: name.span })
    }
    seen.add(lower)
  }
}

/** Expands a word of FROM and reports variables that are declared nowhere. */
function lintVariables(
  from: FromInstruction,
  word: FromInstruction['base'],
  { analysis, findings }: FromScope,
): Expansion | undefined {
  const expanded = expandWord(word.text, { get: (name) => analysis.globals.get(name) }, { escape: analysis.escape })
  if (expanded.problem !== undefined) return undefined
  for (const name of expanded.unset.filter((each) => !analysis.globals.has(each))) {
    const nearest = nearestOption(name, analysis.globals.keys())
    const suffix = nearest === undefined ? '' : ` (did you mean ${nearest}?)`
    findings.add('UndefinedArgInFrom', from, `FROM argument '${name}' is not declared${suffix}`, {
      span: word.span,
      ...(nearest === undefined ? { hint: `declare it with "ARG ${name}" before the first FROM` } : {}),
    })
  }
  return expanded
}

function lintPlatform(from: FromInstruction, scope: FromScope): void {
  const { analysis, findings } = scope
  const flag = findFlag(from, 'platform')
  if (flag === undefined) return
  const word = flagWord(analysis.source, flag)
  const expanded = lintVariables(from, word, scope)
  if (expanded === undefined) return
  const { used, unset, value } = expanded
  const isTarget = used.length === 1 && unset.length === 0 && used[0] === 'TARGETPLATFORM'
  if (isTarget && value === analysis.globals.get('TARGETPLATFORM')) {
    const detail = `Setting platform to predefined ${word.text} in FROM is redundant as this is the default behavior`
    const edits = [{ span: withBlanks(analysis.source.text, flag.span), text: '' }]
    findings.add('RedundantTargetPlatform', from, detail, { span: flag.span, hint: 'remove --platform', edits })
  }
  if (used.length > 0 || unset.length > 0) return
  const platform = parsePlatform(value, analysis.options.buildPlatform)
  const name = from.name?.text.toLowerCase() ?? ''
  if (platform === undefined || name.includes(platform.os) || name.includes(platform.architecture)) return
  const detail = `FROM --platform flag should not use constant value ${goQuote(value)}`
  const hint = 'use $BUILDPLATFORM or an ARG, or name the stage after the platform'
  findings.add('FromPlatformFlagConstDisallowed', from, detail, { span: word.span, hint })
}

/** The span and the blanks after it on its line. */
function withBlanks(
  text: string,
  { start, end }: { readonly start: number; readonly end: number },
): { start: number; end: number } {
  let stop = end
  while (text[stop] === ' ' || text[stop] === '\t') stop++
  return { start, end: stop }
}
