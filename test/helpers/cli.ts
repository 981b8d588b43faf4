/** Runs the command line as a user does: `bin/mille` as a process, with a store of its own. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The project's root folder. */
export const projectRoot = fileURLToPath(new URL('../../..', import.meta.url))

/** How a process ended and what it printed. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** What a process is started with besides its arguments. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly input?: string | Uint8Array
  /** Gets SIGKILL after this long; 5 minutes if absent. */
  readonly timeoutMs?: number
}

/** Runs a program to its end and collects what it prints. */
export function runProgram(file: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: options.cwd, env: { ...process.env, ...options.env }, stdio: 'pipe' })
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 300_000)
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
    child.stdin.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') reject(error)
    })
    child.stdin.end(options.input ?? '')
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() })
    })
  })
}

/** Runs a program that must succeed and returns its standard output. */
export async function mustRun(file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const ended = await runProgram(file, args, options)
  if (ended.code !== 0) {
    throw new Error(`${file} ${args.join(' ')}: ${ended.signal ?? `exit code ${ended.code}`}\n${ended.stdout}${ended.stderr}`)
  }
  return ended.stdout
}

/** Runs `bin/mille` on the store in `root`. */
export function mille(root: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return runProgram(join(projectRoot, 'bin/mille'), args, { ...options, env: { MILLE_ROOT: root, ...options.env } })
}

/** Runs `bin/mille`, which must succeed, and returns its standard output. */
export async function milleOk(root: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const ended = await mille(root, args, options)
  if (ended.code !== 0) {
    throw new Error(`mille ${args.join(' ')}: ${ended.signal ?? `exit code ${ended.code}`}\n${ended.stdout}${ended.stderr}`)
  }
  return ended.stdout
}
