/** A store with a busybox image in it, for tests of the library; without the command line. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import type { BuildEvent } from '../../src/core/context.js'
import type { BuildOptions, BuildResult } from '../../src/engine/options.js'
import { build, importImage } from '../../src/index.js'
import { baseTar, whyNoBase } from './bases.js'
import { hasProgram } from './registry.js'
import { within } from './within.js'

/** A store and a context in a temporary directory. */
export interface Bench extends Disposable {
  readonly directory: string
  readonly root: string
  readonly context: string
  /** Writes files of the context. */
  write(files: Readonly<Record<string, string>>): void
  build(options?: Partial<BuildOptions>): Promise<BuildResult>
  /** Names of the steps that ran in the last build. */
  ran(): string[]
  readonly events: BuildEvent[]
  /** What the steps of the last build printed. */
  output(): string
}

/** Why tests with a real container cannot run here. */
export async function whyNoBuild(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'builds with RUN need root here'
  return whyNoBase('busybox')
}

const buildLimitMs = 180_000

/**
 * A test that needs a real container, on a bench of its own, and these programs of the machine. Where that cannot be had it
 * says so.
 */
export function benchTest(title: string, body: (bench: Bench) => Promise<void>, programs: readonly string[] = []): void {
  test(title, async () => {
    const reason = (await whyNoBuild()) ?? whyNoPrograms(programs)
    if (reason !== undefined) {
      console.log(`SKIP: ${reason}`)
      return
    }
    using bench = await makeBench()
    await within(buildLimitMs, body(bench))
  })
}

function whyNoPrograms(programs: readonly string[]): string | undefined {
  const missing = programs.filter((program) => !hasProgram(program))
  return missing.length === 0 ? undefined : `${missing.join(', ')} is not installed`
}

/** The name of the base image on a bench. */
export const busybox = 'localhost/base/busybox:latest'

/** Makes a bench; `base` imports busybox. */
export async function makeBench(options: { readonly base: boolean } = { base: true }): Promise<Bench> {
  const directory = mkdtempSync(join(tmpdir(), 'mille-test-'))
  const root = join(directory, 'store')
  const context = join(directory, 'context')
  mkdirSync(context)
  const common = { root, stateDirectory: join(directory, 'run'), env: { PATH: process.env.PATH } }
  if (options.base)
    await importImage({ ...common, source: await baseTar('busybox'), reference: busybox, config: { Cmd: ['sh'] } })
  const events: BuildEvent[] = []
  let last: BuildResult | undefined
  return {
    directory,
    root,
    context,
    events,
    write(files) {
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(dirname(join(context, name)), { recursive: true })
        writeFileSync(join(context, name), text)
      }
    },
    async build(more = {}) {
      events.length = 0
      last = await build({ ...common, context, onEvent: (event) => events.push(event), ...more })
      return last
    },
    ran: () =>
      (last?.steps ?? [])
        .filter(({ cached, name }) => !cached && !name.startsWith('[internal]'))
        .map(({ name }) => name.replace(/^\[[^\]]*\] /, '')),
    output: () => events.map((event) => (event.type === 'log' ? Buffer.from(event.data).toString() : '')).join(''),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  }
}
