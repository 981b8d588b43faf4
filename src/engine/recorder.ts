/**
 * Keeps a record of a build: what its events say, in one small file, written when the build ends however it ends, and once
 * before its first step runs, so that a killed build is known too. Where steps run, the events themselves are kept for
 * `history logs`. A build in which nothing runs writes its record and nothing else.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { hideCredentials } from '../core/address.js'
import type { BuildEvent } from '../core/context.js'
import { BuildError } from '../core/errors.js'
import { formatPlatform } from '../core/platform.js'
import { soundsSecret } from '../frontend/lint-env.js'
import { processState } from '../io/process-state.js'
import { type BuildRecord, buildStem, historyLimits, pruneBuilds, writeBuild } from '../store/builds.js'
import type { BuildOptions, BuildResult } from './options.js'
import { StepLog } from './step-log.js'

/** Follows one build. */
export interface Recorder {
  readonly id: string
  readonly handle: (event: BuildEvent) => void
  /** Opens the record. `folder` makes the store's `history` directory. */
  begin(folder: () => string): void
  succeeded(result: BuildResult): void
  failed(error: unknown, cancelled: boolean): void
}

/** Events wait in memory up to this many characters. */
const eventsInMemory = 1 << 16

/** Bytes of output that `history logs` keeps of a build: it reads them as one text, and all builds share a limit. */
const keptOutput = 64 << 20

/** Opens the recorder of a build. Nothing is kept of a build that it is not told the begin of. */
export function openRecorder(options: BuildOptions, id: string, now: () => number): Recorder {
  const log = new StepLog()
  const startedAt = now()
  const warnings: BuildRecord['warnings'][number][] = []
  const events = new EventFile()
  let folder: (() => string) | undefined
  let isAnnounced = false
  const write = (end: Partial<BuildRecord>): void => {
    if (folder === undefined) return
    const path = folder()
    const steps = log.steps.map(({ status, ...step }) => ({ ...step, status: status as BuildRecord['steps'][number]['status'] }))
    writeBuild(path, { ...describe(options), version: 1, id, startedAt, status: 'running', warnings, steps, ...end })
  }
  const finish = (end: Partial<BuildRecord>): void => {
    if (folder === undefined) return
    events.close()
    write({ endedAt: now(), ...end })
    if (isAnnounced || startedAt % 16 === 0) pruneBuilds(folder(), historyLimits, now())
  }
  return {
    id,
    handle(event) {
      log.add(event)
      if (folder === undefined) return
      if (event.type === 'warning') warnings.push({ code: event.diagnostic.code, message: event.diagnostic.message })
      if (event.type === 'debug') return
      events.add(event)
      if (isAnnounced || event.type !== 'vertex-started' || event.reason === undefined) return
      isAnnounced = true
      events.open(`${buildStem(folder(), startedAt, id)}.events`)
      write({ process: { pid: process.pid, started: processState(process.pid)?.started ?? '' } })
    },
    begin(makeFolder) {
      folder = makeFolder
    },
    succeeded: ({ imageId, names, steps }) =>
      finish({
        ...{ status: 'completed', imageId, names },
        steps: log.steps.map((step, i) => ({ ...step, status: step.status as 'ran', ...keyOf(steps[i], step.name) })),
      }),
    failed(error, cancelled) {
      const code = error instanceof BuildError ? { code: error.code } : {}
      const message = error instanceof Error ? error.message : String(error)
      finish({ status: cancelled ? 'cancelled' : 'failed', error: { ...code, message } })
    },
  }
}

/** Both lists have the needed vertices in the order of the plan. */
function keyOf(step: BuildResult['steps'][number] | undefined, name: string): { readonly key?: string } {
  return step?.name === name ? { key: step.key } : {}
}

function describe(
  options: BuildOptions,
): Pick<BuildRecord, 'context' | 'dockerfile' | 'buildArgs' | 'names' | 'target' | 'platform'> {
  const { context, dockerfile, target, platforms, tags = [], buildArgs = {} } = options
  const shown = Object.entries(buildArgs).map(([name, value]) => [name, soundsSecret(name) ? '***' : hideCredentials(value)])
  return {
    // Addresses and stdin stay as they were given, but for what lets somebody in.
    context: isAddress(context) ? hideCredentials(context) : resolve(context),
    dockerfile:
      dockerfile === undefined ? 'Dockerfile' : hideCredentials('text' in dockerfile ? dockerfile.name : dockerfile.path),
    ...(target === undefined ? {} : { target }),
    ...(platforms === undefined ? {} : { platform: platforms.map(formatPlatform).join(',') }),
    buildArgs: Object.fromEntries(shown),
    names: tags,
  }
}

function isAddress(context: string): boolean {
  return context === '-' || context.includes('://') || /^[\w.-]+@[\w.-]+:/.test(context)
}

type LogEvent = Extract<BuildEvent, { type: 'log' }>

const clipped = `\n[output clipped, history keeps ${keptOutput >> 20} MiB of a build]\n`

/** One line for each event, in memory until a step runs. */
class EventFile {
  #lines = ''
  #fd: number | undefined
  #outputBytes = 0
  readonly #waiting: BuildEvent[] = []

  /** Texts are made only once it is known that they are needed. */
  add(event: BuildEvent): void {
    if (this.#fd === undefined) this.#waiting.push(event)
    else this.#write(event)
  }

  open(path: string): void {
    this.#fd = openSync(path, 'wx', 0o600)
    for (const event of this.#waiting.splice(0)) this.#write(event)
  }

  close(): void {
    if (this.#fd === undefined) return
    this.#flush(this.#fd)
    closeSync(this.#fd)
    this.#fd = undefined
  }

  #write(event: BuildEvent): void {
    const plain = event.type === 'log' ? this.#keptLog(event) : event
    if (plain === undefined) return
    this.#lines += `${JSON.stringify(plain)}\n`
    if (this.#fd !== undefined && this.#lines.length > eventsInMemory) this.#flush(this.#fd)
  }

  /** An event of output as JSON takes it: the first beyond the limit says so, none after it is kept. */
  #keptLog(event: LogEvent): object | undefined {
    const before = this.#outputBytes
    this.#outputBytes += event.data.length
    if (before > keptOutput) return undefined
    const data = this.#outputBytes > keptOutput ? Buffer.from(clipped) : Buffer.from(event.data)
    return { ...event, data: data.toString('base64') }
  }

  #flush(fd: number): void {
    const bytes = Buffer.from(this.#lines)
    this.#lines = ''
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
  }
}
