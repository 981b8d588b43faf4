/**
 * The output of one step: sent on as log events, the last lines kept for an error, all of it for the log file.
 *
 * Values of secrets are taken out before anything else sees the output. Up to 64 KiB wait in memory, so that a step that prints little and succeeds writes no file. A file is kept only when the
 * step fails.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Context } from '../core/context.js'
import { randomName } from '../io/fs.js'
import { createRedactor, redactions } from './redact.js'

/** Takes output as it comes. */
export interface StepOutput {
  write(stream: 1 | 2, data: Uint8Array): void
  /** Shows what was held back because it could have been the start of a secret. To be called when the command has ended. */
  finish(): void
  /** The last lines, oldest first. */
  tail(): readonly string[]
  /** Keeps the log: writes what is still in memory and returns the path; undefined when nothing was printed. */
  keep(): string | undefined
  /** Lets go of the log unless it was kept. */
  close(): void
}

const memoryLimit = 64 * 1024
const tailBytes = 16 * 1024
const tailLines = 20

/** Opens the output of the vertex `id`; a log file is made in `directory` when it is needed. */
export function openStepOutput(
  id: string,
  directory: () => string,
  now: () => number,
  ctx: Context,
  secrets: readonly Uint8Array[] = [],
): StepOutput {
  const patterns = redactions(secrets)
  const redactors = { 1: createRedactor(patterns), 2: createRedactor(patterns) } as const
  let waiting: Uint8Array[] = []
  let waitingBytes = 0
  let last: Buffer = Buffer.alloc(0)
  let file: { readonly path: string; readonly fd: number } | undefined
  let kept = false
  const spill = (): void => {
    if (file === undefined) {
      const path = join(directory(), `${randomName(12)}.log`)
      file = { path, fd: openSync(path, 'wx', 0o600) }
    }
    for (const data of waiting) writeAll(file.fd, data)
    waiting = []
    waitingBytes = 0
  }
  const show = (stream: 1 | 2, data: Buffer): void => {
    if (data.length === 0) return
    ctx.emit({ type: 'log', id, atMs: now(), stream, data })
    last = Buffer.concat([last, data])
    if (last.length > tailBytes) last = last.subarray(last.length - tailBytes)
    waiting.push(data)
    waitingBytes += data.length
    if (waitingBytes > memoryLimit) spill()
  }
  const finish = (): void => {
    show(1, redactors[1].end())
    show(2, redactors[2].end())
  }
  return {
    write: (stream, data) => show(stream, redactors[stream].push(data)),
    finish,
    tail: () => lastLines(last.toString('utf8')),
    keep() {
      if (file === undefined && waitingBytes === 0) return undefined
      spill()
      kept = true
      return file?.path
    },
    close() {
      if (file === undefined) return
      closeSync(file.fd)
      if (!kept) rmSync(file.path, { force: true })
      file = undefined
    },
  }
}

function writeAll(fd: number, data: Uint8Array): void {
  for (let at = 0; at < data.length; ) at += writeSync(fd, data, at)
}

/** Of a line that was drawn over (`\r`) only what stood there last; colours and other escapes are dropped. */
function lastLines(text: string): string[] {
  const lines = text
    .split('\n')
    .map((line) => line.replace(/\r+$/, '').split('\r').at(-1) ?? '')
    .map((line) => line.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, ''))
  while (lines.at(-1)?.trim() === '') lines.pop()
  return lines.slice(-tailLines)
}
