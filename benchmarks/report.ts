/** Answers as a Markdown table for readers, and as JSON for whoever compares them with those of another day. */
import { cpus } from 'node:os'
import { type Answer, median, type Times } from './harness.js'
import type { Tool } from './tools.js'

/** Medians with the least time in brackets, and how many times longer than mille each peer took. */
export function formatTable(answers: readonly Answer[], tools: readonly Tool[]): string {
  const peers = tools.map(({ name }) => name).filter((name) => name !== 'mille')
  const asked = peers.filter((name) => answers.some(({ times }) => times.has(name)))
  const head = ['question', 'input', 'mille', ...asked.flatMap((name) => [name, `${name} / mille`]), 'goal', 'mille / goal']
  const rows = answers.map(({ question, times }) => {
    const own = times.get('mille')
    return [
      question.title,
      `${question.size}, ${question.rounds} runs`,
      cell(own),
      ...asked.flatMap((name) => [cell(times.get(name)), ratio(middle(times.get(name)), middle(own))]),
      question.goal === undefined ? '–' : question.goal.toFixed(2),
      ratio(middle(own), question.goal),
    ]
  })
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function middle(times: Times | undefined): number | undefined {
  return times === undefined ? undefined : median(times.seconds)
}

function cell(times: Times | undefined): string {
  if (times === undefined) return '–'
  const steps = times.steps === undefined ? '' : `, ${times.steps} ${times.steps === 1 ? 'step' : 'steps'}`
  return `${seconds(median(times.seconds))} (${seconds(Math.min(...times.seconds))})${steps}`
}

function seconds(value: number): string {
  return value.toFixed(value < 0.01 ? 4 : 3)
}

function ratio(value: number | undefined, by: number | undefined): string {
  return value === undefined || by === undefined || by === 0 ? '–' : `${(value / by).toFixed(1)}×`
}

/** Who gave no answer to what, and why: a line each. */
export function formatFailures(answers: readonly Answer[]): string {
  return answers
    .flatMap(({ question, failed }) =>
      [...failed].map(([name, reason]) => `${name} is left out of "${question.title}, ${question.size}": ${reason}\n`),
    )
    .join('')
}

/** The tools and the machine: what figures mean nothing without. */
export function formatMachine(tools: readonly Tool[]): string {
  const versions = tools.map((tool) => `${tool.name}: ${tool.version}\n`).join('')
  return `${versions}node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'}); seconds: median (least)\n`
}

/** All times of all rounds. */
export function jsonReport(answers: readonly Answer[], tools: readonly Tool[], startedAt: Date): string {
  const report = {
    startedAt: startedAt.toISOString(),
    machine: { node: process.version, cores: cpus().length, model: cpus()[0]?.model ?? 'unknown' },
    tools: Object.fromEntries(tools.map(({ name, version }) => [name, version])),
    answers: answers.map(({ question, times, failed }) => ({
      ...{ title: question.title, size: question.size, rounds: question.rounds, goal: question.goal },
      tools: Object.fromEntries([...times].map(([name, own]) => [name, withStatistics(own)])),
      failed: Object.fromEntries(failed),
    })),
  }
  return `${JSON.stringify(report, undefined, 1)}\n`
}

function withStatistics(times: Times): Times & { readonly median: number; readonly min: number } {
  return { ...times, median: median(times.seconds), min: Math.min(...times.seconds) }
}
