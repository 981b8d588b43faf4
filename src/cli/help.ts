/** The help texts, made from the tables of flags and verbs, so that they cannot disagree with what is parsed. */
import type { FlagSpec, FlagTable } from './args.js'
import type { AnyCommand } from './command.js'

const wrapAt = 100

/** The text of `mille VERB --help`. `aliases` are the other words for the verb. */
export function commandHelp(command: AnyCommand, aliases: readonly string[]): string {
  const rows = flagRows(command.flags)
  const parts = [`Usage:  mille ${command.name} ${command.usage}`.trimEnd(), command.summary]
  if (aliases.length > 0) parts.push(`Aliases:\n  ${aliases.map((alias) => `mille ${alias}`).join(', ')}`)
  if (rows.length > 0) parts.push(`Options:\n${columns(rows)}`)
  return `${[...parts, ...command.notes].join('\n\n')}\n`
}

/** One row for each verb, aligned. */
export function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([head]) => head.length)) + 3
  return rows
    .map(([head, text]) => `  ${head.padEnd(width)}${wrap(text, wrapAt - width - 2).join(`\n  ${' '.repeat(width)}`)}`)
    .join('\n')
}

/** A row for each flag of a table. */
export function flagRows(flags: FlagTable): (readonly [string, string])[] {
  const names = Object.entries(flags).sort(([a], [b]) => (a < b ? -1 : 1))
  return names.map(([name, spec]) => [flagHead(name, spec), flagText(spec)] as const)
}

function flagHead(name: string, spec: FlagSpec): string {
  const short = spec.short === undefined ? '    ' : `-${spec.short}, `
  if (spec.bare !== undefined) return `${short}--${name}[=${spec.value ?? spec.type}]`
  return `${short}--${name}${spec.type === 'boolean' ? '' : ` ${spec.value ?? spec.type}`}`
}

/** The help of a flag with its choices, default and environment variable. */
export function flagText(spec: FlagSpec): string {
  const extras = [
    ...(spec.choices === undefined ? [] : [spec.choices.join(', ')]),
    ...((spec.defaultText ?? spec.default) ? [`default ${spec.defaultText ?? `"${spec.default}"`}`] : []),
    ...(spec.env === undefined ? [] : [`env ${spec.env}`]),
  ]
  return extras.length === 0 ? spec.help : `${spec.help} (${extras.join('; ')})`
}

function wrap(text: string, width: number): string[] {
  const out: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      out.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...out, line]
}
