/**
 * What the end of a runtime's process means: the command's own exit code, or a container that could not be set up.
 *
 * Both arrive as an exit code. What tells them apart is the runtime's log, a file of its own that no container can reach: there
 * is an error in it only when the runtime itself failed.
 */
import { constants } from 'node:os'
import { SandboxError } from '../src/core/errors.js'
import type { ExecProblem } from './exec-check.js'
import type { ExitStatus } from './plan.js'
import type { ProcessEnd } from './spawn.js'

/** What is known when a runtime's process has ended. */
export interface RuntimeEnd {
  readonly runtimeName: string
  readonly command: string
  readonly end: ProcessEnd
  /** The runtime's log: lines of JSON. */
  readonly log: string
  readonly limitsMemory: boolean
  /** Looks at the program's file; asked only when it may not have been started. */
  readonly execProblem: () => ExecProblem | undefined
  /** The same, for a program that is a directory. */
  readonly isDirectory: () => boolean
}

/**
 * The exit status of the command.
 *
 * @throws SandboxError SANDBOX_COMMAND_NOT_FOUND, SANDBOX_COMMAND_NOT_EXECUTABLE, SANDBOX_SETUP_FAILED when it never ran
 */
export function exitStatusOf(run: RuntimeEnd): ExitStatus {
  const { code, signal } = run.end
  if (code === 0) return { exitCode: 0, signal: undefined, outOfMemory: false }
  const failure = runtimeFailure(run.log)
  if (failure !== undefined) throw setupError(run, failure)
  if (code === null) {
    throw new SandboxError(
      'SANDBOX_SETUP_FAILED',
      `${run.runtimeName} was killed by ${signal ?? 'a signal'} before the command ended`,
    )
  }
  const problem = code === failedExecCode ? run.execProblem() : undefined
  if (problem !== undefined) throw execError(problem)
  // The cgroup, which counted the kills, is gone with the container. But nothing else sends SIGKILL inside it as a rule.
  const outOfMemory = run.limitsMemory && code === 128 + constants.signals.SIGKILL
  return { exitCode: code, signal: code > 128 ? signalName(code - 128) : undefined, outOfMemory }
}

/** What crun and runc exit with when execve(2) failed. */
const failedExecCode = 1

function execError(problem: ExecProblem): SandboxError {
  const isMissing = problem.kind === 'not-found'
  return new SandboxError(isMissing ? 'SANDBOX_COMMAND_NOT_FOUND' : 'SANDBOX_COMMAND_NOT_EXECUTABLE', problem.detail, {
    exitCode: isMissing ? 127 : 126,
    hint: problem.hint,
  })
}

/** The runtime's own error from its log, or undefined when it logged none. */
export function runtimeFailure(log: string): string | undefined {
  const errors = log.split('\n').flatMap((line) => errorOf(line) ?? [])
  return errors.length === 0 ? undefined : errors.join('; ')
}

function errorOf(line: string): string | undefined {
  if (line === '') return undefined
  const entry = parseJson(line)
  if (typeof entry !== 'object' || entry === null || !('level' in entry) || !('msg' in entry)) return line
  const { level, msg } = entry
  const isError = typeof level === 'string' && ['error', 'fatal', 'panic'].includes(level.toLowerCase())
  return isError && typeof msg === 'string' ? msg : undefined
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

const notFound =
  /executable file [^:]* not found|executable file not found|exec: .*no such file or directory|^exec .*no such file or directory|executable path is not found/i
const notExecutable =
  /open executable: (permission denied|operation not permitted|is a directory)|exec:? .*(permission denied|is a directory|exec format error)|exec format error/i

function setupError(run: RuntimeEnd, failure: string): SandboxError {
  const reason = readable(failure)
  const command = JSON.stringify(run.command)
  const cause = new Error(failure)
  if (notFound.test(failure)) {
    const isShell = /(^|\/)(ba|da|a)?sh$/.test(run.command)
    const hint = isShell
      ? 'the image has no shell: use the JSON form of the instruction, or a base image with a shell'
      : 'check the spelling and the PATH of the image; for a script, check the interpreter in its first line'
    return new SandboxError('SANDBOX_COMMAND_NOT_FOUND', `the command ${command} was not found in the container`, {
      cause,
      hint,
      exitCode: 127,
    })
  }
  if (notExecutable.test(failure)) {
    const isFormat = /format error/i.test(failure)
    const problem = isFormat ? run.execProblem() : undefined
    if (problem !== undefined) return execError(problem)
    const message = isFormat
      ? `the command ${command} is not a program for this machine's processor, or a script without a #! line`
      : `the command ${command} is ${run.isDirectory() ? 'a directory' : 'not executable'}`
    const hint = isFormat || run.isDirectory() ? undefined : 'give it execute permission (COPY --chmod=755, RUN chmod +x)'
    return new SandboxError('SANDBOX_COMMAND_NOT_EXECUTABLE', message, { cause, hint, exitCode: 126 })
  }
  return new SandboxError('SANDBOX_SETUP_FAILED', `${run.runtimeName} could not set up the container: ${reason}`, { cause })
}

/** The runtime's sentence without the steps it was in the middle of. */
function readable(failure: string): string {
  return failure
    .replace(/^(runc run failed|unable to start container process|error during container init|container_linux\.go:\d+): /gi, '')
    .replace(/^(unable to start container process|error during container init): /gi, '')
    .trim()
}

/** `SIGKILL` for 9; undefined for a number that is no signal's. */
export function signalName(number: number): string | undefined {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
}
