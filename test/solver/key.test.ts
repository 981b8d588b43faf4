/** Keys hold all that can change a result and nothing else: random graphs, every field of every op changed in turn. */
import { chmodSync, cpSync, mkdirSync, renameSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import { digestOf } from '../../src/core/digest.js'
import type { BuildPlan, Op, Vertex, VertexId } from '../../src/graph/op.js'
import { contentKey } from '../../src/solver/key.js'
import { computeKeys } from '../../src/solver/lookup.js'
import { mustRun, runProgram } from '../helpers/cli.js'
import { keyPorts, mutationsOf, randomVertices } from '../helpers/keys.js'
import { type Random, randomFrom } from '../helpers/random.js'
import { tempDirectory } from '../helpers/temp.js'

/** What is said of an image or a download besides its content. The files of a download are known by its checksum. */
const unkeyed = /^(image (reference|manifest|config|platform\..*)|http url)$/

async function keysOf(vertices: readonly Vertex[]): Promise<ReadonlyMap<VertexId, string>> {
  const plan = { source: { name: 'Dockerfile', text: '' } } as BuildPlan
  const keyed = await computeKeys(plan, vertices, keyPorts(), quietContext())
  return new Map([...keyed].map(([id, { key }]) => [id, key.digest]))
}

/** The vertices that depend on `id`, and itself. */
function dependents(vertices: readonly Vertex[], id: VertexId): ReadonlySet<VertexId> {
  const found = new Set([id])
  for (const vertex of vertices) if (vertex.inputs.some((input) => found.has(input))) found.add(vertex.id)
  return found
}

function withOp(vertices: readonly Vertex[], index: number, op: Op): Vertex[] {
  return vertices.map((vertex, i) => (i === index ? { ...vertex, op } : vertex))
}

test('every field that is another changes the keys of the vertex and of all that depend on it, and no others', async () => {
  const seenKinds = new Set<string>()
  let changes = 0
  for (let seed = 1; seed <= 8; seed++) {
    const vertices = randomVertices(randomFrom(seed), 14)
    const before = await keysOf(vertices)
    for (const [index, vertex] of vertices.entries()) {
      seenKinds.add(vertex.op.kind)
      const affected = dependents(vertices, vertex.id)
      for (const { path, op } of mutationsOf(vertex.op)) {
        const after = await keysOf(withOp(vertices, index, op))
        const isKeyed = !unkeyed.test(`${op.kind} ${path}`)
        for (const { id, name } of vertices) {
          const changed = before.get(id) !== after.get(id)
          if (changed !== (isKeyed && affected.has(id))) {
            assert.unreachable(`seed ${seed}: ${path} of ${vertex.name} ${changed ? 'changes' : 'does not change'} ${name}`)
          }
        }
        changes++
      }
    }
  }
  assert.equal([...seenKinds].sort(), ['copy', 'exec', 'http', 'image', 'inline', 'merge', 'mkdir'])
  assert.ok(changes > 1500, `${changes} changes`)
})

test('names, places and wishes of vertices are not in keys, and the order of work is not', async () => {
  for (let seed = 100; seed < 110; seed++) {
    const random = randomFrom(seed)
    const vertices = randomVertices(random, 20)
    const other = vertices.map((vertex) => ({
      ...vertex,
      name: `${vertex.name} again`,
      ignoreCache: true,
      span: { start: 5, end: 9 },
    }))
    const keys = await keysOf(vertices)
    assert.equal(sorted(await keysOf(shuffled(other, random))), sorted(keys))
  }
})

test('by content an input is what its files are, and every other one changes the key', async () => {
  const [vertex] = randomVertices(randomFrom(7), 8).slice(-1)
  if (vertex === undefined) throw new Error('no vertex')
  const contents = vertex.inputs.map((_, i) => digestOf(`content ${i}`))
  const key = contentKey(vertex, contents, undefined).digest
  for (const i of contents.keys()) {
    assert.is.not(contentKey(vertex, contents.with(i, digestOf('other')), undefined).digest, key)
  }
  assert.is(contentKey({ ...vertex, name: 'other', inputs: [] }, contents, undefined).digest, key)
})

test('keys are the same in another process, directory, locale and time zone, for another user and host', async () => {
  await using temp = await tempDirectory()
  chmodSync(temp.path, 0o755)
  const first = join(temp.path, 'first')
  mkdirSync(join(first, 'src/deep'), { recursive: true })
  for (const name of ['src/a', 'src/B', 'src/ä', 'src/deep/z', 'single']) writeFileSync(join(first, name), name)
  writeFileSync(
    join(first, 'Dockerfile'),
    'FROM debian AS build\nARG A=1\nWORKDIR /w\nCOPY src ./src\nRUN --mount=type=bind,source=src,target=/m make\nFROM scratch\nCOPY --from=build /w /w\nCOPY single s* /d/\n',
  )
  const second = join(temp.path, 'other place')
  // Made in another order: a directory of ext4 then lists its files in another.
  cpSync(first, second, { recursive: true })
  renameSync(join(second, 'src/a'), join(second, 'src/x'))
  renameSync(join(second, 'src/x'), join(second, 'src/a'))
  utimesSync(join(second, 'src/a'), 1, 1)
  const program = fileURLToPath(new URL('../helpers/print-keys.js', import.meta.url))
  const expected = await mustRun(process.execPath, [program, first])
  assert.is((JSON.parse(expected) as unknown[]).length, 7)
  const env = { TZ: 'Asia/Kathmandu', LANG: 'tr_TR.UTF-8', LC_ALL: 'tr_TR.UTF-8', HOME: '/nowhere', USER: 'somebody' }
  assert.is(await mustRun(process.execPath, [program, second], { env, cwd: '/' }), expected)
  if (process.getuid?.() !== 0) {
    console.log('SKIP: another user and host name need root')
    return
  }
  const command = 'hostname elsewhere && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"'
  const asOther = await runProgram('unshare', ['--uts', 'sh', '-c', command, 'sh', process.execPath, program, second], { env })
  if (asOther.code !== 0) console.log(`SKIP: another user cannot run this: ${asOther.stderr.split('\n', 1)[0]}`)
  else assert.is(asOther.stdout, expected)
})

function sorted(keys: ReadonlyMap<VertexId, string>): [VertexId, string][] {
  return [...keys].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Another order in which inputs come before what uses them. */
function shuffled(vertices: readonly Vertex[], random: Random): Vertex[] {
  const left = [...vertices]
  const done = new Set<VertexId>()
  const order: Vertex[] = []
  while (left.length > 0) {
    const ready = left.filter(({ inputs }) => inputs.every((id) => done.has(id)))
    const next = random.pick(ready)
    left.splice(left.indexOf(next), 1)
    done.add(next.id)
    order.push(next)
  }
  return order
}

test.run()
