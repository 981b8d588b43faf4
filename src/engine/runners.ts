/** Plugs the ops, the store and the sandbox into the ports of the solver. */
import { readFile } from 'node:fs/promises'
import { openContext } from '../context/context.js'
import { SolveError, systemCode } from '../core/errors.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { ContextOp, Op } from '../graph/op.js'
import { layerStack } from '../layer/stack.js'
import { commitLayer } from '../ops/commit.js'
import { createCopyRunner } from '../ops/copy.js'
import { createExecRunner } from '../ops/exec.js'
import type { FindSecret } from '../ops/exec-mounts.js'
import { createImageRunner } from '../ops/image.js'
import type { LayerPort } from '../ops/layer-port.js'
import { layerDirectories } from '../ops/stack.js'
import type { CacheRecords, OpRunner, OpRunners, SolverPorts } from '../solver/ports.js'
import type { Store } from '../store/types.js'
import type { Engine } from './engine.js'
import type { EngineLayers } from './layers.js'
import type { BuildOptions, SecretSource } from './options.js'

/** The world of one build. */
export function createPorts(
  engine: Engine,
  layers: EngineLayers,
  directories: Readonly<Record<string, string>>,
  options: BuildOptions,
): SolverPorts {
  return { records: createRecords(engine.store), layers, runners: createRunners(engine, layers, directories, options) }
}

/** Records whose layers are all there; what an earlier format left out is a miss. */
function createRecords(store: Store): CacheRecords {
  return {
    find(key) {
      const record = store.records.find(key)
      if (record === undefined || record.layerTimes?.length !== record.layers.length) return undefined
      return store.layers.arePresent(record.layers) ? record : undefined
    },
    save: (record) => store.records.save(record),
  }
}

function createRunners(
  engine: Engine,
  layers: EngineLayers,
  directories: Readonly<Record<string, string>>,
  options: BuildOptions,
): OpRunners {
  const { store, pool, settings } = engine
  const layerPort = createLayerPort(engine, layers)
  const copy = createCopyRunner({ layers: layerPort, pool, viewOf: layerStack, nowMs: settings.now })
  return {
    image: createImageRunner(layers),
    context: contextRunner(engine, directories),
    copy,
    exec: createExecRunner({
      store,
      pool,
      copyRunner: copy,
      findSecret: secretFinder(options.secrets ?? {}),
      openSandbox: engine.openSandbox,
      settings: { env: options.proxyEnv ?? [], hosts: options.addHosts ?? [], limits: options.limits ?? {} },
      now: settings.now,
    }),
    inline: notYet,
    http: notYet,
    git: notYet,
    mkdir: notYet,
  }
}

/** How ops that write a layer without a sandbox reach the store. */
function createLayerPort({ store, pool }: Engine, layers: EngineLayers): LayerPort {
  return {
    async directoriesOf(diffIds, ctx) {
      if (!layers.areHere(diffIds)) await layers.unpack(diffIds, 'layers', ctx)
      return layerDirectories(store, diffIds)
    },
    begin: () => store.snapshots.prepare(),
    finish: (layer, knownContent, ctx) => commitLayer(layer, knownContent, { store, pool }, ctx),
  }
}

function contextRunner({ store, pool, settings }: Engine, directories: Readonly<Record<string, string>>): OpRunner<ContextOp> {
  return {
    async run({ name, ignore }) {
      const root = directories[name]
      if (root === undefined) throw new SolveError('CONTEXT_NOT_FOUND', `there is no build context named "${name}"`)
      const view = openContext(root, {
        ignore: compileIgnore(ignore),
        memoDirectory: store.directory('memo'),
        pool,
        nowMs: settings.now(),
      })
      return { kind: 'files', view }
    },
  }
}

function secretFinder(secrets: Readonly<Record<string, SecretSource>>): FindSecret {
  return async (id) => {
    const source = Object.hasOwn(secrets, id) ? secrets[id] : undefined
    if (source === undefined) return undefined
    if ('value' in source) return Buffer.from(source.value)
    try {
      return await readFile(source.file)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT' && systemCode(error) !== 'EACCES') throw error
      throw new SolveError('SOLVE_SECRET_MISSING', `secret "${id}" cannot be read from ${source.file}`, { cause: error })
    }
  }
}

const notYet: OpRunner<Op> = {
  run: (op) => Promise.reject(new SolveError('DOCKERFILE_UNSUPPORTED', `steps of kind ${op.kind} cannot be run yet`)),
}
