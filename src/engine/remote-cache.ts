/**
 * The caches of one build: those it looks into and those it writes. Loaded only where `cacheFrom` or `cacheTo` is given.
 */
import { countSteps } from '../cache/document.js'
import { inlineAnnotation } from '../cache/read.js'
import { packInline } from '../cache/write.js'
import type { DiffID, Digest } from '../core/digest.js'
import type { BuildPlan } from '../graph/op.js'
import type { CacheTravel } from '../ops/cache-mounts.js'
import type { CacheRecord, CacheRecords } from '../solver/ports.js'
import { imageRecordKey, type SolvedPlan } from './assembled.js'
import { type BuiltRecords, describeRecords, type Exports, openExports, type PlacedCacheTo, recordsOf } from './cache-export.js'
import { type Imports, openImports } from './cache-import.js'
import { type MountTravel, openMountTravel } from './cache-mount-travel.js'
import type { Engine } from './engine.js'
import type { EngineLayers } from './layers.js'
import type { BuildOptions, CacheSummary } from './options.js'
import type { Annotate } from './outputs.js'

/** The caches of a build. */
export interface RemoteCache extends AsyncDisposable {
  /** Records that are looked for here first, then in the caches; what is saved goes up too. */
  wrap(records: CacheRecords): CacheRecords
  /** Gives the manifests of images their inline cache; undefined when there is to be none. */
  annotator(solved: readonly SolvedPlan[]): Annotate | undefined
  /** How cache mounts come from other machines. */
  readonly travel: CacheTravel
  /** Takes the word of no cache for this layer any more. */
  distrust(diffId: DiffID): boolean
  /** Which of these steps each cache has. */
  foreseen(steps: readonly Digest[]): readonly CacheSummary[]
  /** Writes the caches, and says what was taken and written. */
  finish(solved: readonly SolvedPlan[]): Promise<readonly CacheSummary[]>
}

/** Reads the caches to look into, and opens those to write. */
export async function openRemoteCache(options: BuildOptions, engine: Engine, layers: EngineLayers): Promise<RemoteCache> {
  const platforms = options.platforms ?? []
  const own = platforms.length === 0 ? [engine.settings.hostPlatform] : platforms
  const targets = options.cacheTo ?? []
  const placed = targets.filter((to): to is PlacedCacheTo => to.type !== 'inline')
  const [imports, exports] = await Promise.all([
    openImports(options.cacheFrom ?? [], own, engine, layers),
    openExports(placed, own[0] ?? engine.settings.hostPlatform, engine, layers),
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
  readonly travel: MountTravel
  #records: CacheRecords | undefined

  constructor(imports: Imports, exports: Exports, isInline: boolean, engine: Engine, layers: EngineLayers) {
    this.#imports = imports
    this.#exports = exports
    this.#isInline = isInline
    this.#engine = engine
    this.#layers = layers
    this.travel = openMountTravel(imports, engine)
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

  foreseen(steps: readonly Digest[]): readonly CacheSummary[] {
    return this.#imports.foreseen(steps)
  }

  annotator(solved: readonly SolvedPlan[]): Annotate | undefined {
    if (!this.#isInline) return undefined
    return (image, blobs) => {
      const { diff_ids: result } = image.config.rootfs
      const built = this.#builtRecords(solved)
      const records = recordsOf({ ...built, result }, 'min', this.#layers)
      const byLayer = new Map(result.map((diffId, i) => [diffId, blobs[i]]))
      const document = describeRecords(records, (diffId) => byLayer.get(diffId), this.#layers, this.#engine)
      if (built.steps.length > 0 && countSteps(document) === 0) this.#warnOfEmpty()
      return { [inlineAnnotation]: packInline(document) }
    }
  }

  async finish(solved: readonly SolvedPlan[]): Promise<readonly CacheSummary[]> {
    const records = this.#builtRecords(solved)
    const plans = solved.map(({ plan }) => plan)
    await this.#exports.upload(records, (backend, progressId, ctx) => this.travel.save(plans, backend, progressId, ctx))
    const steps = solved.flatMap(({ plan, solution }) => {
      const ids = idsOf(plan, stepKinds)
      return solution.vertices.filter(({ id }) => ids.has(id))
    })
    const distinct = [...new Map(steps.map((step) => [step.id, step])).values()]
    const taken = this.#imports.summaries(distinct, records.recordOf, this.#engine.ctx, this.travel.restored())
    // Nothing more is read from them, and a directory that is written too can be swept.
    await this.#imports[Symbol.asyncDispose]()
    return [...taken, ...(await this.#exports.publish())]
  }

  #warnOfEmpty(): void {
    const message = 'the image carries no inline cache: none of its layers is that of a step'
    const hint = '--squash and rewrite-timestamp=true make layers of their own: write the cache to another place'
    this.#engine.ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: 'CacheEmpty', message, hint } })
  }

  #builtRecords(solved: readonly SolvedPlan[]): BuiltRecords {
    const recordOf = (key: Digest): CacheRecord | undefined => this.#records?.find(key)
    const steps = solved.flatMap(({ plan, solution }) => {
      const ids = idsOf(plan, [...stepKinds, 'merge'])
      return solution.vertices.filter(({ id }) => ids.has(id)).flatMap(({ key }) => recordOf(key.digest) ?? [])
    })
    return {
      steps,
      images: solved.flatMap((each) => recordOf(imageRecordKey(each)) ?? []),
      result: solved.flatMap(({ solution }) => solution.rootfs.diffIds),
      recordOf,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#exports.stop()
    await this.#imports[Symbol.asyncDispose]()
  }
}

function idsOf({ vertices }: BuildPlan, kinds: readonly string[]): ReadonlySet<string> {
  return new Set(vertices.flatMap(({ id, op }) => (kinds.includes(op.kind) ? [id] : [])))
}
