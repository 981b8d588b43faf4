/**
 * Runs test files one process each and guards uvu's traps (style.md, section 9): a suite must have run something, and
 * passed must equal total, or the run fails. Ends with the line `N passed, N failed`.
 *
 * usage: node dist/test/run.js [--jobs N] [PATTERN …]   a pattern is a part of the file's path
 */
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Outcome {
  readonly file: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const root = fileURLToPath(new URL('.', import.meta.url))
const limitMs = 15 * 60_000

function findTests(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .flatMap((entry) =>
      entry.isDirectory()
        ? findTests(join(directory, entry.name))
        : entry.name.endsWith('.test.js')
          ? [join(directory, entry.name)]
          : [],
    )
    .sort()
}

function runFile(file: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const started = performance.now()
    const child = spawn(process.execPath, ['--enable-source-maps', file], { stdio: ['ignore', 'pipe', 'pipe'] })
    const chunks: Buffer[] = []
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs)
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve(judge(relative(root, file), Buffer.concat(chunks).toString(), code, signal, performance.now() - started))
    })
  })
}

/** uvu exits with 0 when a hook threw or nothing ran, so its totals are what counts. */
function judge(file: string, output: string, code: number | null, signal: string | null, ms: number): Outcome {
  const total = Number(/Total:\s+(\d+)/.exec(output)?.[1] ?? 0)
  const passed = Number(/Passed:\s+(\d+)/.exec(output)?.[1] ?? 0)
  const skipped = Number(/Skipped:\s+(\d+)/.exec(output)?.[1] ?? 0)
  const unproven = total === 0 || code !== 0 || passed + skipped < total
  const failed = Math.max(total - passed - skipped, unproven ? 1 : 0)
  const mark = failed > 0 ? 'FAIL' : 'ok  '
  process.stdout.write(
    `${mark} ${file}  ${passed}/${total}${skipped ? ` (${skipped} skipped)` : ''}  ${(ms / 1000).toFixed(1)} s\n`,
  )
  for (const line of output.split('\n')) if (/^\s*(SKIP|skip): /.test(line)) process.stdout.write(`     ${line.trim()}\n`)
  if (failed > 0) process.stdout.write(`${output}\n     exit code ${code}${signal ? `, ${signal}` : ''}, ran ${total} tests\n`)
  return { file, passed, failed, skipped }
}

async function main(): Promise<void> {
  const args = process.argv.slice(2)
  const at = args.indexOf('--jobs')
  const jobs = at < 0 ? 2 : Number(args.splice(at, 2)[1])
  const files = findTests(root).filter(
    (file) => args.length === 0 || args.some((pattern) => relative(root, file).includes(pattern)),
  )
  const outcomes: Outcome[] = []
  const queue = [...files]
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      for (let file = queue.shift(); file !== undefined; file = queue.shift()) outcomes.push(await runFile(file))
    }),
  )
  const sum = (pick: (outcome: Outcome) => number): number => outcomes.reduce((total, outcome) => total + pick(outcome), 0)
  const failed = sum((outcome) => outcome.failed) + (files.length === 0 ? 1 : 0)
  const failures = outcomes.filter((outcome) => outcome.failed > 0).map((outcome) => outcome.file)
  if (files.length === 0) process.stdout.write('no test file matches\n')
  if (failures.length > 0) process.stdout.write(`failed: ${failures.join(', ')}\n`)
  if (sum((outcome) => outcome.skipped) > 0)
    process.stdout.write(`${sum((outcome) => outcome.skipped)} skipped (reasons above)\n`)
  process.stdout.write(`${sum((outcome) => outcome.passed)} passed, ${failed} failed\n`)
  process.exitCode = failed > 0 ? 1 : 0
}

await main()
