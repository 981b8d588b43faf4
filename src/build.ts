/**
 * `build`: a Dockerfile and its context in, an image out. The composition root: the only file that knows all parts.
 *
 * Each arrow of style.md, section 1, is one line here. Whatever is not needed when all is cached is imported where it is
 * first used.
 */
import { availableParallelism } from 'node:os'
import type { Parsed } from '../grammar/ast.js'
import type { Descriptor } from './core/descriptor.js'
import type { Diagnostic } from './core/diagnostic.js'
import { DockerfileError, StoreError } from './core/errors.js'
import { formatPlatform, type Platform } from './core/platform.js'
import { familiarReference, formatReference, type Reference } from './core/reference.js'
import { type Assembler, createAssembler, type SolvedPlan } from './engine/assembled.js'
import { lintBuild } from './engine/checks.js'
import { type BuildFiles, readLocalFiles } from './engine/dockerfile.js'
import { type Engine, withEngine } from './engine/engine.js'
import { planOptions } from './engine/frontend-options.js'
import { findImage, requireReference } from './engine/images.js'
import { createLayers, type EngineLayers } from './engine/layers.js'
import type { BuildOptions, BuildResult, PullPolicy } from './engine/options.js'
import { type AssembledImages, exportTo, mainImage, timesOf } from './engine/outputs.js'
import { parseAnew, parseRemembered } from './engine/parse-memo.js'
import type { RemoteCache } from './engine/remote-cache.js'
import { createPorts } from './engine/runners.js'
import { analyze } from './frontend/analyze.js'
import { lower } from './frontend/lower.js'
import { type ImageLookup, imageKey, type ResolvedImage, resolve } from './frontend/resolve.js'
import type { BuildPlan } from './graph/op.js'
import { randomName } from './io/fs.js'
import { Scope } from './io/scope.js'
import { solveAll } from './solver/solve.js'

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
    await using scope = new Scope()
    const files = await openBuildFiles(options, engine, scope)
    const layers = createLayers(engine)
    const planned = await makePlans(files, options, engine, layers)
    const caches = options.cacheFrom?.length || options.cacheTo?.length ? await openCaches(options, engine, layers) : undefined
    if (caches !== undefined) scope.use(caches)
    for (let tries = 1; ; tries++) {
      const result = await tryBuild(planned, files, names, options, engine, layers, caches)
      if (result === 'again') continue
      if (result !== 'pruned') return result
      if (tries === prunedTries)
        throw new StoreError('STORE_IN_USE', 'layers of this build are removed again and again while it runs')
    }
  })
}

/** One try: `again` when it is worth another, now that layers of a cache are forgotten, `pruned` when a prune was faster. */
async function tryBuild(
  planned: Planned,
  files: BuildFiles,
  names: readonly Reference[],
  options: BuildOptions,
  engine: Engine,
  layers: EngineLayers,
  caches: RemoteCache | undefined,
): Promise<BuildResult | 'again' | 'pruned'> {
  try {
    const built = await makeImages(planned, files, options, engine, layers, caches)
    const result = await exportAll(built, names, options, engine, layers, caches)
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

async function openCaches(options: BuildOptions, engine: Engine, layers: EngineLayers): Promise<RemoteCache> {
  const { openRemoteCache } = await import('./engine/remote-cache.js')
  return openRemoteCache(options, engine, layers)
}

/** The build file and the contexts; what was fetched for them is released by `scope`. */
async function openBuildFiles(options: BuildOptions, engine: Engine, scope: Scope): Promise<BuildFiles> {
  const local = readLocalFiles(options)
  if (local !== undefined) return local
  const { fetchBuildFiles } = await import('./engine/fetched-files.js')
  return fetchBuildFiles(options, engine, scope)
}

interface Planned {
  /** One for each platform. */
  readonly plans: readonly BuildPlan[]
  /** SOURCE_DATE_EPOCH in seconds. */
  readonly epoch: number | undefined
  readonly warnings: readonly Diagnostic[]
}

/** SourceFile → AST → stages → resolved stages → plan, from the stages on for each platform. */
async function makePlans(files: BuildFiles, options: BuildOptions, engine: Engine, layers: EngineLayers): Promise<Planned> {
  const { settings, ctx } = engine
  const place = `${files.place}\n${files.source.name}`
  const parsed = await parseRemembered(files.source, place, () => engine.store.directory('memo'))
  const lookup = lookUpOnce(options.pull ?? 'missing', engine, layers)
  const warnings = new Map<string, Diagnostic>()
  const warn = (diagnostics: readonly Diagnostic[]): void => {
    for (const diagnostic of diagnostics.filter(isWarning)) {
      const key = JSON.stringify(diagnostic)
      if (!warnings.has(key)) ctx.emit({ type: 'warning', diagnostic })
      warnings.set(key, diagnostic)
    }
  }
  const plan = async (given: BuildOptions, platform: Platform): Promise<BuildPlan> => {
    const analysis = analyze(parsed.ast, planOptions(files, given, settings, platform))
    if (hasErrors(parsed.diagnostics) || hasErrors(analysis.diagnostics)) warn(lintBuild(parsed, analysis))
    throwErrors(parsed.diagnostics)
    const resolved = await resolve(analysis, { lookup, parse: parseAnew }, ctx)
    const checked = lintBuild(parsed, analysis, resolved)
    warn(checked)
    throwErrors(checked)
    const lowered = lower(resolved)
    warn(lowered.diagnostics)
    return lowered.plan
  }
  const epoch = await findEpoch(parsed, files, options, engine, layers, plan)
  const plans: BuildPlan[] = []
  for (const platform of distinctPlatforms(options.platforms ?? [settings.hostPlatform])) {
    plans.push(await plan(epoch.options, platform))
  }
  return { plans, epoch: epoch.seconds, warnings: [...warnings.values()] }
}

/** SOURCE_DATE_EPOCH in seconds, and the options in which that is what it says. */
async function findEpoch(
  parsed: Parsed,
  files: BuildFiles,
  options: BuildOptions,
  engine: Engine,
  layers: EngineLayers,
  plan: (options: BuildOptions, platform: Platform) => Promise<BuildPlan>,
): Promise<{ readonly seconds: number | undefined; readonly options: BuildOptions }> {
  const { settings } = engine
  const isAsked = options.buildArgs?.SOURCE_DATE_EPOCH !== undefined || files.source.text.includes('SOURCE_DATE_EPOCH')
  if (!isAsked) return { seconds: undefined, options }
  const { epoch, stages } = analyze(parsed.ast, planOptions(files, options, settings))
  if (epoch === undefined || epoch.kind === 'seconds') return { seconds: epoch?.seconds, options }
  const withValue = (value: string): BuildOptions => ({
    ...options,
    buildArgs: { ...options.buildArgs, SOURCE_DATE_EPOCH: value },
  })
  const { resolveEpoch } = await import('./engine/epoch.js')
  const sources = {
    contextTime: async () => undefined,
    planOf: (stage: number) =>
      plan({ ...withValue(''), target: stages[stage]?.name ?? String(stage), platforms: undefined }, settings.hostPlatform),
    runners: () =>
      createPorts({ ...engine, settings: { ...settings, now: () => 0 } }, layers, files.directories, options, undefined).runners,
  }
  const seconds = await resolveEpoch(epoch, sources, engine)
  return { seconds, options: withValue(seconds === undefined ? '' : String(seconds)) }
}

/** Images by name and platform, each looked up once for all plans. */
function lookUpOnce(pull: PullPolicy, engine: Engine, layers: EngineLayers): ImageLookup {
  const found = new Map<string, Promise<ResolvedImage>>()
  const find = async (name: string, platform: Platform): Promise<ResolvedImage> => {
    const image = await findImage(name, platform, pull, engine, engine.ctx)
    layers.vouch(image)
    return image
  }
  return (name, platform) => {
    const key = imageKey(name, platform)
    const image = found.get(key) ?? find(name, platform)
    found.set(key, image)
    return image
  }
}

function distinctPlatforms(platforms: readonly Platform[]): Platform[] {
  return [...new Map(platforms.map((platform) => [formatPlatform(platform), platform])).values()]
}

function isWarning({ severity }: Diagnostic): boolean {
  return severity === 'warning'
}

function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some(({ severity }) => severity === 'error')
}

function throwErrors(diagnostics: readonly Diagnostic[]): void {
  const [first, ...more] = diagnostics.filter(({ severity }) => severity === 'error')
  if (first !== undefined) throw new DockerfileError([first, ...more])
}

/** What was solved, and the images that can be made of it. */
interface Built extends Planned {
  readonly solved: readonly SolvedPlan[]
  readonly assembler: Assembler
}

/** Plans → solutions → images. */
async function makeImages(
  planned: Planned,
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
  const solutions = await solveAll(planned.plans, { jobs, now: settings.now }, ports, ctx)
  const solved = planned.plans.flatMap((plan, i) => {
    const solution = solutions[i]
    return solution === undefined ? [] : [{ plan, solution }]
  })
  const records = caches === undefined ? engine.store.records : ports.records
  return { ...planned, solved, assembler: createAssembler(solved, engine, layers, records) }
}

async function exportAll(
  built: Built,
  names: readonly Reference[],
  options: BuildOptions,
  engine: Engine,
  layers: EngineLayers,
  caches: RemoteCache | undefined,
): Promise<BuildResult> {
  const { assembler, epoch, plans } = built
  const isIndex = plans.length > 1 || /^(1|t|true)$/i.test(options.buildArgs?.BUILDKIT_MULTI_PLATFORM ?? '')
  const annotate = caches?.annotator(built.solved)
  const work = { engine, layers, assembler, isIndex, names, epoch, annotate }
  const outputs = options.outputs ?? [{ type: 'image' as const }]
  let manifest: Descriptor | undefined
  for (const output of outputs) {
    engine.ctx.signal.throwIfAborted()
    const made = await exportTo(output, options.push ?? false, work)
    manifest = made ?? manifest
  }
  const shown = outputs.find(({ type }) => type === 'image') ?? outputs[0] ?? {}
  const images = await assembler.images(timesOf(shown, epoch))
  return report(built, images, manifest, names, engine)
}

function report(
  { solved, warnings }: Built,
  images: AssembledImages,
  manifest: Descriptor | undefined,
  names: readonly Reference[],
  { settings }: Engine,
): BuildResult {
  const { id } = mainImage(images, settings.hostPlatform)
  const steps = new Map(solved.flatMap(({ solution }) => solution.vertices.map((vertex) => [vertex.id, vertex])))
  return {
    imageId: id,
    images: images.map((image) => ({ imageId: image.id, platform: image.platform })),
    manifest,
    names: names.map(formatReference),
    steps: [...steps.values()].map(({ name, by, key }) => ({ name, cached: by !== 'ran', key: key.digest })),
    warnings,
    caches: [],
    metadata: {
      'buildx.build.ref': `mille/mille/${randomName(25)}`,
      // An index has no config.
      ...(images.length > 1 ? {} : { 'containerimage.config.digest': id }),
      'containerimage.digest': manifest?.digest ?? id,
      ...(manifest === undefined ? {} : { 'containerimage.descriptor': manifest }),
      ...(names.length === 0 ? {} : { 'image.name': names.map(familiarReference).join(',') }),
    },
  }
}
