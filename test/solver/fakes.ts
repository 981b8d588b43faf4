/** A world for the solver made of counters: runners that remember what they ran, records in a map. */
import type { BuildEvent, Context } from '../../src/core/context.js'
import { type DiffID, type Digest, diffIdFromHex, digestOf, hexOf } from '../../src/core/digest.js'
import type { FileView } from '../../src/core/view.js'
import type { BuildPlan, CopyOp, ExecOp, ImageOp, Op, Vertex, VertexId } from '../../src/graph/op.js'
import type { CacheRecord, OpResult, OpRunner, OpRunners, SolverPorts, VertexResult } from '../../src/solver/ports.js'

export const emptyView: FileView = { lstat: () => undefined, readdir: () => [], readlink: () => '' }

/** A DiffID made of any text. */
export function diffId(text: string): DiffID {
  return diffIdFromHex(hexOf(digestOf(text)))
}

export function vertex(op: Op, inputs: readonly Vertex[], name: string, ignoreCache = false): Vertex {
  const id = digestOf(JSON.stringify([op, inputs.map((input) => input.id)])) as string as VertexId
  return { id, op, inputs: inputs.map((input) => input.id), name, ignoreCache, span: { start: 0, end: name.length } }
}

export function image(name: string): Vertex {
  const op: ImageOp = {
    kind: 'image',
    reference: name,
    platform: { os: 'linux', architecture: 'amd64' },
    config: digestOf(name),
    diffIds: [diffId(name)],
  }
  return vertex(op, [], `FROM ${name}`)
}

export function run(command: string, base: Vertex, more: readonly Vertex[] = [], ignoreCache = false): Vertex {
  const op: ExecOp = {
    kind: 'exec',
    base: 0,
    argv: ['/bin/sh', '-c', command],
    env: ['PATH=/bin'],
    cwd: '/',
    user: '',
    hostname: 'buildkitsandbox',
    network: 'default',
    security: 'sandbox',
    mounts: more.map((_, i) => ({ kind: 'bind', input: i + 1, source: '/', target: `/m${i}`, readonly: true })),
    hostNames: [],
  }
  return vertex(op, [base, ...more], `RUN ${command}`, ignoreCache)
}

export function context(): Vertex {
  return vertex({ kind: 'context', name: 'context', ignore: [] }, [], 'load context')
}

export function copy(path: string, base: Vertex | undefined, from: Vertex): Vertex {
  const inputs = base === undefined ? [from] : [base, from]
  const op: CopyOp = {
    kind: 'copy',
    ...(base === undefined ? {} : { base: 0 }),
    sources: [{ input: inputs.length - 1, path, wildcard: false, unpack: 'never', keepOwner: false }],
    destination: '/',
    exclude: [],
    parents: false,
  }
  return vertex(op, inputs, `COPY ${path}`)
}

export function merge(base: Vertex, ...layers: Vertex[]): Vertex {
  return vertex({ kind: 'merge', base: 0, layers: layers.map((_, i) => i + 1) }, [base, ...layers], 'merge')
}

/** A plan of these vertices (in order) whose image is the last one. */
export function planOf(...vertices: Vertex[]): BuildPlan {
  return {
    version: 1,
    source: { name: 'Dockerfile', text: 'FROM x' },
    vertices,
    image: {
      platform: { os: 'linux', architecture: 'amd64' },
      rootfs: vertices.at(-1)?.id,
      config: { os: 'linux', architecture: 'amd64' },
      history: [],
    },
  }
}

/** What a fake world knows and counts. */
export interface FakeWorld {
  readonly ports: SolverPorts
  readonly ctx: Context
  readonly events: BuildEvent[]
  /** Names of the vertices whose runner was called, in order. */
  readonly ran: string[]
  readonly looked: Digest[]
  readonly records: Map<Digest, CacheRecord>
  readonly contents: Map<DiffID, Digest>
  /** The files a step leaves by its name; a step without one leaves files named after itself. */
  readonly files: Map<string, string>
  /** Called before a step ends. */
  readonly hooks: Map<string, (signal: AbortSignal) => Promise<void>>
  /** Content of the context. */
  contextText: string
  clock: number
  most: number
}

export function fakeWorld(signal: AbortSignal = new AbortController().signal): FakeWorld {
  const events: BuildEvent[] = []
  const world: FakeWorld = {
    events,
    ctx: { signal, emit: (event) => events.push(event) },
    ran: [],
    looked: [],
    records: new Map(),
    contents: new Map(),
    files: new Map(),
    hooks: new Map(),
    contextText: 'one',
    clock: 1000,
    most: 0,
    ports: undefined as never,
  }
  return Object.assign(world, { ports: portsOf(world) })
}

function portsOf(world: FakeWorld): SolverPorts {
  return {
    records: {
      find: (key) => {
        world.looked.push(key)
        return world.records.get(key)
      },
      save: (record) => void world.records.set(record.key, record),
    },
    layers: {
      contentIdOf: (id) => world.contents.get(id),
      areHere: (ids) => ids.every((id) => world.contents.has(id)),
      bringHere: async (ids) => {
        for (const id of ids) world.contents.set(id, digestOf(id))
      },
    },
    runners: runnersOf(world),
  }
}

function runnersOf(world: FakeWorld): OpRunners {
  let running = 0
  const step = async (_op: Op, _inputs: readonly VertexResult[], { name }: Vertex, ctx: Context): Promise<OpResult> => {
    world.ran.push(name)
    running++
    world.most = Math.max(world.most, running)
    try {
      await world.hooks.get(name)?.(ctx.signal)
    } finally {
      running--
    }
    world.clock += 1
    const id = diffId(`${name} at ${world.clock}`)
    const contentId = digestOf(world.files.get(name) ?? name)
    world.contents.set(id, contentId)
    return { kind: 'layer', diffId: id, contentId, size: 1 }
  }
  const files: OpRunner<Op> = { run: async () => ({ kind: 'files', view: emptyView }) }
  const download: OpRunner<Op> = {
    run: async (_op, _inputs, { name }) => {
      world.ran.push(name)
      return { kind: 'files', view: emptyView }
    },
  }
  return {
    image: {
      run: async (op, _inputs, { name }, ctx) => {
        world.ran.push(name)
        await world.hooks.get(name)?.(ctx.signal)
        for (const id of op.diffIds) world.contents.set(id, digestOf(id))
        return { kind: 'layers', diffIds: op.diffIds }
      },
    },
    context: files,
    inline: files,
    http: download,
    git: download,
    copy: {
      run: step,
      key: async (op, inputs) => {
        const covered = inputs.flatMap((input, i) => (input.vertex.op.kind === 'context' ? [i] : []))
        const fields = { ...op, sources: op.sources.map((source) => ({ ...source })), owner: null, context: world.contextText }
        return { fields, components: { 'path:a': world.contextText }, coveredInputs: covered }
      },
    },
    exec: { run: step },
    mkdir: { run: step },
  }
}
