/** How long the keys of a plan take: a random graph of 1,000 vertices, nothing read and nothing run. */
import { quietContext } from '../src/core/context.js'
import type { BuildPlan } from '../src/graph/op.js'
import { computeKeys } from '../src/solver/lookup.js'
import { keyPorts, randomVertices } from '../test/helpers/keys.js'
import { randomFrom } from '../test/helpers/random.js'
import type { OwnQuestion } from './harness.js'

/** The question. The last vertex has all others as inputs, the others have two or fewer. */
export function keyQuestion(): OwnQuestion {
  const vertices = randomVertices(randomFrom(4), 1000)
  const plan = { source: { name: 'Dockerfile', text: '' } } as BuildPlan
  const ports = keyPorts()
  return {
    title: 'keys of a graph',
    size: `${vertices.length.toLocaleString('en')} vertices, in one process`,
    rounds: 20,
    measure: async () => {
      const started = performance.now()
      const keyed = await computeKeys(plan, vertices, ports, quietContext())
      const ended = performance.now()
      if (keyed.size !== vertices.length) throw new Error(`${keyed.size} keys of ${vertices.length} vertices`)
      return (ended - started) / 1000
    },
  }
}
