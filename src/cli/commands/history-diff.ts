/** `mille history diff`: which steps ran in one build and not in the other, why, and where the time went. */

import { readName } from '../../explain/state.js'
import type { BuildRecord, RecordedStep } from '../../store/builds.js'
import { durationOf, findBuild, statusOf, titleOf } from '../build-records.js'
import { defineCommand } from '../command.js'
import { humanSeconds } from '../human.js'
import type { Shell } from '../shell.js'

/** One step in both builds; undefined where a build did not have it. */
interface Pair {
  readonly name: string
  readonly a: RecordedStep | undefined
  readonly b: RecordedStep | undefined
}

/** The verb `history diff`. */
export const command = defineCommand({
  name: 'history diff',
  usage: '[OPTIONS] [A [B]]',
  summary: 'Show what two builds did differently',
  notes: ['A and B are ids, the start of ids, or ^N for the N-th before the last; ^1 and ^0 if they are left out.'],
  flags: { format: { type: 'string', value: 'format', choices: ['json'], help: 'As JSON instead of text' } },
  arguments: [0, 2],
  async run({ values, positionals }, shell) {
    const [a = '^1', b = '^0'] = positionals
    const [first, second] = [findBuild(a, shell).record, findBuild(b, shell).record]
    const pairs = pairSteps(first.steps, second.steps)
    if (values.format === 'json')
      shell.print(`${JSON.stringify({ a: summaryOf(first), b: summaryOf(second), steps: pairs }, undefined, 2)}\n`)
    else printDifferences(first, second, pairs, shell)
    return 0
  },
})

function summaryOf(record: BuildRecord): object {
  const { id, startedAt } = record
  return { id, status: statusOf(record), startedAt, durationMs: durationOf(record) }
}

/** The same step has the same text in the same stage, else the same number; equal ones are paired in their order. */
function pairSteps(a: readonly RecordedStep[], b: readonly RecordedStep[]): Pair[] {
  const left = [...b]
  const partners = new Map<RecordedStep, RecordedStep>()
  for (const nameOf of [stepName, stepNumber]) {
    for (const step of a) {
      const at = partners.has(step) ? -1 : left.findIndex((other) => nameOf(other) === nameOf(step))
      const [other] = at < 0 ? [] : left.splice(at, 1)
      if (other !== undefined) partners.set(step, other)
    }
  }
  const pairs = a.map((step): Pair => ({ name: stepName(partners.get(step) ?? step), a: step, b: partners.get(step) }))
  return [...pairs, ...left.map((step) => ({ name: stepName(step), a: undefined, b: step }))]
}

/** Without its number, which changes when a step is put in before it. */
function stepName({ name }: RecordedStep): string {
  const { stage, shown } = readName(name)
  return stage === '' ? shown : `[${stage}] ${shown}`
}

/** `[build 3/5]`, with the keyword; the whole name of what has no number. */
function stepNumber({ name }: RecordedStep): string {
  return /^\[[^\]]*\d+\/\d+\] \S+/.exec(name)?.[0] ?? name
}

function printDifferences(a: BuildRecord, b: BuildRecord, pairs: readonly Pair[], shell: Shell): void {
  const delta = durationOf(b) - durationOf(a)
  const head = [
    ...(['A', 'B'] as const).map((letter) => {
      const record = letter === 'A' ? a : b
      const when = new Date(record.startedAt).toISOString()
      return `${letter}  ${record.id.slice(0, 12)}  ${titleOf(record)}  ${when}  ${statusOf(record)}  ${humanSeconds(durationOf(record))}`
    }),
    delta === 0 ? 'B took as long as A' : `B took ${humanSeconds(Math.abs(delta))} ${delta > 0 ? 'longer' : 'less'} than A`,
  ]
  const ran = (step: RecordedStep | undefined): boolean => step?.reason !== undefined
  const sections = [
    section(
      'ran in B, not in A',
      pairs.filter((pair) => ran(pair.b) && !ran(pair.a)),
      ({ b: step }) => step,
    ),
    section(
      'ran in A, not in B',
      pairs.filter((pair) => ran(pair.a) && !ran(pair.b)),
      ({ a: step }) => step,
    ),
    both(pairs.filter((pair) => ran(pair.a) && ran(pair.b))),
    only(
      'only A has',
      pairs.filter((pair) => pair.b === undefined && !ran(pair.a)),
    ),
    only(
      'only B has',
      pairs.filter((pair) => pair.a === undefined && !ran(pair.b)),
    ),
  ]
  shell.print(`${head.join('\n')}\n${sections.join('')}`)
}

function section(title: string, pairs: readonly Pair[], pick: (pair: Pair) => RecordedStep | undefined): string {
  if (pairs.length === 0) return ''
  const total = pairs.reduce((sum, pair) => sum + (pick(pair)?.durationMs ?? 0), 0)
  const lines = pairs.flatMap((pair) => {
    const step = pick(pair)
    return [`  ${humanSeconds(step?.durationMs ?? 0).padStart(8)}  ${pair.name}`, `            why: ${step?.reason?.text ?? ''}`]
  })
  return `\n${title} (${humanSeconds(total)}):\n${lines.join('\n')}\n`
}

function both(pairs: readonly Pair[]): string {
  if (pairs.length === 0) return ''
  const lines = pairs.flatMap(({ name, a, b }) => [
    `  ${humanSeconds(a?.durationMs ?? 0).padStart(8)} → ${humanSeconds(b?.durationMs ?? 0)}  ${name}`,
    ...(a?.reason?.text === b?.reason?.text
      ? [`            why: ${b?.reason?.text}`]
      : [`            why in A: ${a?.reason?.text}`, `            why in B: ${b?.reason?.text}`]),
  ])
  return `\nran in both:\n${lines.join('\n')}\n`
}

function only(title: string, pairs: readonly Pair[]): string {
  if (pairs.length === 0) return ''
  return `\n${title}:\n${pairs.map(({ name }) => `            ${name}\n`).join('')}`
}
