/** What a builder made of a case, in a form in which two of them can be compared. */
import { compareTrees, type TreeDescription } from '../helpers/rootfs.js'
import type { CommandLine } from './case.js'

/** An image, or the reason why there is none. */
export type Built =
  | { readonly config: Readonly<Record<string, unknown>>; readonly tree: TreeDescription }
  | { readonly refused: string }

/** Builds a case that was written to a directory. */
export type Builder = (directory: string, commandLine: CommandLine) => Promise<Built>

const fields = [
  ...['Env', 'Cmd', 'Entrypoint', 'WorkingDir', 'User', 'ExposedPorts', 'Volumes', 'Labels', 'StopSignal'],
  ...['Healthcheck', 'Shell', 'OnBuild'],
] as const

/** The fields that a Dockerfile decides; what is empty and what is absent are the same. */
export function pickConfig(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const picked: Record<string, unknown> = {}
  for (const field of fields) {
    const value = config[field]
    const empty = value === undefined || value === null || value === '' || (typeof value === 'object' && isEmpty(value))
    if (!empty) picked[field] = typeof value === 'object' ? sorted(value) : value
  }
  return picked
}

function isEmpty(value: object): boolean {
  return Object.keys(value).length === 0
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The base's programs, and what a runtime makes for a step: nothing a Dockerfile decides. */
export function isNoise(path: string): boolean {
  return path === '/bin' || path === '/proc' || path === '/sys' || path === '/dev'
}

/** The differences, one line each: `-` is what the first has, `+` the second. */
export function compareBuilt(first: Built, second: Built): string[] {
  if ('refused' in first || 'refused' in second) {
    if ('refused' in first && 'refused' in second) return []
    return [
      'refused' in first ? `- refuses: ${first.refused}` : '- builds',
      'refused' in second ? `+ refuses: ${second.refused}` : '+ builds',
    ]
  }
  const config = fields.flatMap((field) => {
    const [a, b] = [JSON.stringify(first.config[field]), JSON.stringify(second.config[field])]
    return a === b ? [] : [`- ${field} ${a}`, `+ ${field} ${b}`]
  })
  return [...config, ...compareTrees(first.tree, second.tree)]
}
