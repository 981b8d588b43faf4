/**
 * Progress as plain lines in the shape of BuildKit's `plain`, for logs and CI:
 *
 *     #5 [2/4] RUN npm ci
 *     #5 why: package.json changed
 *     #5 0.312 added 12 packages
 *     #5 DONE 1.2s
 *
 * Steps are numbered as they start. A blank line stands before each step and wherever the output changes to another.
 * Output of commands is never clipped; what comes at once is written at once, and has one time.
 */
import { StringDecoder } from 'node:string_decoder'
import type { BuildEvent } from '../core/context.js'
import { renderDiagnostic } from '../core/render.js'
import { printableLine } from '../core/width.js'
import { humanSeconds, humanSize, waitingText } from './human.js'
import type { Listener } from './listener.js'

/** Where the lines go. */
export interface PlainOptions {
  readonly write: (text: string) => void
  readonly color: boolean
}

interface Step {
  readonly number: number
  readonly name: string
  startedAtMs: number
  /** Since when it waits for which work of other processes. */
  readonly waits: Map<string, number>
  readonly decoders: readonly [StringDecoder, StringDecoder]
  /** Output that has no line end yet, for stdout and stderr. */
  readonly partial: [string, string]
  readonly items: Map<string, { shownAtMs: number }>
}

/** How often a running transfer is reported. */
const transferEveryMs = 1_000

/** A line that goes on for longer is cut in pieces of this many characters: it is kept in memory until it ends. */
const longestPartial = 64 * 1024

/** Opens the plain display. */
export function openPlain(options: PlainOptions): Listener {
  const display = new PlainDisplay(options)
  return { handle: (event) => display.handle(event), close: () => undefined }
}

class PlainDisplay {
  readonly #options: PlainOptions
  readonly #steps = new Map<string, Step>()
  #shown: Step | undefined

  constructor(options: PlainOptions) {
    this.#options = options
  }

  handle(event: BuildEvent): void {
    if (event.type === 'vertex-started') this.#start(event)
    if (event.type === 'vertex-done') this.#done(event)
    if (event.type === 'waiting') this.#wait(event)
    if (event.type === 'log') this.#log(event)
    if (event.type === 'progress') this.#transfer(event)
    if (event.type !== 'warning') return
    this.#shown = undefined
    this.#options.write(`\n${renderDiagnostic(event.diagnostic, this.#options)}`)
  }

  #start(event: Extract<BuildEvent, { type: 'vertex-started' }>): void {
    const step = this.#stepOf(event)
    if (event.reason === undefined) this.#turnTo(step)
    else this.#line(step, `why: ${printableLine(event.reason.text)}`)
  }

  /** What comes after a wait counts from its end: the time of a step that is run here after all is its own. */
  #wait(event: Extract<BuildEvent, { type: 'waiting' }>): void {
    const step = this.#stepOf(event)
    const sinceMs = step.waits.get(event.work) ?? event.atMs
    if (event.isOver) {
      step.startedAtMs = event.atMs
      step.waits.delete(event.work)
      this.#line(step, `waited ${humanSeconds(event.atMs - sinceMs)}`)
    } else {
      step.waits.set(event.work, sinceMs)
      this.#line(step, waitingText(event))
    }
  }

  #stepOf(event: { readonly id: string; readonly name?: string; readonly atMs: number }): Step {
    const known = this.#steps.get(event.id)
    if (known !== undefined) return known
    const step: Step = {
      number: this.#steps.size + 1,
      name: event.name ?? event.id,
      startedAtMs: event.atMs,
      waits: new Map(),
      decoders: [new StringDecoder('utf8'), new StringDecoder('utf8')],
      partial: ['', ''],
      items: new Map(),
    }
    this.#steps.set(event.id, step)
    return step
  }

  /** Prints the heading of a step, unless its lines are what was printed last. */
  #turnTo(step: Step): void {
    if (this.#shown === step) return
    this.#options.write(`${this.#shown === undefined && step.number === 1 ? '' : '\n'}#${step.number} ${step.name}\n`)
    this.#shown = step
  }

  #line(step: Step, text: string): void {
    this.#turnTo(step)
    this.#options.write(`#${step.number} ${text}\n`)
  }

  #log(event: Extract<BuildEvent, { type: 'log' }>): void {
    const step = this.#stepOf(event)
    const index = event.stream === 2 ? 1 : 0
    const text = step.partial[index] + step.decoders[index].write(Buffer.from(event.data))
    const end = text.lastIndexOf('\n')
    step.partial[index] = text.slice(end + 1)
    if (end >= 0) this.#logLines(step, text.slice(0, end), event.atMs)
    if (step.partial[index].length > longestPartial) this.#cutPartial(step, index, event.atMs)
  }

  /** Of a line that is redrawn only what stands there now is needed; another one is shown as far as it goes. */
  #cutPartial(step: Step, index: 0 | 1, atMs: number): void {
    const line = step.partial[index]
    const { from, to } = lastState(line)
    const isLong = to - from > longestPartial
    step.partial[index] = isLong ? '' : line.slice(from, Math.min(line.length, to + 1))
    if (isLong) this.#logLines(step, line.slice(from, to), atMs)
  }

  /** Any number of lines, without the last line end, in one write. */
  #logLines(step: Step, text: string, atMs: number): void {
    this.#turnTo(step)
    const head = `#${step.number} ${((atMs - step.startedAtMs) / 1000).toFixed(3)} `
    const shown = text.includes('\r') ? text.split('\n').map(redrawn).join('\n') : text
    this.#options.write(`${head}${shown.replaceAll('\n', `\n${head}`)}\n`)
  }

  #transfer(event: Extract<BuildEvent, { type: 'progress' }>): void {
    const step = this.#stepOf(event)
    const item = step.items.get(event.item)
    if (item !== undefined && !event.done && event.atMs - item.shownAtMs < transferEveryMs) return
    step.items.set(event.item, { shownAtMs: event.atMs })
    const total = event.total === undefined ? '' : ` / ${humanSize(event.total)}`
    const amount = event.total === undefined && event.current === 0 ? '' : ` ${humanSize(event.current)}${total}`
    const end = event.done ? ` ${humanSeconds(event.atMs - step.startedAtMs)} done` : ''
    this.#line(step, `${event.item}${amount}${end}`)
  }

  #done(event: Extract<BuildEvent, { type: 'vertex-done' }>): void {
    const step = this.#stepOf(event)
    for (const index of [0, 1] as const) {
      const rest = step.partial[index] + step.decoders[index].end()
      step.partial[index] = ''
      if (rest !== '') this.#logLines(step, rest, event.atMs)
    }
    if (event.error !== undefined) this.#line(step, `ERROR: ${event.error}`)
    else this.#line(step, event.cached ? 'CACHED' : `DONE ${humanSeconds(event.atMs - step.startedAtMs)}`)
  }
}

/** Of a line that a command redrew with carriage returns, the last state is what counts. */
function redrawn(line: string): string {
  const { from, to } = lastState(line)
  return line.slice(from, to)
}

/** Where the last state of a line begins and ends; carriage returns at its end have nothing behind them yet. */
function lastState(line: string): { readonly from: number; readonly to: number } {
  let to = line.length
  while (line[to - 1] === '\r') to--
  return { from: to === 0 ? 0 : line.lastIndexOf('\r', to - 1) + 1, to }
}
