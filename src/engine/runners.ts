/** Plugs the ops, the store and the sandbox into the ports of the solver. */
import { mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { CanonicalValue } from '../core/canonical.js'
import { SolveError, systemCode } from '../core/errors.js'
import type { GitOp, HttpOp, InlineOp, MkdirOp, Op } from '../graph/op.js'
import { layerStack } from '../layer/stack.js'
import type { CacheTravel } from '../ops/cache-mounts.js'
import { type ContextDirectories, createContextRunner } from '../ops/context.js'
import { createCopyRunner } from '../ops/copy.js'
import { createExecRunner } from '../ops/exec.js'
import type { FindSecret } from '../ops/exec-mounts.js'
import { createImageRunner } from '../ops/image.js'
import type { LayerPort } from '../ops/layer-port.js'
import { layerDirectories } from '../ops/stack.js'
import type { CacheRecords, Explainer, OpRunner, OpRunners, SolverPorts, StepClaims } from '../solver/ports.js'
import { hasWholeSnapshot } from '../store/layer-files.js'
import type { Store } from '../store/types.js'
import { type Engine, once } from './engine.js'
import type { EngineLayers } from './layers.js'
import type { BuildOptions, SecretSource } from './options.js'
import { volumeDirectories, volumeOpener } from './volumes.js'

/** The world of one build. */
export function createPorts(
  engine: Engine,
  layers: EngineLayers,
  directories: ContextDirectories,
  options: BuildOptions,
  explainer?: Explainer,
  cacheTravel?: CacheTravel,
): SolverPorts {
  const runners = createRunners(engine, layers, directories, options, cacheTravel)
  const claims: StepClaims = { take: (key) => engine.claims.take('step', key) }
  const world = { records: createRecords(engine.store), layers, runners, claims, hold: () => engine.store.hold() }
  return { ...world, ...(explainer === undefined ? {} : { explainer }) }
}

/** Records whose layers are all there. */
function createRecords(store: Store): CacheRecords {
  return {
    find(key) {
      const record = store.records.find(key)
      return record !== undefined && store.layers.arePresent(record.layers) ? record : undefined
    },
    save: (record) => store.records.save(record),
  }
}

function createRunners(
  engine: Engine,
  layers: EngineLayers,
  directories: ContextDirectories,
  options: BuildOptions,
  cacheTravel: CacheTravel | undefined,
): OpRunners {
  const { store, pool, settings } = engine
  const layerPort = createLayerPort(engine, layers)
  const memoDirectory = engine.contextMemo === undefined ? store.directory('memo') : undefined
  const copy = createCopyRunner({ layers: layerPort, pool, viewOf: layerStack, nowMs: settings.now, memoDirectory })
  return {
    image: createImageRunner(layers),
    context: createContextRunner({
      directories: new Map([...directories, ...volumeDirectories(options)]),
      memoDirectory: engine.contextMemo ?? store.directory('memo'),
      pool,
      nowMs: settings.now,
      remember: engine.contextMemo === undefined,
    }),
    copy,
    exec: createExecRunner({
      store,
      pool,
      copyRunner: copy,
      findSecret: secretFinder(options.secrets ?? {}),
      secretsInKey: new Set(Object.entries(options.secrets ?? {}).flatMap(([id, { inKey }]) => (inKey ? [id] : []))),
      ssh: options.ssh ?? {},
      privateDirectory: async () => (await engine.openSandbox()).privateDirectory(),
      openVolume: volumeOpener(options, store.root),
      cacheDirectories: options.cacheMounts ?? {},
      cacheTravel,
      openSandbox: engine.openSandbox,
      settings: { env: options.proxyEnv ?? [], hosts: options.addHosts ?? [], limits: options.limits ?? {} },
      now: settings.now,
    }),
    mkdir: lazyRun<MkdirOp>(async () => {
      const { createMkdirRunner } = await import('../ops/mkdir.js')
      return createMkdirRunner({ layers: layerPort, pool, viewOf: layerStack, nowMs: settings.now })
    }),
    inline: lazyRun<InlineOp>(async () => {
      const { createInlineRunner } = await import('../ops/inline.js')
      return createInlineRunner({ scratch: () => makeScratch(store), nowMs: settings.now })
    }),
    http: lazyRunner<HttpOp>(async () => {
      const { createHttpRunner } = await import('../ops/http.js')
      return createHttpRunner({
        blobs: store.blobs,
        memoDirectory: store.directory('memo'),
        claims: engine.claims,
        env: settings.env,
        findSecret: secretFinder(options.secrets ?? {}),
      })
    }),
    git: lazyRunner<GitOp>(async () => {
      const { createGitRunner } = await import('../ops/git.js')
      return createGitRunner({
        scratch: () => makeScratch(store),
        directory: store.directory('git'),
        stateDirectory: settings.stateDirectory,
        env: settings.env,
        findSecret: secretFinder(options.secrets ?? {}),
        ssh: options.ssh ?? {},
      })
    }),
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
    isWhole: (diffId) => hasWholeSnapshot(store.layers.find(diffId)),
    async finish(layer, written, ctx) {
      const { commitLayer } = await import('../ops/commit.js')
      return commitLayer(layer, written, { store, pool }, ctx)
    },
  }
}

/** A new empty directory that is removed with this process. */
function makeScratch(store: Store): string {
  const path = store.blobs.temporaryPath()
  mkdirSync(path)
  return path
}

/** Loads a runner whose key is its op alone with the first run. */
function lazyRun<O extends Op>(load: () => Promise<OpRunner<O>>): OpRunner<O> {
  const loaded = once(load)
  return { run: async (op, inputs, vertex, ctx) => (await loaded()).run(op, inputs, vertex, ctx) }
}

/** Loads a runner with its first use: downloads and git are rare, and what they need is large. */
function lazyRunner<O extends Op>(load: () => Promise<OpRunner<O>>): OpRunner<O> {
  const loaded = once(load)
  return {
    async key(op, inputs, vertex, ctx) {
      const parts = await (await loaded()).key?.(op, inputs, vertex, ctx)
      return parts ?? { fields: op as unknown as CanonicalValue, components: {}, coveredInputs: [] }
    },
    run: async (op, inputs, vertex, ctx) => (await loaded()).run(op, inputs, vertex, ctx),
  }
}

/** Finds the secrets of a build by their ids. */
export function secretFinder(secrets: Readonly<Record<string, SecretSource>>): FindSecret {
  return async (id) => {
    const source = Object.hasOwn(secrets, id) ? secrets[id] : undefined
    if (source === undefined) return undefined
    if ('value' in source) return Buffer.from(source.value)
    try {
      return await readFile(source.file)
    } catch (error) {
      const code = systemCode(error)
      if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'EISDIR') throw error
      throw new SolveError('SOLVE_SECRET_MISSING', `secret "${id}" cannot be read from ${source.file}`, { cause: error })
    }
  }
}
