/** What `--explain` prints: which steps ran, or would run, and why, for people or as JSON. */
import type { StepChange } from '../core/reason.js'
import type { LoggedStep } from '../engine/step-log.js'
import { humanSeconds, waitedText } from './human.js'

/** What a report is of: a build, or with `dryRun` what it would do. */
export interface ExplainReport {
  readonly dryRun: boolean
  readonly steps: readonly LoggedStep[]
}

/** The report as JSON with a line end. `upToDate` is true when no step ran or would. */
export function explainJson({ dryRun, steps }: ExplainReport): string {
  const counts = { ran: 0, cached: 0, failed: 0, waiting: 0, 'would-run': 0, 'may-run': 0, running: 0 }
  for (const { status, reason } of steps) if (status !== 'ran' || reason !== undefined) counts[status]++
  const upToDate = counts.ran + counts.failed + counts['would-run'] + counts['may-run'] === 0
  return `${JSON.stringify({ version: 1, dryRun, upToDate, counts, steps }, undefined, 2)}\n`
}

/** The report for people. */
export function explainText({ dryRun, steps }: ExplainReport): string {
  const shown = steps.filter(({ reason }) => reason !== undefined)
  if (shown.length === 0) return dryRun ? 'no step would run\n' : 'no step ran\n'
  const counted = steps.filter(({ name }) => /^\[[^\]]*\d+\/\d+\] /.test(name))
  const open = shown.filter(({ status }) => status === 'may-run').length
  const did = dryRun ? `would run${open > 0 ? `, ${open} of them perhaps` : ''}` : 'ran'
  const head = `${shown.length} of ${counted.length} steps ${did}\n`
  return head + shown.map(stepText).join('')
}

function stepText(step: LoggedStep): string {
  const { name, status, durationMs, reason } = step
  if (reason === undefined) return ''
  const waited = waitedText(step)
  const time = durationMs === undefined ? '' : `  ${humanSeconds(durationMs)}`
  const mark = { failed: '  FAILED', 'may-run': '  unless that leaves the same files' }[status as string] ?? ''
  const details = (reason.changes ?? []).flatMap(changeLines)
  const lines = [
    `${name.replaceAll(/\s+/g, ' ')}${time}`,
    `  why: ${reason.text}${mark}`,
    ...(waited === undefined ? [] : [`  ${waited}`]),
    ...details.map((line) => `    ${line}`),
  ]
  return `\n${lines.join('\n')}\n`
}

/** What the one line of a reason has no room for. */
function changeLines(change: StepChange): string[] {
  if (change.kind === 'instruction') return [`- ${change.old}`, `+ ${change.new}`]
  if (change.kind !== 'files' || change.count < 2) return []
  const lines = change.paths.map(({ path, change: did }) => `${did} ${path}`)
  return change.count > lines.length ? [...lines, `and ${change.count - lines.length} more`] : lines
}
