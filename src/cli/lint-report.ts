/** What a check found, as people and programs want to read it: text, BuildKit's JSON, SARIF, GitHub annotations. */
import type { CheckResult } from '../check.js'
import { encodePath } from '../core/path-bytes.js'
import { renderDiagnostic } from '../core/render.js'
import { originOf, positionAt, type SourceFile, type Span } from '../core/span.js'
import { type Finding, findingDiagnostic } from '../frontend/lint-findings.js'
import { locationOf } from '../frontend/outline.js'

/** The formats of `mille lint`. */
export const lintFormats = ['text', 'json', 'sarif', 'github'] as const

/** Renders results in one of the formats; ends in a line feed, or is empty. */
export function renderResults(results: readonly CheckResult[], format: string, color: boolean, version: string): string {
  if (format === 'sarif') return json(sarifOf(results, version))
  if (format === 'github') return results.flatMap(githubLines).join('')
  if (format !== 'json') return results.map((result) => textOf(result, color)).join('\n')
  const [first] = results
  return json(results.length === 1 && first !== undefined ? jsonOf(first) : results.map(jsonOf))
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}

/** Warnings and errors as the rest of mille shows them, and how many there are. */
export function textOf({ findings, errors, unknownBases, source }: CheckResult, color: boolean): string {
  const diagnostics = [...findings.map(findingDiagnostic), ...errors].map((each) => `${renderDiagnostic(each, { color })}\n`)
  const notes = unknownBases.map(
    (name) => `note: the image ${name} could not be looked at; which variables it sets is not known\n`,
  )
  return `${[...diagnostics, ...notes].join('')}${source.name}: ${summaryOf(findings.length, errors.length)}\n`
}

function summaryOf(warnings: number, errors: number): string {
  const failed = errors === 0 ? '' : `, ${errors} error${errors === 1 ? '' : 's'}`
  if (warnings === 0) return `Check complete, no warnings found${failed}.`
  return `Check complete, ${warnings} warning${warnings === 1 ? ' has' : 's have'} been found${failed}!`
}

/** The shape of buildx's `--call=check,format=json`. */
export function jsonOf({ findings, errors, source }: CheckResult): unknown {
  const [error] = errors
  return {
    warnings: findings.map(({ rule, detail, statement }) => ({
      ruleName: rule.name,
      description: rule.description,
      ...(rule.url === undefined ? {} : { url: rule.url }),
      detail,
      location: locationOf(source.text, statement),
    })),
    sources: [{ filename: source.name, language: 'Dockerfile', data: Buffer.from(source.text).toString('base64') }],
    ...(error === undefined
      ? {}
      : {
          buildError: {
            message: error.message,
            ...(error.span === undefined ? {} : { location: locationOf(source.text, error.span) }),
          },
        }),
  }
}

/** One line for each, which GitHub Actions shows beside the source. */
function githubLines({ findings, errors, source }: CheckResult): string[] {
  return [...findings.map(findingDiagnostic), ...errors].map(({ severity, code, message, span }) => {
    const origin = originOf(source, span ?? { start: 0, end: 0 })
    const { line, column } = positionAt(origin.source.text, origin.span.start)
    const place = `file=${escapeProperty(origin.source.name)},line=${line},col=${column},title=${escapeProperty(code)}`
    return `::${severity} ${place}::${escapeData(message)}\n`
  })
}

function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
}

/** SARIF 2.1.0: one run with the rules that were found. */
function sarifOf(results: readonly CheckResult[], version: string): unknown {
  const rules = new Map(results.flatMap(({ findings }) => findings.map(({ rule }) => [rule.name, rule] as const)))
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'mille',
            version,
            rules: [...rules.values()].map(({ name, description, url }) => ({
              id: name,
              shortDescription: { text: description },
              ...(url === undefined ? {} : { helpUri: url }),
            })),
          },
        },
        columnKind: 'utf16CodeUnits',
        results: results.flatMap(({ findings, errors, source }) => [
          ...findings.map((finding) => sarifResult(finding)),
          ...errors.map(({ code, message, span }) => ({
            ...{ ruleId: code, level: 'error', message: { text: message } },
            locations: [sarifLocation(source, span ?? { start: 0, end: 0 })],
          })),
        ]),
      },
    ],
  }
}

function sarifResult({ rule, detail, source, span, edits }: Finding): unknown {
  const uri = uriOf(source.name)
  const replacements = edits.map((edit) => ({
    deletedRegion: regionOf(source.text, edit.span),
    insertedContent: { text: edit.text },
  }))
  return {
    ...{ ruleId: rule.name, level: 'warning', message: { text: detail } },
    locations: [sarifLocation(source, span)],
    ...(edits.length === 0 || source.parts !== undefined
      ? {}
      : { fixes: [{ artifactChanges: [{ artifactLocation: { uri }, replacements }] }] }),
  }
}

/** SARIF takes URI references: bytes that may not stand in one are written as `%XX`, and an absolute path has a scheme. */
function uriOf(name: string): string {
  const path = encodePath(name).toString('latin1')
  const encoded = path.replace(/[^A-Za-z0-9\-._~/!$&'()*+,;=@]/g, (byte) => {
    return `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
  })
  return encoded.startsWith('/') ? `file://${encoded}` : encoded
}

function sarifLocation(text: SourceFile, place: Span): unknown {
  const { source, span } = originOf(text, place)
  return { physicalLocation: { artifactLocation: { uri: uriOf(source.name) }, region: regionOf(source.text, span) } }
}

function regionOf(text: string, { start, end }: { readonly start: number; readonly end: number }): unknown {
  const [first, last] = [positionAt(text, start), positionAt(text, end)]
  return { startLine: first.line, startColumn: first.column, endLine: last.line, endColumn: last.column }
}
