/**
 * Progress on a terminal: finished steps scroll by as lines, the running ones are redrawn below them with the end of
 * their output, and one spinning line (ora) stands for the whole.
 *
 * ora takes tens of milliseconds to load, so it is loaded only when something has been running for a moment: a build
 * whose steps are all cached never sees it.
 */
import { StringDecoder } from 'node:string_decoder'
import type { Ora } from 'ora'
import type { BuildEvent } from '../core/context.js'
import { renderDiagnostic } from '../core/render.js'
import { displayWidth, printableLine, truncateToWidth } from '../core/width.js'
import { humanSeconds, humanSize, waitingText } from './human.js'
import type { Listener } from './listener.js'
import type { Output } from './shell.js'

/** Where and how the display draws. */
export interface ProgressOptions {
  /** What the live line calls the whole: `Building`. */
  readonly title: string
  readonly stream: Output
  readonly color: boolean
  readonly now: () => number
}

interface Step {
  readonly name: string
  /** False while it only waits for another process. */
  readonly hasStarted: boolean
  /** Whom it waits for; empty where it does not. */
  waiting: string
  /** Why it runs; empty where there is nothing to say. */
  readonly why: string
  readonly startedAtMs: number
  readonly decoder: StringDecoder
  /** The last whole lines of output, oldest first. */
  readonly tail: string[]
  partial: string
  readonly items: Map<string, { readonly current: number; readonly total: number | undefined }>
}

/** The build as the display sees it. */
interface State {
  readonly running: Map<string, Step>
  readonly startedAtMs: number
  planned: number
  done: number
}

const liveAfterMs = 150
const redrawMs = 100
const linesPerStep = 6
/** Times are aligned at this column on wide terminals. */
const widestLine = 100
const longestPartial = 2_000

/** Opens the terminal display. */
export function openProgress(options: ProgressOptions): Listener {
  const display = new TerminalDisplay(options)
  return { handle: (event) => display.handle(event), close: () => display.close() }
}

class TerminalDisplay {
  readonly #options: ProgressOptions
  /** All writing goes here: ora watches it, and keeps its live lines below what is written. */
  readonly #terminal: NodeJS.WriteStream
  readonly #state: State
  #timer: NodeJS.Timeout | undefined
  #spinner: Ora | undefined
  #closed = false

  constructor(options: ProgressOptions) {
    this.#options = options
    this.#terminal = sized(options.stream as NodeJS.WriteStream)
    this.#state = { running: new Map(), startedAtMs: options.now(), planned: 0, done: 0 }
  }

  handle(event: BuildEvent): void {
    if (event.type === 'plan') this.#state.planned = event.vertices.length
    if (event.type === 'vertex-started') this.#start(event.id, event.name, event.atMs, event.reason?.text)
    if (event.type === 'vertex-done') this.#finish(event)
    if (event.type === 'waiting') this.#wait(event)
    if (event.type === 'log') addOutput(this.#start(event.id, event.id, event.atMs), event.data)
    if (event.type === 'progress') addTransfer(this.#start(event.id, event.id, event.atMs), event)
    if (event.type === 'warning') this.#terminal.write(renderDiagnostic(event.diagnostic, this.#options))
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#spinner?.stop()
    this.#spinner = undefined
  }

  #start(id: string, name: string, atMs: number, why = '', hasStarted = true): Step {
    const known = this.#state.running.get(id)
    if (known !== undefined) return known
    const decoder = new StringDecoder('utf8')
    const step: Step = {
      ...{ name, why, startedAtMs: atMs, decoder, hasStarted },
      ...{ tail: [], partial: '', waiting: '', items: new Map() },
    }
    this.#state.running.set(id, step)
    this.#timer ??= setTimeout(() => void this.#goLive(), liveAfterMs).unref()
    return step
  }

  #wait(event: Extract<BuildEvent, { type: 'waiting' }>): void {
    const step = this.#start(event.id, event.name, event.atMs, '', false)
    if (event.isOver) step.waiting = ''
    else step.waiting = waitingText(event)
    // A step that did not begin before its wait begins now; its time is its own.
    if (event.isOver && !step.hasStarted) this.#state.running.delete(event.id)
  }

  #finish(event: Extract<BuildEvent, { type: 'vertex-done' }>): void {
    const { startedAtMs, why } = this.#state.running.get(event.id) ?? { startedAtMs: event.atMs, why: '' }
    this.#state.running.delete(event.id)
    this.#state.done++
    const outcome = event.error === undefined ? (event.cached ? 'cached' : 'done') : 'failed'
    const elapsedMs = event.atMs - startedAtMs
    const line = finishedLine({ name: event.name, outcome, elapsedMs, why }, this.#terminal.columns, this.#options.color)
    this.#terminal.write(`${line}\n`)
  }

  async #goLive(): Promise<void> {
    const { default: ora } = await import('ora')
    if (this.#closed) return
    this.#spinner = ora({
      stream: this.#terminal,
      isEnabled: true,
      discardStdin: false,
      interval: redrawMs,
      color: this.#options.color ? 'cyan' : false,
      suffixText: () => liveText(this.#state, this.#options),
    }).start()
  }
}

/** Only the last lines are looked at: output may come faster than anybody could read it. */
function addOutput(step: Step, data: Uint8Array): void {
  const text = step.partial + step.decoder.write(Buffer.from(data))
  let from = text.length
  for (let lines = 0; lines <= linesPerStep && from >= 0; lines++) from = from === 0 ? -1 : text.lastIndexOf('\n', from - 1)
  const lines = text.slice(from + 1).split('\n')
  step.partial = (lines.pop() ?? '').slice(-longestPartial)
  step.tail.push(...lines)
  step.tail.splice(0, step.tail.length - linesPerStep)
}

function addTransfer(step: Step, event: Extract<BuildEvent, { type: 'progress' }>): void {
  if (event.done) step.items.delete(event.item)
  else step.items.set(event.item, { current: event.current, total: event.total })
}

/** Some terminals (of `script`, of CI) say that they are 0 columns wide: they do not know. */
function columnsOf(stream: Output): number {
  return Math.max(20, stream.columns || 80)
}

/** The same terminal with a size that can be divided by: ora never ends on one that is 0 columns wide. */
function sized(stream: NodeJS.WriteStream): NodeJS.WriteStream {
  const terminal: Partial<NodeJS.WriteStream> = {
    isTTY: true,
    get columns() {
      return columnsOf(stream)
    },
    get rows() {
      return stream.rows || 24
    },
    write: (data: string | Uint8Array) => stream.write(data),
    cursorTo: (x: number) => stream.cursorTo(x),
    moveCursor: (dx: number, dy: number) => stream.moveCursor(dx, dy),
    clearLine: (direction: -1 | 0 | 1) => stream.clearLine(direction),
  }
  const listening = { once: stream.once?.bind(stream), removeListener: stream.removeListener?.bind(stream) }
  return Object.assign(terminal, listening) as NodeJS.WriteStream
}

/** A step that ended. */
interface Finished {
  readonly name: string
  readonly outcome: 'cached' | 'done' | 'failed'
  readonly elapsedMs: number
  readonly why: string
}

/** One line for a step that ended: a mark, its name and why it ran, and at the right its time or CACHED. */
function finishedLine({ name, outcome, elapsedMs, why }: Finished, columns: number, color: boolean): string {
  const right =
    outcome === 'cached' ? 'CACHED' : outcome === 'failed' ? `ERROR ${humanSeconds(elapsedMs)}` : humanSeconds(elapsedMs)
  const mark = outcome === 'failed' ? '✗' : '✓'
  const room = Math.min(columns - 1, widestLine) - right.length - 1
  // A long name gives way to the reason, down to half of the line.
  const reason = why === '' ? '' : truncateToWidth(`  (${printableLine(why)})`, Math.floor(room / 2))
  const head = truncateToWidth(`${mark} ${printableLine(name)}`, room - displayWidth(reason))
  if (!color) return alignRight(head + reason, right, columns)
  const code = { cached: 2, done: 32, failed: 31 }[outcome]
  if (outcome !== 'done') return `\x1b[${code}m${alignRight(head + reason, right, columns)}\x1b[0m`
  const gap = ' '.repeat(room - displayWidth(head + reason) + 1)
  return `\x1b[${code}m${head.slice(0, 1)}\x1b[0m${head.slice(1)}${paintDim(reason, true)}${gap}${right}`
}

function alignRight(left: string, right: string, columns: number): string {
  const width = Math.min(columns - 1, widestLine)
  const room = width - right.length - 1
  const shown = truncateToWidth(left, room)
  return `${shown}${' '.repeat(room - displayWidth(shown) + 1)}${right}`
}

/** What ora shows behind its spinner: the whole on the first line, then each running step. */
function liveText(state: State, options: ProgressOptions): string {
  const columns = columnsOf(options.stream)
  const now = options.now()
  const counts = state.planned > 0 ? `, ${state.done} of ${state.planned} steps` : ''
  const head = truncateToWidth(`${options.title} ${humanSeconds(now - state.startedAtMs)}${counts}`, columns - 4)
  const room = Math.max(1, (options.stream.rows || 24) - 3)
  const steps = [...state.running.values()]
  const each = Math.max(0, Math.min(linesPerStep, Math.floor(room / Math.max(1, steps.length)) - 1))
  const lines = steps.flatMap((step) => [
    alignRight(
      `  ${printableLine(step.name)}${step.why === '' ? '' : `  (${printableLine(step.why)})`}`,
      humanSeconds(now - step.startedAtMs),
      columns,
    ),
    ...detailLines(step, each).map((line) => paintDim(truncateToWidth(`    ${line}`, columns - 1), options.color)),
  ])
  return [head, ...lines.slice(0, room)].join('\n')
}

/** The transfers of a step, or else the end of its output. */
function detailLines(step: Step, most: number): string[] {
  if (most === 0) return []
  const waiting = step.waiting === '' ? [] : [step.waiting]
  const transfers = [...step.items].map(([item, { current, total }]) => `${item} ${amountOf(current, total)}`)
  if (waiting.length + transfers.length > 0) return [...waiting, ...transfers].slice(0, most)
  const partial = step.partial === '' ? [] : [step.partial]
  return [...step.tail, ...partial]
    .slice(-most)
    .map((line) => printableLine(line.replace(/\r+$/, '').split('\r').at(-1) ?? '').replaceAll('\t', '    '))
}

function amountOf(current: number, total: number | undefined): string {
  return total === undefined ? humanSize(current) : `${humanSize(current)} / ${humanSize(total)}`
}

function paintDim(text: string, color: boolean): string {
  return color ? `\x1b[2m${text}\x1b[0m` : text
}
