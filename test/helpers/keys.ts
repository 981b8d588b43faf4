/** Keys in tests: the real runners' keys, random plans, and every way in which an op can be another. */
import { type DiffID, digestOf } from '../../src/core/digest.js'
import type { Op, Vertex, VertexId } from '../../src/graph/op.js'
import { createCopyRunner } from '../../src/ops/copy.js'
import { createExecRunner } from '../../src/ops/exec.js'
import { createHttpRunner } from '../../src/ops/http.js'
import { createImageRunner } from '../../src/ops/image.js'
import type { OpRunner, OpRunners, SolverPorts } from '../../src/solver/ports.js'
import type { Random } from './random.js'

/** Ports of which nothing but keys may be asked. */
export function keyPorts(runners: Partial<OpRunners> = {}): SolverPorts {
  const none: OpRunner<Op> = {
    run: async ({ kind }) => {
      if (kind === 'context') throw new Error('this test has no context')
      throw new Error('keys run nothing')
    },
  }
  const unused = undefined as never
  const copy = createCopyRunner({ layers: unused, pool: unused, viewOf: unused, nowMs: Date.now })
  const secrets = { secretsInKey: new Set<string>(), findSecret: async () => undefined }
  const real = {
    image: createImageRunner(unused),
    copy,
    exec: createExecRunner({ ...secrets, copyRunner: copy } as never),
    http: createHttpRunner({ blobs: unused, memoDirectory: '/nowhere', env: {} } as never),
  }
  return {
    records: { find: () => undefined, save: () => undefined },
    layers: unused,
    runners: { ...real, context: none, inline: none, git: none, mkdir: none, ...runners } as OpRunners,
  }
}

/** A plan of `count` vertices with random ops on random earlier ones. The last depends on all of them. */
export function randomVertices(random: Random, count: number): Vertex[] {
  const vertices: Vertex[] = []
  for (let i = 0; i < count; i++) {
    const isLast = i === count - 1
    const inputs = isLast ? vertices.map(({ id }) => id) : i === 0 ? [] : pickSome(random, vertices)
    const op = isLast ? execOp(random, inputs.length) : inputs.length === 0 ? sourceOp(random) : stepOp(random, inputs.length)
    const id = digestOf(`vertex ${i}`) as string as VertexId
    vertices.push({ id, op, inputs, name: `[${i}] ${op.kind}`, ignoreCache: false, span: { start: i, end: i + 1 } })
  }
  return vertices
}

function pickSome(random: Random, vertices: readonly Vertex[]): VertexId[] {
  const chosen = new Set(Array.from({ length: random.below(3) }, () => random.pick(vertices).id))
  return [...chosen]
}

const word = (random: Random): string => `w${random.below(1_000_000)}`

function sourceOp(random: Random): Op {
  const name = word(random)
  return random.pick<Op>([
    {
      ...{ kind: 'image', reference: name, manifest: digestOf(`m${name}`), config: digestOf(name) },
      ...{ platform: { os: 'linux', architecture: 'amd64' }, diffIds: [digestOf(name) as string as DiffID] },
    },
    { kind: 'inline', files: [{ name, content: word(random), mode: 0o644 }] },
    { kind: 'http', url: `https://host.invalid/${name}`, filename: name, checksum: digestOf(name) },
  ])
}

function stepOp(random: Random, inputs: number): Op {
  return random.pick<Op>([execOp(random, inputs), copyOp(random, inputs), mkdirOp(random), mergeOp(inputs)])
}

function execOp(random: Random, inputs: number): Op {
  const access = { uid: 0, gid: 0, mode: 0o400 }
  return {
    ...{ kind: 'exec', base: 0, argv: ['sh', '-c', word(random)], env: [`A=${word(random)}`, 'B=2'], cwd: '/w', user: 'u' },
    ...{ hostname: 'h', network: 'default', security: 'sandbox', hostNames: ['n'], shmSizeBytes: 1 << 20 },
    mounts: [
      { kind: 'bind', input: inputs - 1, source: 's', target: '/t', readonly: true },
      {
        ...{ kind: 'cache', id: 'c', target: '/c', sharing: 'shared', input: 0, source: '/', readonly: false },
        ...{ uid: 0, gid: 0, mode: 0o755 },
      },
      { kind: 'tmpfs', target: '/x', sizeBytes: 5 },
      { kind: 'secret', id: 'k', target: '/k', env: 'K', required: true, ...access },
      { kind: 'ssh', id: 'd', target: '/d', required: false, ...access },
    ],
  }
}

function copyOp(random: Random, inputs: number): Op {
  const source = { input: inputs - 1, path: word(random), wildcard: false, unpack: 'never', keepOwner: true } as const
  return {
    ...{ kind: 'copy', base: 0, sources: [source], destination: `/${word(random)}/`, chmod: '644', parents: false },
    ...{ owner: { user: 'a', group: 'b' }, exclude: ['*.o'] },
  }
}

function mkdirOp(random: Random): Op {
  return { kind: 'mkdir', base: 0, path: `/${word(random)}`, mode: 0o755, owner: { user: 'a', group: 'b' } }
}

function mergeOp(inputs: number): Op {
  return { kind: 'merge', base: 0, layers: Array.from({ length: inputs }, (_, i) => i) }
}

/** One thing that is another in an op. */
export interface Mutation {
  /** `mounts.0.target`. */
  readonly path: string
  readonly op: Op
}

/** The op with each of its values changed in turn, each list made longer and shorter, and each field left out. */
export function mutationsOf(op: Op): Mutation[] {
  return mutate(op, '').map(({ path, value }) => ({ path, op: value as Op }))
}

interface Changed {
  readonly path: string
  readonly value: unknown
}

function mutate(value: unknown, path: string): Changed[] {
  if (typeof value === 'string') return [{ path, value: otherText(value) }]
  if (typeof value === 'number') return [{ path, value: value + 1 }]
  if (typeof value === 'boolean') return [{ path, value: !value }]
  if (Array.isArray(value)) {
    const items = value.flatMap((item: unknown, i) =>
      mutate(item, `${path}.${i}`).map((changed) => ({ path: changed.path, value: value.with(i, changed.value) })),
    )
    const shorter = value.length === 0 ? [] : [{ path: `${path} shorter`, value: value.slice(1) }]
    return [...items, ...shorter, { path: `${path} longer`, value: [...value, value.at(-1) ?? 'more'] }]
  }
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, field]) => {
    const below = path === '' ? name : `${path}.${name}`
    if (below === 'kind') return []
    const { [name]: _, ...rest } = value as Record<string, unknown>
    const changed = mutate(field, below).map((one) => ({ path: one.path, value: { ...value, [name]: one.value } }))
    return optionalFields.includes(name) ? [...changed, { path: `${below} left out`, value: rest }] : changed
  })
}

const optionalFields = ['base', 'owner', 'group', 'chmod', 'shmSizeBytes', 'sizeBytes']

/** Digests stay digests. */
function otherText(text: string): string {
  if (!/^sha256:[0-9a-f]{64}$/.test(text)) return `${text}x`
  return `${text.slice(0, -1)}${text.endsWith('0') ? '1' : '0'}`
}
