/** What a command is: its flags as a table, its text for `--help`, and the function that does it. */
import { UsageError } from '../core/errors.js'
import { type FlagTable, type FlagValues, type ParsedArgs, parseFlags } from './args.js'
import { exitCodeOf } from './exit.js'
import type { Shell } from './shell.js'

/** A command before it is erased to `AnyCommand`. */
export interface CommandSpec<T extends FlagTable> {
  /** The words after `mille`: `build`, `debug ast`. */
  readonly name: string
  /** The argument part of the usage line. */
  readonly usage: string
  readonly summary: string
  /** What does not fit into a flag's line; printed below the flags. */
  readonly notes?: readonly string[]
  readonly flags: T
  /** What docker's command has and this one has not yet: `name` or `name|letter`. */
  readonly unsupported?: readonly string[]
  /** False for commands that hand the rest of the line to a container. */
  readonly interspersed?: boolean
  /** How many arguments it takes; `Infinity` for any number. */
  readonly arguments: readonly [least: number, most: number]
  /** The exit code of an error, where docker's differs from the ones of `exit.ts`. */
  readonly exitCodeOf?: (error: unknown) => number
  /** Does it; the result is the exit code. */
  readonly run: (args: CommandArgs<T>, shell: Shell) => Promise<number>
}

/** A command line as a command sees it. */
export interface CommandArgs<T extends FlagTable> {
  readonly values: FlagValues<T>
  readonly given: ReadonlySet<string>
  readonly positionals: readonly string[]
}

/** A command whose flag types are closed over. */
export interface AnyCommand {
  readonly name: string
  readonly usage: string
  readonly summary: string
  readonly notes: readonly string[]
  readonly flags: FlagTable
  readonly exitCodeOf: (error: unknown) => number
  /** True when these words ask for the help text and are not meant for a container. */
  readonly wantsHelp: (args: readonly string[]) => boolean
  readonly run: (args: readonly string[], shell: Shell) => Promise<number>
}

/** Makes a command of its description. */
export function defineCommand<const T extends FlagTable>(spec: CommandSpec<T>): AnyCommand {
  const name = `mille ${spec.name}`
  const interspersed = spec.interspersed ?? true
  return {
    name: spec.name,
    usage: spec.usage,
    summary: spec.summary,
    notes: spec.notes ?? [],
    flags: spec.flags,
    exitCodeOf: spec.exitCodeOf ?? exitCodeOf,
    wantsHelp: (args) => hasHelpFlag(args, spec.flags, interspersed),
    async run(args, shell) {
      const options = { command: name, interspersed, unsupported: spec.unsupported ?? [], env: shell.env }
      const parsed: ParsedArgs<T> = parseFlags(args, spec.flags, options)
      checkCount(name, spec, parsed.positionals)
      return spec.run(parsed, shell)
    },
  }
}

/** `-h` is help where no flag of the command has that letter; behind the first argument of `run` it is not ours. */
function hasHelpFlag(args: readonly string[], flags: FlagTable, interspersed: boolean): boolean {
  const letterIsTaken = Object.values(flags).some((flag) => flag.short === 'h')
  for (const word of args) {
    if (word === '--') return false
    if (word === '--help' || (word === '-h' && !letterIsTaken)) return true
    if (!interspersed && !word.startsWith('-')) return false
  }
  return false
}

function checkCount<T extends FlagTable>(name: string, spec: CommandSpec<T>, positionals: readonly string[]): void {
  const [least, most] = spec.arguments
  if (positionals.length >= least && positionals.length <= most) return
  const expected = expectedCount(least, most)
  throw new UsageError(
    'USAGE_BAD_ARGUMENT',
    `"${name}" takes ${expected} argument${(most === Infinity ? least : most) === 1 ? '' : 's'}, got ${positionals.length}`,
    { hint: `usage: ${name} ${spec.usage}` },
  )
}

function expectedCount(least: number, most: number): string {
  if (least === most) return least === 0 ? 'no' : `${least}`
  if (most === Infinity) return `at least ${least}`
  return least === 0 ? `at most ${most}` : `${least} to ${most}`
}
