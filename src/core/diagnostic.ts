/** Diagnostics: what is wrong or doubtful in a file, as a value. The parser and the linter collect these; nobody throws them. */
import type { SourceFile, Span } from './span.js'

/** A remark at another place that helps to understand a diagnostic. */
export interface Note {
  readonly message: string
  readonly span?: Span
}

/** One finding. `code` is stable: `AREA_WHAT` for errors, the BuildKit rule name for lint warnings. */
export interface Diagnostic {
  readonly severity: 'error' | 'warning'
  readonly code: string
  readonly message: string
  readonly source?: SourceFile
  readonly span?: Span
  readonly hint?: string
  readonly notes?: readonly Note[]
  readonly url?: string
}

/** Diagnostics in reading order: by place, errors before warnings at the same place. */
export function sortDiagnostics(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  return [...diagnostics].sort(
    (a, b) => (a.span?.start ?? 0) - (b.span?.start ?? 0) || a.severity.localeCompare(b.severity) || a.code.localeCompare(b.code),
  )
}
