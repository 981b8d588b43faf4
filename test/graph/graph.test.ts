/** Ids, order and printing of graphs. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BuildError } from '../../src/core/errors.js'
import type { Op, Vertex, VertexId } from '../../src/graph/op.js'
import { printGraphDot, printGraphJson } from '../../src/graph/print.js'
import { makeVertex, vertexId } from '../../src/graph/vertex.js'
import { orderVertices, usersOf } from '../../src/graph/walk.js'
import { planText } from '../helpers/plan.js'

const context = (name: string): Op => ({ kind: 'context', name, ignore: [] })
const details = { name: 'x', ignoreCache: false }

test('an id says what is done to what, not how it looks', () => {
  const one = makeVertex(context('a'), [], details)
  const two = makeVertex({ ignore: [], name: 'a', kind: 'context' }, [], {
    name: 'y',
    ignoreCache: true,
    span: { start: 1, end: 2 },
  })
  assert.is(one.id, two.id)
  assert.is.not(one.id, vertexId(context('b'), []))
  assert.is.not(one.id, vertexId(context('a'), [one.id]))
})

test('inputs come before users, and what is not needed is left out', () => {
  const a = makeVertex(context('a'), [], details)
  const b = makeVertex(context('b'), [a.id], details)
  const c = makeVertex(context('c'), [b.id, a.id], details)
  const other = makeVertex(context('other'), [], details)
  assert.equal(orderVertices([c, other, b, a], [c.id]), [a, b, c])
  assert.equal(usersOf([a, b, c]).get(a.id), [b.id, c.id])
})

test('a circle is an error that names its steps', () => {
  const id = (text: string): VertexId => text as VertexId
  const vertex = (name: string, input: string): Vertex => ({
    ...details,
    id: id(name),
    op: context(name),
    inputs: [id(input)],
    name,
  })
  try {
    orderVertices([vertex('a', 'b'), vertex('b', 'a')], [id('a')])
    assert.unreachable()
  } catch (error) {
    assert.ok(error instanceof BuildError && error.code === 'SOLVE_CYCLE' && error.message.includes('a → b'))
  }
})

test('a long path does not exhaust the stack', () => {
  const vertices: Vertex[] = []
  for (let n = 0; n < 50_000; n++) {
    const before = vertices.at(-1)
    vertices.push({ ...details, id: `v${n}` as VertexId, op: context('x'), inputs: before === undefined ? [] : [before.id] })
  }
  assert.is(orderVertices(vertices, [`v49999` as VertexId]).length, 50_000)
})

test('dot and JSON show every vertex', async () => {
  const { plan } = await planText('FROM a AS x\nRUN echo "quoted"\nCOPY a b\n')
  const dot = printGraphDot(plan)
  for (const n of plan.vertices.keys()) assert.ok(dot.includes(`v${n + 1} [label=`))
  assert.match(dot, /v\d+ -> v\d+/)
  assert.is(JSON.parse(printGraphJson(plan)).vertices.length, plan.vertices.length)
})

test.run()
