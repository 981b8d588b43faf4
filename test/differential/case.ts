/** A case of the differential test: a Dockerfile, its context, and what is given on the command line. */
import { chmodSync, existsSync, mkdirSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
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
  for (const entry of found.context) writeEntry(entry, directory)
  writeFileSync(join(directory, 'Dockerfile'), dockerfileOf(found))
}

function writeEntry(entry: ContextEntry, directory: string): void {
  const path = join(directory, entry.path)
  mkdirSync(dirname(path), { recursive: true })
  if (entry.type === 'link') symlinkSync(entry.target, path)
  else if (entry.type === 'directory') mkdirSync(path, { recursive: true })
  else writeFileSync(path, entry.content)
  if (entry.type !== 'link') chmodSync(path, entry.mode)
}

/** Changes what differs between two cases, in place: what is the same keeps its inode and its times. */
export function rewriteCase(before: Case, after: Case, directory: string, { keepTimes }: { readonly keepTimes: boolean }): void {
  const known = new Map(before.context.map((entry) => [entry.path, entry]))
  const kept = new Map(after.context.map((entry) => [entry.path, entry]))
  for (const { path, type } of before.context.toReversed()) {
    if (kept.get(path)?.type !== type) rmSync(join(directory, path), { recursive: true, force: true })
  }
  for (const entry of after.context) {
    const path = join(directory, entry.path)
    const old = known.get(entry.path)
    if (old === entry && existsSync(path)) continue
    const times = old?.type === 'file' && entry.type === 'file' && keepTimes ? statSync(path) : undefined
    if (entry.type === 'link') rmSync(path, { force: true })
    writeEntry(entry, directory)
    if (times !== undefined) utimesSync(path, times.atime, times.mtime)
  }
  writeFileSync(join(directory, 'Dockerfile'), dockerfileOf(after))
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
