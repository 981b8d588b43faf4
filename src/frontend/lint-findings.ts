/** What lint rules find, and the list they write it to: rules that are switched off are dropped here, in one place. */
import type { Instruction } from '../../grammar/ast.js'
import { type Diagnostic, sortDiagnostics } from '../core/diagnostic.js'
import type { SourceFile, Span } from '../core/span.js'
import { type CheckOptions, isRuleOn, withCommentOptions } from './lint-options.js'
import { type LintRule, type RuleName, ruleOf } from './lint-rules.js'

/** A change of the text that mends a finding. */
export interface Edit {
  readonly span: Span
  readonly text: string
}

/** One finding. */
export interface Finding {
  readonly rule: LintRule
  readonly detail: string
  readonly source: SourceFile
  /** The word to look at. */
  readonly span: Span
  /** The whole instruction: what BuildKit calls the location of the warning. */
  readonly statement: Span
  readonly hint: string | undefined
  /** All of them together mend it; none: it takes a human. */
  readonly edits: readonly Edit[]
}

/** What a rule says beside its name and sentence. */
export interface FindingDetails {
  /** The word to look at; the whole instruction when left out. */
  readonly span?: Span
  readonly hint?: string
  readonly edits?: readonly Edit[]
}

/** Collects findings. */
export class Findings {
  readonly list: Finding[] = []
  readonly #source: SourceFile
  readonly #options: CheckOptions

  constructor(source: SourceFile, options: CheckOptions) {
    this.#source = source
    this.#options = options
  }

  /** Notes a finding about an instruction, unless its rule is off there. */
  add(name: RuleName, instruction: Instruction, detail: string, details: FindingDetails = {}): void {
    this.addAt(name, instruction.span, withCommentOptions(this.#options, instruction.comment), detail, details)
  }

  /** Notes a finding about a place that is no instruction. */
  addToFile(name: RuleName, statement: Span, detail: string, details: FindingDetails = {}): void {
    this.addAt(name, statement, this.#options, detail, details)
  }

  private addAt(name: RuleName, statement: Span, options: CheckOptions, detail: string, details: FindingDetails): void {
    const rule = ruleOf(name)
    if (!isRuleOn(options, rule)) return
    const isKnown = this.list.some(
      (each) => each.rule === rule && each.detail === detail && each.statement.start === statement.start,
    )
    if (isKnown) return
    const { span = statement, hint, edits = [] } = details
    this.list.push({ rule, detail, source: this.#source, span, statement, hint, edits })
  }
}

/** A finding as a warning for the one renderer. */
export function findingDiagnostic({ rule, detail, source, span, hint }: Finding): Diagnostic {
  return {
    severity: 'warning',
    code: rule.name,
    message: detail,
    source,
    span,
    ...(hint === undefined ? {} : { hint }),
    ...(rule.url === undefined ? {} : { url: rule.url }),
  }
}

/** Findings as warnings in the order of the file. */
export function findingDiagnostics(findings: readonly Finding[]): Diagnostic[] {
  return sortDiagnostics(findings.map(findingDiagnostic))
}

/** Findings in the order of the file; at one line by what they say. */
export function sortFindings(findings: readonly Finding[]): Finding[] {
  return [...findings].sort(
    (a, b) =>
      a.statement.start - b.statement.start ||
      a.span.start - b.span.start ||
      (a.detail < b.detail ? -1 : a.detail > b.detail ? 1 : 0),
  )
}
