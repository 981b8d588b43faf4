/**
 * Lints a Dockerfile: BuildKit's build checks and mille's own rules. Pure; nothing is looked up, base images come as an
 * argument. Rules about writing look at the whole file, those about FROM at all stages, the others at the stages that are
 * needed, or at all.
 */
import type { FromInstruction, Parsed } from '../../grammar/ast.js'
import type { Diagnostic } from '../core/diagnostic.js'
import type { ImageConfig } from '../core/image.js'
import type { Span } from '../core/span.js'
import { type Finding, Findings, sortFindings } from './lint-findings.js'
import { lintFroms } from './lint-from.js'
import { type CheckOptions, noCheckOptions, parseCheckOptions } from './lint-options.js'
import { lintRules, nearestRule } from './lint-rules.js'
import { lintStages } from './lint-stages.js'
import { lintSyntax } from './lint-syntax.js'
import { errorAt } from './problem.js'
import type { Analysis, Stage, Step } from './stages.js'

/** What is linted. */
export interface LintInput {
  readonly parsed: Parsed
  readonly analysis: Analysis
  /** The stages whose instructions are looked at; with the triggers of their base images in front where these are known. */
  readonly stages: readonly Stage[]
  readonly allStages: boolean
  /** The config of a stage's base image; undefined when it is not known. */
  readonly baseConfig: (stage: Stage) => ImageConfig | undefined
}

/** What was found. */
export interface LintReport {
  readonly findings: readonly Finding[]
  /** `error=true` and a finding of a rule that BuildKit has too. */
  readonly failure: Diagnostic | undefined
  /** What is wrong with the check options themselves. */
  readonly problems: readonly Diagnostic[]
}

/** Runs all rules that are on. */
export function lint(input: LintInput): LintReport {
  const { parsed, analysis } = input
  const { ast, diagnostics } = parsed
  const { options, problems } = checkOptions(input)
  const findings = new Findings(ast.source, options)
  lintCheckNames(input, options, findings)
  lintSyntax(ast, diagnostics, findings)
  if (!hasErrors(diagnostics)) {
    const froms = ast.instructions.filter((each): each is FromInstruction => each.kind === 'from')
    const first = froms[0]?.span.start ?? 0
    const globals: Step[] = ast.instructions
      .filter(({ kind, span }) => kind === 'arg' && span.start < first)
      .map((instruction) => ({ instruction, source: ast.source, trigger: undefined }))
    lintFroms({ analysis, froms, globals, findings })
    if (!hasErrors(analysis.diagnostics)) lintStages(input, froms, findings)
  }
  const found = sortFindings(findings.list)
  return { findings: found, failure: options.error ? failureOf(found) : undefined, problems }
}

function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some(({ severity }) => severity === 'error')
}

/** The build argument stands in for the directive. */
function checkOptions({ parsed, analysis }: LintInput): {
  readonly options: CheckOptions
  readonly problems: readonly Diagnostic[]
} {
  const { directives, source } = parsed.ast
  const given = analysis.options.buildArgs.BUILDKIT_DOCKERFILE_CHECK
  const directive = directives.find(({ name }) => name === 'check')
  const options = parseCheckOptions(given ?? directive?.value ?? '')
  if (!('problem' in options)) return { options, problems: [] }
  const hint = 'options are skip=RULE,…, experimental=RULE,… and error=true, with ; between them'
  const place = { source, span: directive?.span ?? { start: 0, end: 0 } }
  if (given === undefined)
    return { options: noCheckOptions, problems: [errorAt(place, 'DOCKERFILE_BAD_DIRECTIVE', options.problem, hint)] }
  const message = `BUILDKIT_DOCKERFILE_CHECK: ${options.problem}`
  return { options: noCheckOptions, problems: [{ severity: 'error', code: 'USAGE_BAD_FLAG', message, hint }] }
}

function lintCheckNames({ parsed }: LintInput, options: CheckOptions, findings: Findings): void {
  const directive = parsed.ast.directives.find(({ name }) => name === 'check')
  if (directive === undefined) return
  const named = [options.skip, options.experimental].flatMap((names) => (names === 'all' ? [] : names))
  for (const name of named) {
    if (lintRules.has(name) || !directive.value.includes(name)) continue
    const at = parsed.ast.source.text.indexOf(name, directive.span.start)
    const span: Span = at < 0 ? directive.span : { start: at, end: at + name.length }
    const nearest = nearestRule(name)
    findings.addToFile('UnknownCheckRule', directive.span, `There is no check rule '${name}'`, {
      span,
      ...(nearest === undefined ? {} : { hint: `did you mean ${nearest}?` }),
    })
  }
}

function failureOf(findings: readonly Finding[]): Diagnostic | undefined {
  const failing = findings.filter(({ rule }) => !rule.own)
  const [first] = failing
  if (first === undefined) return undefined
  const names = [...new Set(failing.map(({ rule }) => rule.name))].sort()
  const message = `lint violation found for rules: ${names.join(', ')}`
  const hint = 'mend what the warnings say, or remove error=true from the check directive'
  return errorAt({ source: first.source, span: first.span }, 'DOCKERFILE_CHECK_FAILED', message, hint)
}
