/** The conformance runner's command line and its table of wired suites; `run.ts` starts it. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { didYouMean } from '../../src/core/suggest.js'
import { countCases, runSuite, type Suite, type Tally } from './frame.js'

const wired: Readonly<Record<string, (folder: string) => Promise<{ readonly suite: Suite }>>> = {
  parser: () => import('./parser.js'),
  shell: () => import('./shell.js'),
  instructions: () => import('./instructions.js'),
  realworld: () => import('./realworld.js'),
  dag: () => import('./dag.js'),
  lint: () => import('./lint.js'),
  dockerignore: () => import('./dockerignore.js'),
  registry: () => import('./registry.js'),
  conformance: async () => ({ suite: await (await import('./conformance.js')).openSuite() }),
  integration: async (folder) => ({ suite: await (await import('./integration.js')).openSuite(folder) }),
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

/** The line that sums a suite up. */
export function formatTally(name: string, { passed, failures, skipped }: Tally): string {
  const total = [...skipped.values()].reduce((sum, count) => sum + count, 0)
  const reasons = [...skipped].map(([reason, count]) => `${count}: ${reason}`).join('; ')
  return `${name}: ${passed} passed, ${failures.length} failed, ${total} skipped${total === 0 ? '' : ` (${reasons})`}`
}

async function runOne(directory: string, name: string): Promise<boolean> {
  const load = wired[name]
  const folder = join(directory, name)
  if (load === undefined || !isFolder(folder)) {
    const reason = load === undefined ? 'this suite is not wired yet' : 'the folder is missing'
    const count = isFolder(folder) ? countCases(folder) : 0
    process.stdout.write(`${formatTally(name, { passed: 0, failures: [], skipped: new Map([[reason, count]]) })}\n`)
    return true
  }
  const tally = await runSuite((await load(folder)).suite, folder)
  for (const failure of tally.failures) process.stdout.write(`FAIL ${name}/${failure}\n`)
  process.stdout.write(`${formatTally(name, tally)}\n`)
  return tally.failures.length === 0
}

/** Runs the command line; returns the exit code. */
export async function runVectors(args: readonly string[]): Promise<number> {
  const rest = [...args]
  const at = rest.indexOf('--only')
  const only = at < 0 ? undefined : (rest.splice(at, 2)[1] ?? '')
  const [directory, extra] = rest
  if (directory === undefined || extra !== undefined || directory.startsWith('-')) {
    process.stderr.write('usage: npm run vectors -- DIR [--only SUITE]\n')
    return 2
  }
  if (!isFolder(directory)) {
    process.stdout.write(`SKIP: there is no folder ${directory}, all suites were skipped\n`)
    return 0
  }
  const found = readdirSync(directory, { withFileTypes: true })
  const names = [
    ...new Set([...Object.keys(wired), ...found.filter((entry) => entry.isDirectory()).map(({ name }) => name)]),
  ].sort()
  if (only !== undefined && !names.includes(only)) {
    process.stderr.write(
      `there is no suite "${only}" in ${directory}; ${didYouMean(only, names) ?? `there are ${names.join(', ')}`}\n`,
    )
    return 2
  }
  let ok = true
  for (const name of only === undefined ? names : [only]) ok = (await runOne(directory, name)) && ok
  return ok ? 0 : 1
}
