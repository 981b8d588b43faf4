/**
 * The caches of one build: those it looks into and those it writes. Loaded only where `cacheFrom` or `cacheTo` is given.
 */
import { inlineAnnotation } from '../cache/read.js'
import { packInline } from '../cache/write.js'
import type { Descriptor } from '../core/descriptor.js'
import type { DiffID, Digest } from '../core/digest.js'
import type { Platform } from '../core/platform.js'
import type { BuildPlan } from '../graph/op.js'
import type { CacheRecord, CacheRecords } from '../solver/ports.js'
import type { Solution } from '../solver/solution.js'
import { type BuiltRecords, describeRecords, type Exports, openExports, type PlacedCacheTo, recordsOf } from './cache-export.js'
import { type Imports, openImports } from './cache-import.js'
import type { Engine } from './engine.js'
import type { EngineLayers } from './layers.js'
import type { BuildOptions, CacheSummary } from './options.js'

/** The caches of a build. */
export interface RemoteCache extends AsyncDisposable {
  /** Records that are looked for here first, then in the caches; what is saved goes up too. */
  wrap(records: CacheRecords): CacheRecords
  /** Annotations of the image's manifest, with its inline cache. */
  annotate(built: FinishedBuild, blobs: readonly Descriptor[]): Readonly<Record<string, string>>
  /** Takes the word of no cache for this layer any more. */
  distrust(diffId: DiffID): boolean
  /** Writes the caches, and says what was taken and written. */
  finish(built: FinishedBuild): Promise<readonly CacheSummary[]>
}

/** A build whose image is known. */
export interface FinishedBuild {
  readonly plan: BuildPlan
  readonly solution: Solution
  /** The key under which the image's time is remembered. */
  readonly imageKey: Digest
}

/** Reads the caches to look into, and opens those to write. */
export async function openRemoteCache(options: BuildOptions, engine: Engine, layers: EngineLayers): Promise<RemoteCache> {
  const platform: Platform = options.platform ?? engine.settings.hostPlatform
  const targets = options.cacheTo ?? []
  const placed = targets.filter((to): to is PlacedCacheTo => to.type !== 'inline')
  const [imports, exports] = await Promise.all([
    openImports(options.cacheFrom ?? [], platform, engine, layers),
    openExports(placed, platform, engine, layers),
  ])
  layers.ask(imports)
  return new OpenCache(imports, exports, placed.length < targets.length, engine, layers)
}

/** What steps are, as people count them. */
const stepKinds: readonly string[] = ['copy', 'exec', 'mkdir']

class OpenCache implements RemoteCache {
  readonly #imports: Imports
  readonly #exports: Exports
  readonly #isInline: boolean
  readonly #engine: Engine
  readonly #layers: EngineLayers
  #records: CacheRecords | undefined

  constructor(imports: Imports, exports: Exports, isInline: boolean, engine: Engine, layers: EngineLayers) {
    this.#imports = imports
    this.#exports = exports
    this.#isInline = isInline
    this.#engine = engine
    this.#layers = layers
  }

  wrap(records: CacheRecords): CacheRecords {
    this.#records = {
      find: (key) => records.find(key) ?? this.#imports.find(key),
      save: (record) => {
        records.save(record)
        this.#exports.note(record)
      },
    }
    return this.#records
  }

  distrust(diffId: DiffID): boolean {
    return this.#imports.distrust(diffId)
  }

  annotate(built: FinishedBuild, blobs: readonly Descriptor[]): Readonly<Record<string, string>> {
    if (!this.#isInline) return {}
    const records = recordsOf(this.#builtRecords(built), 'min', this.#layers)
    const byLayer = new Map(built.solution.rootfs.diffIds.map((diffId, i) => [diffId, blobs[i]]))
    return {
      [inlineAnnotation]: packInline(describeRecords(records, (diffId) => byLayer.get(diffId), this.#layers, this.#engine)),
    }
  }

  async finish(built: FinishedBuild): Promise<readonly CacheSummary[]> {
    const records = this.#builtRecords(built)
    await this.#exports.upload(records, undefined)
    const steps = stepIds(built.plan)
    const vertices = built.solution.vertices.filter(({ id }) => steps.has(id))
    const taken = this.#imports.summaries(vertices, records.recordOf, this.#engine.ctx)
    // Nothing more is read from them, and a directory that is written too can be swept.
    await this.#imports[Symbol.asyncDispose]()
    return [...taken, ...(await this.#exports.publish())]
  }

  #builtRecords({ plan, solution, imageKey }: FinishedBuild): BuiltRecords {
    const recordOf = (key: Digest): CacheRecord | undefined => this.#records?.find(key)
    const steps = stepIds(plan)
    const merges = new Set(plan.vertices.flatMap(({ id, op }) => (op.kind === 'merge' ? [id] : [])))
    return {
      steps: solution.vertices
        .filter(({ id }) => steps.has(id) || merges.has(id))
        .flatMap(({ key }) => recordOf(key.digest) ?? []),
      image: recordOf(imageKey),
      result: solution.rootfs.diffIds,
      recordOf,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#exports.stop()
    await this.#imports[Symbol.asyncDispose]()
  }
}

function stepIds({ vertices }: BuildPlan): ReadonlySet<string> {
  return new Set(vertices.flatMap(({ id, op }) => (stepKinds.includes(op.kind) ? [id] : [])))
}
