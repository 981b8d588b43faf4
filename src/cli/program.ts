/** The program: argv → verb → its module → exit code. Whatever a verb does not need is not loaded. */

import { version } from '../engine/version.js'
import { parseFlags } from './args.js'
import type { AnyCommand } from './command.js'
import { exitCodeOf, exitCodes } from './exit.js'
import { globalFlags, readGlobals } from './globals.js'
import { type Interrupts, isCancellation, listenForSignals, openShell, openStdout, reportError } from './process.js'
import type { GlobalOptions } from './shell.js'
import { resolveVerb, verbs } from './verbs.js'

/** Runs one command line and returns its exit code. Never throws. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  const interrupts = listenForSignals()
  const code = await runLine(argv, interrupts)
  const unwritten = interrupts.unwritten()
  if (unwritten === undefined) return code
  reportError(unwritten, false)
  return exitCodes.failed
}

async function runLine(argv: readonly string[], interrupts: Interrupts): Promise<number> {
  let globals: GlobalOptions | undefined
  let command: AnyCommand | undefined
  try {
    const line = parseFlags(argv, globalFlags, { command: 'mille', interspersed: false, unsupported: [], env: process.env })
    if (line.values.version) return printVersion(interrupts)
    globals = readGlobals(line.values, process.env)
    const words = line.positionals
    if (line.values.help || words.length === 0 || words[0] === 'help') return await printHelp(words, interrupts)
    const found = resolveVerb(words)
    if (found.kind !== 'verb') return await (await import('./overview.js')).notAVerb(found, openStdout(interrupts))
    command = (await verbs[found.name]?.load())?.command
    if (command === undefined) throw new Error(`the verb ${found.name} has no module`)
    if (command.wantsHelp(found.rest)) return await printHelp([...found.name.split(' ')], interrupts)
    return await command.run(found.rest, openShell(globals, interrupts))
  } catch (error) {
    return fail(error, command, interrupts, (globals?.debug.size ?? 0) > 0)
  }
}

function printVersion(interrupts: Interrupts): number {
  openStdout(interrupts).write(`mille version ${version()}\n`)
  return exitCodes.ok
}

async function printHelp(words: readonly string[], interrupts: Interrupts): Promise<number> {
  const overview = await import('./overview.js')
  return overview.printHelp(words[0] === 'help' ? words.slice(1) : words, globalFlags, openStdout(interrupts))
}

/** Prints the error, unless it is only what a signal made of the work, and chooses the exit code. */
function fail(error: unknown, command: AnyCommand | undefined, interrupts: Interrupts, verbose: boolean): number {
  if (interrupts.unwritten() !== undefined) return exitCodes.failed
  const interrupted = interrupts.exitCode()
  if (interrupted !== undefined && isCancellation(error)) {
    if (interrupted !== exitCodes.brokenPipe) process.stderr.write('cancelled\n')
    return interrupted
  }
  reportError(error, verbose)
  return (command?.exitCodeOf ?? exitCodeOf)(error)
}
