/** Times shell commands side by side: one tool after the other in each round, so that a busy minute hits all of them. */
import { spawnSync } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import type { Tool } from './tools.js'

/** One question: what is timed for each tool. */
export interface Question {
  readonly title: string
  /** What the input is: counts and bytes. */
  readonly size: string
  readonly rounds: number
  /** Goal in seconds, on a quiet 2-core machine. */
  readonly goal?: number
  /** Not timed; once for each tool. */
  readonly before?: (tool: Tool) => string | undefined
  /** Not timed; ahead of each round. */
  readonly beforeRound?: (tool: Tool, round: number) => string | undefined
  /** Timed. Undefined: this tool cannot be asked. */
  readonly command: (tool: Tool, round: number) => string | undefined
}

/** Median seconds of each tool that answered. */
export interface Answer {
  readonly question: Question
  readonly medians: ReadonlyMap<string, number>
}

/** Asks every tool, in turn, `rounds` times. A failing command fails the benchmark with its output. */
export function ask(question: Question, tools: readonly Tool[], logFile: string): Answer {
  const times = new Map<string, number[]>()
  for (const tool of tools) {
    if (question.command(tool, 0) !== undefined) shell(question.before?.(tool), logFile)
  }
  for (let round = 0; round < question.rounds; round++) {
    for (const tool of tools) {
      const command = question.command(tool, round)
      if (command === undefined) continue
      shell(question.beforeRound?.(tool, round), logFile)
      const seconds = shell(command, logFile)
      times.set(tool.name, [...(times.get(tool.name) ?? []), seconds])
    }
  }
  const medians = new Map([...times].map(([name, values]) => [name, median(values)]))
  process.stderr.write(`${question.title}: ${[...medians].map(([name, value]) => `${name} ${value.toFixed(3)} s`).join(', ')}\n`)
  return { question, medians }
}

/** Runs a command and returns its wall time in seconds. */
export function shell(command: string | undefined, logFile: string): number {
  if (command === undefined) return 0
  const started = performance.now()
  const result = spawnSync('sh', ['-c', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 28 })
  const seconds = (performance.now() - started) / 1000
  appendFileSync(logFile, `$ ${command}\n${result.stdout}${result.stderr}# ${result.status} after ${seconds.toFixed(3)} s\n`)
  if (result.status !== 0) throw new Error(`exit code ${result.status}: ${command}\n${result.stdout}${result.stderr}`)
  return seconds
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** A Markdown table: seconds, and how many times slower than mille each peer is. */
export function formatTable(answers: readonly Answer[], tools: readonly Tool[]): string {
  const peers = tools.filter((tool) => tool.name !== 'mille').map((tool) => tool.name)
  const head = ['question', 'input', 'mille', ...peers.flatMap((name) => [name, `${name} / mille`]), 'goal', 'mille / goal']
  const rows = answers.map(({ question, medians }) => {
    const own = medians.get('mille')
    const cell = (value: number | undefined, digits: number): string => (value === undefined ? '–' : value.toFixed(digits))
    const ratio = (value: number | undefined, by: number | undefined): string =>
      value === undefined || by === undefined || by === 0 ? '–' : `${(value / by).toFixed(1)}×`
    return [
      question.title,
      `${question.size}, ${question.rounds} runs`,
      cell(own, 3),
      ...peers.flatMap((name) => [cell(medians.get(name), 3), ratio(medians.get(name), own)]),
      cell(question.goal, 2),
      ratio(own, question.goal),
    ]
  })
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
