/** COPY in tests: a base made of directories, a context, and the real runner with layers that are plain directories. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type ContextView, openContext } from '../../src/context/context.js'
import { type Context, quietContext } from '../../src/core/context.js'
import { type DiffID, digestOf } from '../../src/core/digest.js'
import { fsPath } from '../../src/core/path-bytes.js'
import type { FileView } from '../../src/core/view.js'
import { compileIgnore } from '../../src/frontend/dockerignore.js'
import type { CopyOp, CopySource, Vertex } from '../../src/graph/op.js'
import { createWorkerPool, type WorkerPool } from '../../src/io/pool.js'
import { digestLayer } from '../../src/layer/digest.js'
import { layerStack } from '../../src/layer/stack.js'
import { createCopyRunner } from '../../src/ops/copy.js'
import type { LayerPort } from '../../src/ops/layer-port.js'
import type { KeyParts, VertexResult } from '../../src/solver/ports.js'

/** What a test of COPY works with. */
export interface Bench extends AsyncDisposable {
  readonly pool: WorkerPool
  readonly layers: LayerPort
  /** The context in `directory`, looked at now. */
  context(directory: string, ignore?: readonly string[]): ContextView
  /** Runs a COPY from a view onto base directories; returns the layer's directory. */
  copy(
    view: FileView,
    op: Partial<CopyOp> & { readonly from?: readonly (string | Partial<CopySource>)[] },
    base?: readonly string[],
  ): Promise<string>
  key(view: FileView, op: Partial<CopyOp> & { readonly from?: readonly (string | Partial<CopySource>)[] }): Promise<KeyParts>
}

/** Makes one in a temporary directory. */
export function openBench(directory: string, ctx: Context = quietContext()): Bench {
  const pool = createWorkerPool(2)
  const directories = new Map<string, string>()
  let count = 0
  const whole = new Set<DiffID>()
  const layers: LayerPort = {
    directoriesOf: async (diffIds) => diffIds.map((id) => directories.get(id) ?? ''),
    async begin() {
      const id = `layer-${count++}`
      const [upper, work] = [join(directory, id), join(directory, `${id}.work`)]
      mkdirSync(upper, { recursive: true })
      return {
        id,
        upper,
        work,
        async commit() {
          renameSync(upper, `${upper}.done`)
          return id
        },
        async [Symbol.asyncDispose]() {
          rmSync(upper, { recursive: true, force: true })
        },
      }
    },
    isWhole: (diffId) => whole.has(diffId),
    async finish(layer, { knownContent, digest, difference }) {
      const below = difference && directories.get(difference.over)
      const found = digestLayer(below === undefined ? layer.upper : [below, layer.upper])
      // What was planned must be what was written.
      if (digest !== undefined) assert.equal(digest, found)
      if (difference !== undefined) assert.is(difference.entries, digestLayer(layer.upper).entries)
      for (const [path, sha256] of knownContent) {
        if (difference !== undefined && !existsSync(fsPath(join(layer.upper, path)))) continue
        assert.is(
          createHash('sha256')
            .update(readFileSync(fsPath(join(layer.upper, path))))
            .digest('hex'),
          sha256,
        )
      }
      const { diffId, contentId, size } = found
      await layer.commit()
      directories.set(diffId, `${layer.upper}.done`)
      if (difference === undefined) whole.add(diffId)
      return { kind: 'layer', diffId, contentId, size }
    },
  }
  const memoDirectory = join(directory, 'memo')
  const runner = createCopyRunner({ layers, pool, viewOf: layerStack, nowMs: () => 1_700_000_000_000, memoDirectory })
  return {
    pool,
    layers,
    context: (path, ignore = []) => openContext(path, { ignore: compileIgnore(ignore), memoDirectory, pool, nowMs: Date.now() }),
    async copy(view, op, base) {
      const inputs: VertexResult[] = [{ kind: 'files', view }]
      if (base !== undefined) {
        for (const path of base) directories.set(path, path)
        inputs.push({ kind: 'layers', diffIds: base as readonly string[] as readonly DiffID[] })
      }
      const full = copyOp(op, base === undefined ? undefined : 1)
      const result = await runner.run(full, inputs, vertexOf(full), ctx)
      return result.kind === 'layer' ? (directories.get(result.diffId) ?? '') : ''
    },
    async key(view, op) {
      const full = copyOp(op, undefined)
      const key = { digest: digestOf(''), by: 'definition' as const, components: {} }
      const parts = await runner.key?.(full, [{ vertex: vertexOf(full), key, view }], vertexOf(full), ctx)
      if (parts === undefined) throw new Error('COPY has no key')
      return parts
    },
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
}

function copyOp(op: Parameters<Bench['copy']>[1], base: number | undefined): CopyOp {
  const { from = ['.'], ...rest } = op
  const sources = from.map((source): CopySource => {
    const given = typeof source === 'string' ? { path: source } : source
    const path = given.path ?? '.'
    return { input: 0, path, wildcard: /[*?[]/.test(path), unpack: 'never', keepOwner: false, ...given }
  })
  return {
    kind: 'copy',
    destination: '/',
    exclude: [],
    parents: false,
    ...rest,
    sources,
    ...(base === undefined ? {} : { base }),
  }
}

function vertexOf(op: CopyOp): Vertex {
  return { id: 'v' as Vertex['id'], op, inputs: [], name: 'COPY', ignoreCache: false }
}
