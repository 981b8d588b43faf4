/** A command that did not succeed, as an error that says which, how and after how long. */
import type { ExitStatus } from '../../sandbox/plan.js'
import { SandboxError } from '../core/errors.js'
import type { StepOutput } from './step-output.js'

const longestCommand = 60

/** The error for a command that ended with `status`. Keeps the log and names it. */
export function commandFailed(argv: readonly string[], status: ExitStatus, tookMs: number, output: StepOutput): SandboxError {
  const logPath = output.keep()
  const seconds = `${(tookMs / 1000).toFixed(1)} s`
  const command = `"${commandText(argv)}"`
  const details = {
    exitCode: status.exitCode,
    signal: status.signal,
    logTail: output.tail(),
    hint: status.outOfMemory
      ? 'the memory limit was reached; give the build more with --memory'
      : logPath && `read the full output in ${logPath}`,
  }
  const error =
    status.signal === undefined
      ? new SandboxError('SANDBOX_COMMAND_FAILED', `${command} exited with code ${status.exitCode} after ${seconds}`, details)
      : new SandboxError('SANDBOX_COMMAND_KILLED', `${command} was killed by ${status.signal} after ${seconds}`, details)
  error.logPath = logPath
  return error
}

/** What the user wrote: the text of `sh -c TEXT`, otherwise the words. One line, shortened. */
function commandText(argv: readonly string[]): string {
  const [, flag, text] = argv
  const whole = argv.length === 3 && flag?.startsWith('-') && text !== undefined ? text : argv.join(' ')
  const [line = '', ...more] = whole.trim().split('\n')
  if (line.length <= longestCommand && more.length === 0) return line
  return `${line.slice(0, longestCommand).trimEnd()}…`
}
