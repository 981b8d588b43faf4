/**
 * From solutions to images, for the times that an output asks for. Outputs that ask for the same get the same images.
 */
import { type CanonicalValue, canonicalJson } from '../core/canonical.js'
import { type Digest, digestOf } from '../core/digest.js'
import { type AssembledImage, assembleImage } from '../exporter/assemble.js'
import type { BuildPlan } from '../graph/op.js'
import type { CacheRecord } from '../solver/ports.js'
import type { Solution } from '../solver/solution.js'
import type { Engine } from './engine.js'
import type { EngineLayers } from './layers.js'
import type { AssembledImages } from './outputs.js'

/** Which times an image has. */
export interface ImageTimestamps {
  /** Seconds since 1970 that no time of this build is later than; undefined leaves all times. */
  readonly epoch: number | undefined
  /** The times of files in the build's own layers too. */
  readonly rewrite: boolean
}

/** A plan that was solved. */
export interface SolvedPlan {
  readonly plan: BuildPlan
  readonly solution: Solution
}

/** Makes the images of a build. */
export interface Assembler {
  images(times: ImageTimestamps): Promise<AssembledImages>
  /** All that were made. */
  made(): Promise<readonly AssembledImage[]>
}

/** Where it is remembered when an image was first made. */
export interface ImageRecords {
  find(key: Digest): CacheRecord | undefined
  save(record: CacheRecord): void
}

/** Assembles what was solved, one plan for each platform. */
export function createAssembler(
  solved: readonly SolvedPlan[],
  engine: Engine,
  layers: EngineLayers,
  records: ImageRecords,
): Assembler {
  const made = new Map<string, Promise<AssembledImages>>()
  return {
    images(times) {
      const key = `${times.epoch} ${times.rewrite && times.epoch !== undefined}`
      const images = made.get(key) ?? assembleAll(solved, times, engine, layers, records)
      made.set(key, images)
      return images
    },
    made: async () => (await Promise.all(made.values())).flat(),
  }
}

async function assembleAll(
  solved: readonly SolvedPlan[],
  { epoch, rewrite }: ImageTimestamps,
  engine: Engine,
  layers: EngineLayers,
  records: ImageRecords,
): Promise<AssembledImages> {
  const images: AssembledImage[] = []
  for (const { plan, solution } of solved) {
    const madeAt = firstMadeAt({ plan, solution }, records, engine.settings.now)
    const rootfs = rewrite && epoch !== undefined ? await rewritten(solution, epoch, engine, layers) : solution.rootfs
    images.push(assembleImage(plan.image, rootfs, { madeAt, epoch }))
  }
  const [first, ...more] = images
  if (first === undefined) throw new Error('a build has a platform')
  return [first, ...more]
}

async function rewritten({ rootfs }: Solution, epoch: number, engine: Engine, layers: EngineLayers): Promise<Solution['rootfs']> {
  const { rewriteLayers } = await import('./timestamps.js')
  return rewriteLayers(rootfs, epoch, engine, layers)
}

/**
 * When this image was first made. Instructions that only change the config have no layer to take a time from; without
 * this a rebuild of the same would have another image id each time.
 */
function firstMadeAt(solved: SolvedPlan, records: ImageRecords, now: () => number): number {
  const key = imageRecordKey(solved)
  const known = records.find(key)
  if (known !== undefined) return known.createdAt
  const createdAt = now()
  const { diffIds: layers, times: layerTimes } = solved.solution.rootfs
  records.save({ key, by: 'definition', layers, layerTimes, createdAt, size: 0, components: {}, name: 'image' })
  return createdAt
}

/** The key under which an image's time is remembered. */
export function imageRecordKey({ plan, solution: { rootfs } }: SolvedPlan): Digest {
  const identity = { version: 1, by: 'image', layers: rootfs.diffIds, config: plan.image.config, history: plan.image.history }
  return digestOf(canonicalJson(identity as unknown as CanonicalValue))
}
