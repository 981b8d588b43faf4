/**
 * `build`: a Dockerfile and its context in, an image out. The composition root: the only file that knows all parts.
 *
 * Each arrow of style.md, section 1, is one line here. Whatever is not needed when all is cached is imported where it is
 * first used.
 */
import { availableParallelism } from 'node:os'
import { type CanonicalValue, canonicalJson } from './core/canonical.js'
import type { Context } from './core/context.js'
import type { Descriptor } from './core/descriptor.js'
import type { Diagnostic } from './core/diagnostic.js'
import { type Digest, digestOf } from './core/digest.js'
import { DockerfileError, StoreError } from './core/errors.js'
import { familiarReference, formatReference, type Reference } from './core/reference.js'
import { lintBuild } from './engine/checks.js'
import { type BuildFiles, readBuildFiles } from './engine/dockerfile.js'
import { type Engine, withEngine } from './engine/engine.js'
import { planOptions } from './engine/frontend-options.js'
import { findImage, requireReference } from './engine/images.js'
import { createLayers, type EngineLayers } from './engine/layers.js'
import type { BuildOptions, BuildResult, CacheSummary } from './engine/options.js'
import { exportTo } from './engine/outputs.js'
import { parseAnew, parseRemembered } from './engine/parse-memo.js'
import type { FinishedBuild, RemoteCache } from './engine/remote-cache.js'
import { createPorts } from './engine/runners.js'
import { type AssembledImage, assembleImage } from './exporter/assemble.js'
import { analyze } from './frontend/analyze.js'
import { lower } from './frontend/lower.js'
import { resolve } from './frontend/resolve.js'
import type { BuildPlan } from './graph/op.js'
import { randomName } from './io/fs.js'
import type { CacheRecords } from './solver/ports.js'
import type { Solution } from './solver/solution.js'
import { solve } from './solver/solve.js'

/** How often a build starts over when a prune took away what it had found. */
const prunedTries = 3

/**
 * Builds an image.
 *
 * @throws DockerfileError with everything that is wrong in the Dockerfile
 * @throws BuildError of the step that failed, with its place; CancelledError when `options.signal` aborted
 */
export function build(options: BuildOptions): Promise<BuildResult> {
  return withEngine(options, async (engine) => {
    const names = (options.tags ?? []).map(requireReference)
    const files = readBuildFiles(options)
    const layers = createLayers(engine)
    const { plan, warnings } = await makePlan(files, options, engine, layers)
    const caches = options.cacheFrom?.length || options.cacheTo?.length ? await openCaches(options, engine, layers) : undefined
    await using _closed = caches ?? noCache
    for (let tries = 1; ; tries++) {
      let built: Built
      try {
        built = await makeImage(plan, files, options, engine, layers, caches)
        const manifest = await exportAll(built, names, options, engine, layers, caches)
        // Nothing held these layers while they were only read: a prune may have been faster (design.md, section 4).
        if (engine.store.layers.arePresent(built.image.config.rootfs.diff_ids)) {
          const summaries = caches === undefined ? [] : await caches.finish(built)
          return report(built, manifest, names, warnings, summaries)
        }
      } catch (error) {
        const { forgetLostLayers } = await import('./engine/lost-layers.js')
        if (!forgetLostLayers(error, plan, engine, layers, caches)) throw error
        continue
      }
      if (tries === prunedTries)
        throw new StoreError('STORE_IN_USE', 'layers of this build are removed again and again while it runs')
    }
  })
}

/** What stands for the caches of a build that has none. */
const noCache: AsyncDisposable = { [Symbol.asyncDispose]: async () => undefined }

async function openCaches(options: BuildOptions, engine: Engine, layers: EngineLayers): Promise<RemoteCache> {
  const { openRemoteCache } = await import('./engine/remote-cache.js')
  return openRemoteCache(options, engine, layers)
}

interface Planned {
  readonly plan: BuildPlan
  readonly warnings: readonly Diagnostic[]
}

/** SourceFile → AST → stages → resolved stages → plan. */
async function makePlan(files: BuildFiles, options: BuildOptions, engine: Engine, layers: EngineLayers): Promise<Planned> {
  const { settings, ctx } = engine
  const place = `${files.root}\n${files.source.name}`
  const parsed = await parseRemembered(files.source, place, () => engine.store.directory('memo'))
  const analysis = analyze(parsed.ast, planOptions(files, options, engine.settings))
  if (hasErrors(parsed.diagnostics) || hasErrors(analysis.diagnostics)) emitWarnings(lintBuild(parsed, analysis), ctx)
  throwErrors(parsed.diagnostics)
  const pull = options.pull ?? 'missing'
  const world = {
    async lookup(name: string, platform = settings.hostPlatform) {
      const image = await findImage(name, platform, pull, engine, ctx)
      layers.vouch(image)
      return image
    },
    parse: parseAnew,
  }
  const resolved = await resolve(analysis, world, ctx)
  const checked = lintBuild(parsed, analysis, resolved)
  emitWarnings(checked, ctx)
  throwErrors(checked)
  const lowered = lower(resolved)
  emitWarnings(lowered.diagnostics, ctx)
  return { plan: lowered.plan, warnings: [...checked, ...lowered.diagnostics].filter(isWarning) }
}

function isWarning({ severity }: Diagnostic): boolean {
  return severity === 'warning'
}

function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some(({ severity }) => severity === 'error')
}

function emitWarnings(diagnostics: readonly Diagnostic[], ctx: Context): void {
  for (const diagnostic of diagnostics.filter(isWarning)) ctx.emit({ type: 'warning', diagnostic })
}

function throwErrors(diagnostics: readonly Diagnostic[]): void {
  const [first, ...more] = diagnostics.filter(({ severity }) => severity === 'error')
  if (first !== undefined) throw new DockerfileError([first, ...more])
}

/** A solved plan and its image. */
interface Built extends FinishedBuild {
  readonly image: AssembledImage
}

/** Plan → solution → image. */
async function makeImage(
  plan: BuildPlan,
  files: BuildFiles,
  options: BuildOptions,
  engine: Engine,
  layers: EngineLayers,
  caches: RemoteCache | undefined,
): Promise<Built> {
  const { settings, ctx } = engine
  // Steps wait for disks and networks more than they compute: four at once also on a machine with two cores.
  const jobs = options.jobs ?? Math.max(4, availableParallelism())
  const ports = createPorts(engine, layers, files.directories, options, caches)
  const solution = await solve(plan, { jobs, now: settings.now }, ports, ctx)
  const imageKey = imageKeyOf(plan, solution)
  const records = caches === undefined ? engine.store.records : ports.records
  const times = { madeAt: firstMadeAt(imageKey, solution, records, settings.now), epoch: options.sourceDateEpoch }
  return { plan, solution, imageKey, image: assembleImage(plan.image, solution.rootfs, times) }
}

function imageKeyOf(plan: BuildPlan, { rootfs }: Solution): Digest {
  const identity = { version: 1, by: 'image', layers: rootfs.diffIds, config: plan.image.config, history: plan.image.history }
  return digestOf(canonicalJson(identity as unknown as CanonicalValue))
}

/**
 * When this image was first made. Instructions that only change the config have no layer to take a time from; without
 * this a rebuild of the same would have another image id each time.
 */
function firstMadeAt(key: Digest, { rootfs }: Solution, records: CacheRecords, now: () => number): number {
  const known = records.find(key)
  if (known !== undefined) return known.createdAt
  const createdAt = now()
  const { diffIds: layers, times: layerTimes } = rootfs
  records.save({ key, by: 'definition', layers, layerTimes, createdAt, size: 0, components: {}, name: 'image' })
  return createdAt
}

async function exportAll(
  built: Built,
  names: readonly Reference[],
  options: BuildOptions,
  engine: Engine,
  layers: EngineLayers,
  caches: RemoteCache | undefined,
): Promise<Descriptor | undefined> {
  const annotate = caches && ((blobs: readonly Descriptor[]) => caches.annotate(built, blobs))
  const work = { engine, layers, image: built.image, names, epoch: options.sourceDateEpoch, annotate }
  let manifest: Descriptor | undefined
  for (const output of options.outputs ?? [{ type: 'image' as const }]) {
    engine.ctx.signal.throwIfAborted()
    const made = await exportTo(output, options.push ?? false, work)
    manifest = made ?? manifest
  }
  return manifest
}

function report(
  { image, solution }: Built,
  manifest: Descriptor | undefined,
  names: readonly Reference[],
  warnings: readonly Diagnostic[],
  caches: readonly CacheSummary[],
): BuildResult {
  return {
    imageId: image.id,
    manifest,
    names: names.map(formatReference),
    steps: solution.vertices.map(({ name, by, key }) => ({ name, cached: by !== 'ran', key: key.digest })),
    warnings,
    caches,
    metadata: {
      'buildx.build.ref': `mille/mille/${randomName(25)}`,
      'containerimage.config.digest': image.id,
      'containerimage.digest': manifest?.digest ?? image.id,
      ...(manifest === undefined ? {} : { 'containerimage.descriptor': manifest }),
      ...(names.length === 0 ? {} : { 'image.name': names.map(familiarReference).join(',') }),
    },
  }
}
