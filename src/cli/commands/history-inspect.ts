/** `mille history inspect`: one build, for people or as JSON. */

import type { BuildRecord, RecordedStep } from '../../store/builds.js'
import { durationOf, findBuild, numberedSteps, statusOf } from '../build-records.js'
import { defineCommand } from '../command.js'
import { humanSeconds, waitedText } from '../human.js'
import { compileTemplate } from '../template.js'

/** The verb `history inspect`. */
export const command = defineCommand({
  name: 'history inspect',
  usage: '[OPTIONS] [BUILD]',
  summary: 'Show one build: its steps, times and reasons',
  notes: ['BUILD is an id, the start of one, or ^N for the N-th before the last; the last if it is left out.'],
  flags: { format: { type: 'string', value: 'template', help: 'A Go template, or json' } },
  unsupported: ['builder', 'debug|D'],
  arguments: [0, 1],
  async run({ values, positionals }, shell) {
    const { record } = findBuild(positionals[0] ?? '^0', shell)
    if (values.format === undefined) shell.print(describe(record))
    else if (values.format === 'json') shell.print(`${JSON.stringify(record, undefined, 2)}\n`)
    else shell.print(`${compileTemplate(values.format)(record)}\n`)
    return 0
  },
})

function describe(record: BuildRecord): string {
  const { context, dockerfile, target, platform, buildArgs, names, imageId, error, warnings, steps } = record
  const cached = steps.filter(({ name, status }) => status === 'cached' && /^\[[^\]]*\d+\/\d+\] /.test(name)).length
  const total = numberedSteps(record)
  const fields: (readonly [string, string | undefined])[] = [
    ['Build', record.id],
    ['Context', context],
    ['Dockerfile', dockerfile],
    ['Target', target],
    ['Platform', platform],
    ['Started', new Date(record.startedAt).toISOString()],
    ['Duration', humanSeconds(durationOf(record))],
    ['Status', statusOf(record)],
    ['Steps', `${total} (${total === 0 ? 0 : Math.round((100 * cached) / total)} % cached)`],
    ['Image', imageId],
    ['Names', names.length === 0 ? undefined : names.join(', ')],
    ...Object.entries(buildArgs).map(([name, value]) => ['Build arg', `${name}=${value}`] as const),
    ['Error', error?.message],
  ]
  const head = fields.flatMap(([name, value]) => (value === undefined ? [] : [`${`${name}:`.padEnd(12)}${value}\n`]))
  const problems = warnings.map(({ code, message }) => `Warning:    ${message} [${code}]\n`)
  return `${head.join('')}${problems.join('')}\n${steps.map(stepLines).join('')}`
}

function stepLines(step: RecordedStep): string {
  const { name, status, durationMs, reason, error } = step
  const time = durationMs === undefined || status === 'cached' ? '' : humanSeconds(durationMs)
  const lines = [`${status.padEnd(8)}${time.padStart(8)}  ${name.replaceAll(/\s+/g, ' ')}`]
  const waited = waitedText(step)
  if (waited !== undefined) lines.push(`${' '.repeat(18)}${waited}`)
  if (reason !== undefined) lines.push(`${' '.repeat(18)}why: ${reason.text}`)
  if (error !== undefined) lines.push(`${' '.repeat(18)}error: ${error}`)
  return lines.map((line) => `${line}\n`).join('')
}
