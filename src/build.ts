/**
 * `build`: a Dockerfile and its context in, an image out. The composition root: the only file that knows all parts.
 *
 * Each arrow of style.md, section 1, is one line here. Whatever is not needed when all is cached is imported where it is
 * first used.
 */
import { availableParallelism } from 'node:os'
import type { BuildAttestations } from './attest/pending.js'
import { hideCredentials } from './core/address.js'
import type { BuildEvent } from './core/context.js'
import type { Descriptor } from './core/descriptor.js'
import { StoreError } from './core/errors.js'
import type { Reference } from './core/reference.js'
import { type Assembler, createAssembler, type ImageTimestamps, type SolvedPlan } from './engine/assembled.js'
import type { AttestWork } from './engine/attest.js'
import { reportBuild } from './engine/build-report.js'
import type { BuildWork } from './engine/build-work.js'
import type { BuiltOnce } from './engine/compare-builds.js'
import { type BuildFiles, readLocalFiles } from './engine/dockerfile.js'
import { type Engine, withEngine } from './engine/engine.js'
import { createExplaining } from './engine/explaining.js'
import { requireReference } from './engine/images.js'
import { createLayers, type EngineLayers } from './engine/layers.js'
import {
  type BuildOptions,
  type BuildResult,
  type DryRunResult,
  engineDefaults,
  type Squash,
  type TimestampOptions,
} from './engine/options.js'
import { exportTo, timesOf } from './engine/outputs.js'
import { makePlans, type Planned } from './engine/plans.js'
import { openRecorder } from './engine/recorder.js'
import type { RemoteCache } from './engine/remote-cache.js'
import { createPorts } from './engine/runners.js'
import type { Trial } from './engine/trial.js'
import { randomName } from './io/fs.js'
import { Scope } from './io/scope.js'
import type { CacheRecords } from './solver/ports.js'
import type { Solution } from './solver/solution.js'
import { solveAll } from './solver/solve.js'

/** How often a build starts over when what it had found in the store is gone or damaged. */
const lossTries = 3

/**
 * Builds an image.
 *
 * @throws DockerfileError with everything that is wrong in the Dockerfile
 * @throws BuildError of the step that failed, with its place; CancelledError when `options.signal` aborted
 */
export async function build(options: BuildOptions): Promise<BuildResult> {
  const { collect } = options
  if (collect === undefined) return buildOnly(options)
  const { buildAndCollect } = await import('./engine/collect.js')
  const settings = engineDefaults(options)
  return buildAndCollect(() => buildOnly(options), collect, { ...settings, emit: settings.onEvent })
}

function buildOnly(options: BuildOptions): Promise<BuildResult> {
  const { now, onEvent, signal } = engineDefaults(options)
  const recorder = openRecorder(options, randomName(25), now)
  const handle = (event: BuildEvent): void => {
    recorder.handle(event)
    onEvent(event)
  }
  return withEngine({ command: buildCommand(options), ...options, onEvent: handle }, async (engine) => {
    if (options.history ?? true) recorder.begin(() => engine.store.directory('history'))
    try {
      const result = await buildAll(engine, options, recorder.id)
      recorder.succeeded(result)
      return result
    } catch (error) {
      recorder.failed(error, signal.aborted)
      throw error
    }
  })
}

/** What processes that wait for this one are told: no values of arguments, which may be secret. */
function buildCommand({ tags = [], dockerfile, target, context }: BuildOptions): string {
  const file = dockerfile !== undefined && 'path' in dockerfile ? ['-f', dockerfile.path] : []
  const words = [...tags.flatMap((tag) => ['-t', tag]), ...file, ...(target === undefined ? [] : ['--target', target]), context]
  return `mille build ${words.map(hideCredentials).join(' ')}`
}

/**
 * Says what `build` would run and why. Runs nothing, fetches no layer, and writes nothing below the store's directory;
 * what a registry says of base images that are not here is asked for.
 *
 * @throws as `build` does, but for what goes wrong in steps
 */
export async function dryRun(options: BuildOptions): Promise<DryRunResult> {
  const [{ openShadow, scratchRoot }, { noClaims }] = await Promise.all([
    import('./engine/shadow.js'),
    import('./store/claims.js'),
  ])
  // Where there is no store yet, none is made.
  using root = scratchRoot(engineDefaults(options).root)
  return await withEngine({ ...options, root: root.path }, async (engine) => {
    await using scope = new Scope()
    const store = scope.use(await openShadow(engine.store))
    const shadow: Engine = { ...engine, store, claims: noClaims, contextMemo: `${root.path}/memo` }
    const files = await openBuildFiles(options, shadow, scope)
    const layers = createLayers(shadow)
    const work = { id: '', startedAt: engine.settings.now(), files, options, engine: shadow, layers }
    const { plans, warnings } = await makePlans(work)
    const explaining = createExplaining(plans, files, options, shadow, false)
    const ports = createPorts(shadow, layers, files.directories, options, explaining)
    // Nothing is written: not to caches either.
    const { cacheFrom } = options
    const caches = cacheFrom?.length ? await openCaches({ ...work, options: { ...options, cacheTo: [] } }, scope) : undefined
    const { foresee } = await import('./solver/foresee.js')
    const records = caches?.wrap(ports.records) ?? ports.records
    const steps = await foresee(plans, { ...ports, records }, explaining, shadow.ctx)
    const found = steps.filter(({ status, vertex: { op } }) => status === 'cached' && /^(copy|exec|mkdir)$/.test(op.kind))
    return {
      steps: steps.map(({ vertex, ...step }) => ({ id: vertex.id, name: vertex.name, ...step })),
      warnings,
      caches: caches?.foreseen(found.map(({ key }) => key)) ?? [],
    }
  })
}

async function buildAll(engine: Engine, options: BuildOptions, id: string): Promise<BuildResult> {
  const startedAt = engine.settings.now()
  const names = (options.tags ?? []).map(requireReference)
  if (options.outputs?.some((output) => 'annotations' in output)) {
    const { refuseLostAnnotations } = await import('./engine/annotations.js')
    refuseLostAnnotations(options, engine.settings.hostPlatform)
  }
  await using scope = new Scope()
  const files = await openBuildFiles(options, engine, scope)
  const work: BuildWork = { id, startedAt, files, options, engine, layers: createLayers(engine) }
  let planned: Planned | undefined
  let caches: RemoteCache | undefined
  for (let tries = 1; ; ) {
    try {
      planned ??= await makePlans(work, tries > 1 && options.pull !== 'never' ? 'whole' : options.pull)
      if (options.cacheFrom?.length || options.cacheTo?.length) caches ??= await openCaches(work, scope)
      const result = await tryBuild(planned, names, { ...work, caches })
      if (result === 'again') continue
      if (result !== 'pruned') return result
      if (tries === lossTries)
        throw new StoreError('STORE_IN_USE', 'layers of this build are removed again and again while it runs')
    } catch (error) {
      const { startOver } = await import('./engine/lost-layers.js')
      if (tries === lossTries || !startOver(error, work)) throw error
    }
    tries++
    planned = undefined
    engine.store.hold()
  }
}

/** One try: `again` when it is worth another, now that layers of a cache are forgotten; `pruned` when a prune was faster. */
async function tryBuild(
  planned: Planned,
  names: readonly Reference[],
  work: BuildWork,
): Promise<BuildResult | 'again' | 'pruned'> {
  const { engine, options, layers, caches } = work
  try {
    const built = options.verifyReproducible ? await makeTwice(planned, work) : await makeImages(planned, work)
    const result = await exportAll(built, names, work)
    // Nothing held these layers while they were only read: a prune may have been faster (design.md, section 4).
    const made = await built.assembler.made()
    if (!made.every(({ config }) => engine.store.layers.arePresent(config.rootfs.diff_ids))) return 'pruned'
    return caches === undefined ? result : { ...result, caches: await caches.finish(built.solved) }
  } catch (error) {
    const { forgetLostLayers } = await import('./engine/lost-layers.js')
    if (!forgetLostLayers(error, planned.plans, engine, layers, caches)) throw error
    return 'again'
  }
}

async function openCaches({ options, engine, layers }: BuildWork, scope: Scope): Promise<RemoteCache> {
  const { openRemoteCache } = await import('./engine/remote-cache.js')
  return scope.use(await openRemoteCache(options, engine, layers))
}

/** The build file and the contexts; what was fetched for them is released by `scope`. */
async function openBuildFiles(options: BuildOptions, engine: Engine, scope: Scope): Promise<BuildFiles> {
  const local = readLocalFiles(options)
  if (local !== undefined) return local
  const { fetchBuildFiles } = await import('./engine/fetched-files.js')
  return fetchBuildFiles(options, engine, scope)
}

/** What was solved, and the images that can be made of it. */
interface Built extends Planned {
  readonly solved: readonly SolvedPlan[]
  readonly solutions: readonly Solution[]
  readonly assembler: Assembler
  readonly attestations: BuildAttestations | undefined
}

/** Plans → solutions → images. `wrap` stands between the solver and the records of the store. */
async function makeImages(
  planned: Planned,
  work: BuildWork,
  wrap: (records: CacheRecords) => CacheRecords = (records) => records,
): Promise<Built> {
  const { id, startedAt, files, options, engine, layers, caches } = work
  // Steps wait for disks and networks more than they compute: four at once also on a machine with two cores.
  const jobs = options.jobs ?? Math.max(4, availableParallelism())
  const explaining = createExplaining(planned.plans, files, options, engine)
  const made = createPorts(engine, layers, files.directories, options, explaining, caches?.travel)
  const ports = { ...made, records: wrap(caches?.wrap(made.records) ?? made.records) }
  const solutions = await solveAll(planned.plans, { jobs, now: engine.settings.now }, ports, engine.ctx).finally(explaining.save)
  const solved = planned.plans.flatMap((plan, i) => {
    const solution = solutions[i]
    return solution === undefined ? [] : [{ plan, solution }]
  })
  const squashed = options.squash === undefined ? solved : await squashAll(solved, options.squash, engine, layers)
  const { epoch } = planned
  const about = { solved: squashed, epoch, options, files, engine, layers, ports, jobs, invocationId: id, startedAt }
  return {
    ...planned,
    solved,
    solutions,
    assembler: createAssembler(squashed, engine, layers, caches === undefined ? engine.store.records : ports.records),
    attestations: await attest(about),
  }
}

async function squashAll(
  solved: readonly SolvedPlan[],
  squash: Squash,
  engine: Engine,
  layers: EngineLayers,
): Promise<readonly SolvedPlan[]> {
  const { squashImage } = await import('./engine/squash.js')
  return Promise.all(solved.map((each) => squashImage(each, squash, engine, layers)))
}

/** What is said about the images, where anything was asked for. */
async function attest(work: AttestWork): Promise<BuildAttestations | undefined> {
  const asked = work.options.attestations
  if (asked === undefined) return undefined
  const { makeAttestations } = await import('./engine/attest.js')
  return makeAttestations(asked, work)
}

/** Builds twice, each time from nothing, and compares. Throws BUILD_NOT_REPRODUCIBLE. */
async function makeTwice(planned: Planned, work: BuildWork): Promise<Built> {
  const { engine, options } = work
  const [{ openTrial }, { compareBuilds }] = await Promise.all([
    import('./engine/trial.js'),
    import('./engine/compare-builds.js'),
  ])
  const run = (trial: Trial): Promise<Built> =>
    makeImages(planned, { ...work, engine: trial.engine, options: trial.options(options) }, trial.records)
  const first = await run(await openTrial('first', engine))
  const second = await run(await openTrial('second', engine))
  const times = timesOf(shownOutput(options), planned.epoch)
  await compareBuilds(await builtOnce(first, times), await builtOnce(second, times), times, engine)
  return first
}

async function builtOnce({ assembler, solutions }: Built, times: ImageTimestamps): Promise<BuiltOnce[]> {
  const images = await assembler.images(times)
  return solutions.flatMap(({ rootfs }, i) => {
    const image = images[i]
    return image === undefined ? [] : [{ image, rootfs }]
  })
}

async function exportAll(built: Built, names: readonly Reference[], work: BuildWork): Promise<BuildResult> {
  const { assembler, epoch, plans, attestations } = built
  const { options, engine, layers, caches } = work
  const isIndex = plans.length > 1 || /^(1|t|true)$/i.test(options.buildArgs?.BUILDKIT_MULTI_PLATFORM ?? '')
  const exporting = { engine, layers, assembler, isIndex, names, epoch, attestations, annotate: caches?.annotator(built.solved) }
  const outputs = options.outputs ?? [{ type: 'image' as const }]
  let manifest: Descriptor | undefined
  for (const output of outputs) {
    engine.ctx.signal.throwIfAborted()
    const made = await exportTo(output, options.push ?? false, exporting)
    manifest = made ?? manifest
  }
  const images = await assembler.images(timesOf(shownOutput(options), epoch))
  return reportBuild({ ...built, images, manifest, names }, work)
}

/** The output whose image stands for the build. */
function shownOutput({ outputs = [] }: BuildOptions): TimestampOptions {
  return outputs.find(({ type }) => type === 'image') ?? outputs[0] ?? {}
}
