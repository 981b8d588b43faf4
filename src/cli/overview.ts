/** `mille --help`, `mille help VERB`, and what is said about words that are no verb. */
import { UsageError } from '../core/errors.js'
import { didYouMean } from '../core/suggest.js'
import type { FlagTable } from './args.js'
import { exitCodes } from './exit.js'
import { columns, commandHelp, flagRows } from './help.js'
import type { Output } from './shell.js'
import { aliasesOf, type Resolved, resolveVerb, verbs } from './verbs.js'

/** Prints the help for the given words: of one verb, of the verbs that start with a word, or of mille. */
export async function printHelp(words: readonly string[], flags: FlagTable, out: Output): Promise<number> {
  if (words.length === 0) {
    out.write(overview(flags))
    return exitCodes.ok
  }
  const found = resolveVerb(words)
  if (found.kind !== 'verb') return notAVerb(found, out)
  const module = await verbs[found.name]?.load()
  if (module === undefined) throw new Error(`the verb ${found.name} has no module`)
  out.write(commandHelp(module.command, aliasesOf(found.name)))
  return exitCodes.ok
}

/** The text of `mille --help`. */
export function overview(flags: FlagTable): string {
  const rows = Object.entries(verbs).map(([name, verb]) => [name, verb.summary] as const)
  return `${[
    'Usage:  mille [OPTIONS] COMMAND',
    'Builds container images without a daemon.',
    `Commands:\n${columns(rows)}`,
    `Options:\n${columns(flagRows(flags))}`,
    'Docker\'s longer spellings ("image ls", "buildx build", "container run") work too.\nRun "mille COMMAND --help" for the flags of a command.',
  ].join('\n\n')}\n`
}

/** Prints the verbs of a group, or throws for a word that is none. */
export async function notAVerb(found: Exclude<Resolved, { kind: 'verb' }>, out: Output): Promise<number> {
  if (found.kind === 'unknown') {
    throw new UsageError('USAGE_UNKNOWN_COMMAND', `"${found.word}" is no mille command`, {
      hint: didYouMean(found.word, found.known) ?? '"mille --help" lists the commands',
    })
  }
  const rows = found.verbs.map((name) => [name, verbs[resolvedName(name)]?.summary ?? ''] as const)
  out.write(`Usage:  mille ${found.name} COMMAND\n\nCommands:\n${columns(rows)}\n`)
  return exitCodes.ok
}

function resolvedName(words: string): string {
  const found = resolveVerb(words.split(' '))
  return found.kind === 'verb' ? found.name : words
}
