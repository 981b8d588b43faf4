/** A program: prints the definition keys of a Dockerfile and its context. `node print-keys.js CONTEXT` */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { quietContext } from '../../src/core/context.js'
import { createWorkerPool } from '../../src/io/pool.js'
import { createContextRunner } from '../../src/ops/context.js'
import { computeKeys } from '../../src/solver/lookup.js'
import { keyPorts } from './keys.js'
import { planText } from './plan.js'

const directory = process.argv[2] ?? '.'
const memoDirectory = mkdtempSync(join(tmpdir(), 'mille-test-'))
try {
  await using pool = createWorkerPool()
  const { plan } = await planText(readFileSync(join(directory, 'Dockerfile'), 'utf8'))
  const directories = new Map([['context', () => ({ path: directory })]])
  const context = createContextRunner({ directories, memoDirectory, pool, nowMs: Date.now })
  const keyed = await computeKeys(plan, plan.vertices, keyPorts({ context }), quietContext())
  console.log(JSON.stringify(plan.vertices.map(({ id }) => [id, keyed.get(id)?.key.digest])))
} finally {
  rmSync(memoDirectory, { recursive: true, force: true })
}
