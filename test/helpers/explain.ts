/** A context and a store on which `mille build` is run as a user does, and asked for its reasons. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { StepReason } from '../../src/core/reason.js'
import { baseTar } from './bases.js'
import { type Ended, mille, milleOk } from './cli.js'

/** One step of `--explain=json`. */
export interface ExplainedStep {
  readonly name: string
  readonly status: string
  readonly reason?: StepReason
}

/** What `--explain=json` prints. */
export interface Explained {
  readonly dryRun: boolean
  readonly upToDate: boolean
  readonly counts: Readonly<Record<string, number>>
  readonly steps: readonly ExplainedStep[]
}

/** A place to build in. */
export interface ExplainBench extends Disposable {
  readonly directory: string
  readonly root: string
  readonly context: string
  write(files: Readonly<Record<string, string>>): void
  run(...args: string[]): Promise<Ended>
  ok(...args: string[]): Promise<string>
  /** Builds the context with `--explain=json`. */
  explain(...args: string[]): Promise<Explained>
  /** Builds, and gives each step that ran with its reason: `COPY a / <- a changed`. */
  reasons(...args: string[]): Promise<string[]>
}

/** The name of the base with a shell. */
export const shellBase = 'localhost/base/busybox'

/** Makes a bench; with `shell` it has a base whose commands can be run. */
export async function explainBench({ shell = false } = {}): Promise<ExplainBench> {
  const directory = mkdtempSync(join(tmpdir(), 'mille-test-'))
  const root = join(directory, 'store')
  const context = join(directory, 'context')
  mkdirSync(context)
  if (shell) await milleOk(root, ['import', await baseTar('busybox'), shellBase])
  const explain = async (...args: string[]): Promise<Explained> => {
    const { stdout, stderr } = await mille(root, ['build', '--explain=json', ...args, context])
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as Explained
  }
  return {
    directory,
    root,
    context,
    write(files) {
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(dirname(join(context, name)), { recursive: true })
        writeFileSync(join(context, name), text)
      }
    },
    run: (...args) => mille(root, args),
    ok: (...args) => milleOk(root, args),
    explain,
    reasons: async (...args) => reasonsOf(await explain(...args)),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  }
}

/** Steps with a reason, without their numbers. */
export function reasonsOf({ steps }: Pick<Explained, 'steps'>): string[] {
  return steps.flatMap(({ name, reason }) =>
    reason === undefined ? [] : [`${name.replace(/^\[[^\]]*\] /, '')} <- ${reason.text}`],
  )
}
