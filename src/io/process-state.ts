/** What /proc says of other processes. */
import { readFileSync } from 'node:fs'
import { systemCode } from '../core/errors.js'

/** A process as /proc/PID/stat has it. */
export interface ProcessState {
  /** One letter: `R` it runs, `S` it sleeps, `T` it was stopped by a signal, `Z` it has ended. */
  readonly state: string
  /** When it started, in ticks of the kernel: with its number it names a process that no later one is taken for. */
  readonly started: string
}

/** The state of a process; undefined when there is none. */
export function processState(pid: number): ProcessState | undefined {
  try {
    // The name of the program stands in parentheses and may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\)/s, '').split(' ')
    return { state: fields[1] ?? '', started: fields[20] ?? '' }
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
}
