/** A case of the differential test: a Dockerfile, its context, and what is given on the command line. */
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** One path of a context; parents are listed before what is in them. */
export type ContextEntry =
  | { readonly path: string; readonly type: 'file'; readonly mode: number; readonly content: Buffer }
  | { readonly path: string; readonly type: 'directory'; readonly mode: number }
  | { readonly path: string; readonly type: 'link'; readonly target: string }

/** What is given on the command line. */
export interface CommandLine {
  readonly buildArgs: Readonly<Record<string, string>>
  readonly target?: string
  /** Values by id. */
  readonly secrets: Readonly<Record<string, string>>
}

/** What both builders get. */
export interface Case extends CommandLine {
  readonly seed: number
  /** Each element is one instruction with its heredocs; the parts that a shrinking step can leave out. */
  readonly instructions: readonly string[]
  readonly context: readonly ContextEntry[]
}

/** The text of the Dockerfile. */
export function dockerfileOf({ instructions }: Case): string {
  return `${instructions.join('\n')}\n`
}

/** Writes the context, and the Dockerfile into it, to an empty directory. */
export function writeCase(found: Case, directory: string): void {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true })
  for (const entry of found.context) {
    const path = join(directory, entry.path)
    mkdirSync(dirname(path), { recursive: true })
    if (entry.type === 'link') symlinkSync(entry.target, path)
    else if (entry.type === 'directory') mkdirSync(path, { recursive: true })
    else writeFileSync(path, entry.content)
    if (entry.type !== 'link') chmodSync(path, entry.mode)
  }
  writeFileSync(join(directory, 'Dockerfile'), dockerfileOf(found))
}

/** A case as text, for whoever has to find out what went wrong. */
export function printCase(found: Case): string {
  const listing = found.context.map((entry) => {
    if (entry.type === 'link') return `  ${entry.path} -> ${entry.target}`
    if (entry.type === 'directory') return `  ${entry.path}/ ${entry.mode.toString(8)}`
    const text = entry.content.includes(0) ? `${entry.content.length} bytes` : JSON.stringify(entry.content.toString())
    return `  ${entry.path} ${entry.mode.toString(8)} ${text}`
  })
  const args = Object.entries(found.buildArgs).map(([name, value]) => `  --build-arg ${name}=${value}`)
  const secrets = Object.entries(found.secrets).map(
    ([id, value]) => `  --secret id=${id} with the value ${JSON.stringify(value)}`,
  )
  const target = found.target === undefined ? [] : [`  --target ${found.target}`]
  return [`seed ${found.seed}`, dockerfileOf(found), 'context:', ...listing, ...args, ...secrets, ...target, ''].join('\n')
}
