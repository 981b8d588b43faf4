/**
 * What one RUN costs beside its command: containers of `true`, one after the other, for each runtime that works here.
 *
 * usage: node dist/benchmarks/step.js [RUNS]
 */
import { sandboxBench, sandboxProblem } from '../test/helpers/sandbox.js'

const runs = Number(process.argv[2] ?? 40)
const problem = sandboxProblem()
if (problem !== undefined) throw new Error(problem)

process.stdout.write(`container of true, ${runs} runs, milliseconds\nruntime  network  first  median  minimum\n`)
for (const runtime of ['crun', 'runc']) {
  for (const network of ['host', 'none', 'default'] as const) {
    await using bench = sandboxBench({ runtime })
    const first = await timed(() => bench.run(['/bin/true'], { network }))
    const times: number[] = []
    for (let i = 0; i < runs; i++) times.push(await timed(() => bench.run(['/bin/true'], { network })))
    times.sort((a, b) => a - b)
    const cells = [first, times[runs >> 1] ?? 0, times[0] ?? 0].map((ms) => ms.toFixed(1).padStart(6))
    process.stdout.write(`${runtime.padEnd(8)} ${network.padEnd(7)} ${cells.join('  ')}\n`)
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}
