/**
 * Asks questions and keeps the times: one tool after the other in each round, so that a busy minute hits all of them.
 *
 * A tool that fails is left out of that question, with the reason; the others go on.
 */
import { spawnSync } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
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
  /** True where what is still to be written to the disk would be counted against the next tool: it is written first. */
  readonly settle?: boolean
  /** Timed. Undefined: this tool cannot be asked. */
  readonly command: (tool: Tool, round: number) => string | undefined
  /** How many steps were carried out, from the output of the command. */
  readonly steps?: (output: string) => number
}

/** A question that only mille's own code is asked, without a command. */
export interface OwnQuestion {
  readonly title: string
  readonly size: string
  readonly rounds: number
  readonly goal?: number
  /** Seconds. */
  readonly measure: (round: number) => Promise<number>
}

/** What one tool took. */
export interface Times {
  readonly seconds: readonly number[]
  /** Of the last round. */
  readonly steps?: number
}

/** What the tools took, and why some of them gave no answer. */
export interface Answer {
  readonly question: Pick<Question, 'title' | 'size' | 'rounds' | 'goal'>
  readonly times: ReadonlyMap<string, Times>
  readonly failed: ReadonlyMap<string, string>
}

/** How to ask. */
export interface AskOptions {
  readonly logFile: string
  /** Rounds of every question, whatever it says itself. */
  readonly rounds?: number
  readonly signal: AbortSignal
}

/** What a command printed, and its wall time. */
interface Ran {
  readonly seconds: number
  readonly output: string
}

/** Asks every tool in turn, round after round. */
export async function ask(question: Question, tools: readonly Tool[], options: AskOptions): Promise<Answer> {
  const rounds = options.rounds ?? question.rounds
  const times = new Map<string, Times>()
  const failed = new Map<string, string>()
  const run = (command: string | undefined): Ran => shell(command, options.logFile)
  const attempt = async (tool: Tool, work: () => void): Promise<void> => {
    // Lets a signal be seen: the commands themselves are waited for without looking.
    await setImmediate()
    options.signal.throwIfAborted()
    if (failed.has(tool.name)) return
    try {
      work()
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      failed.set(tool.name, error.message)
      times.delete(tool.name)
      process.stderr.write(`${question.title}: ${tool.name} is left out: ${error.message}\n`)
    }
  }
  for (const tool of tools) {
    if (question.command(tool, 0) !== undefined) await attempt(tool, () => run(question.before?.(tool)))
  }
  for (let round = 0; round < rounds; round++) {
    for (const tool of tools) {
      const command = question.command(tool, round)
      if (command === undefined) continue
      await attempt(tool, () => {
        run(question.beforeRound?.(tool, round))
        if (question.settle === true) run('sync')
        const { seconds, output } = run(command)
        times.set(tool.name, {
          seconds: [...(times.get(tool.name)?.seconds ?? []), seconds],
          ...(question.steps === undefined ? {} : { steps: question.steps(output) }),
        })
      })
    }
  }
  return announced({ question: { ...question, rounds }, times, failed })
}

/** Asks mille's code itself. */
export async function askOwn(question: OwnQuestion, { rounds = question.rounds, signal }: AskOptions): Promise<Answer> {
  const seconds: number[] = []
  for (let round = 0; round < rounds; round++) {
    signal.throwIfAborted()
    seconds.push(await question.measure(round))
  }
  return announced({ question: { ...question, rounds }, times: new Map([['mille', { seconds }]]), failed: new Map() })
}

function announced(answer: Answer): Answer {
  const parts = [...answer.times].map(([name, { seconds }]) => `${name} ${median(seconds).toFixed(3)} s`)
  process.stderr.write(`${answer.question.title}, ${answer.question.size}: ${parts.join(', ')}\n`)
  return answer
}

/** A command that did not succeed. */
export class CommandError extends Error {}

/**
 * Runs a command to its end.
 *
 * @throws CommandError with the last line of what it printed, where its exit code is not 0
 */
export function shell(command: string | undefined, logFile: string): Ran {
  if (command === undefined) return { seconds: 0, output: '' }
  const started = performance.now()
  const result = spawnSync('sh', ['-c', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 28 })
  const seconds = (performance.now() - started) / 1000
  const output = `${result.stdout}${result.stderr}`
  appendFileSync(logFile, `$ ${command}\n${output}# ${result.status} after ${seconds.toFixed(3)} s\n`)
  if (result.status === 0) return { seconds, output }
  const last = output.trimEnd().split('\n').at(-1) ?? ''
  throw new CommandError(`${result.signal ?? `exit code ${result.status}`} of ${command.slice(0, 200)}: ${last.slice(0, 300)}`)
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}
