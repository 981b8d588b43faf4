/**
 * `build`: a Dockerfile and its context in, an image out. The composition root: the only file that knows all parts.
 *
 * Each arrow of style.md, section 1, is one line here. Whatever is not needed when all is cached is imported where it is
 * first used.
 */
import { availableParallelism } from 'node:os'
import type { BuildAttestations } from './attest/pending.js'
import { type CanonicalValue, canonicalJson } from './core/canonical.js'
import type { Descriptor } from './core/descriptor.js'
import type { Diagnostic } from './core/diagnostic.js'
import { digestOf } from './core/digest.js'
import { DockerfileError, StoreError } from './core/errors.js'
import { formatPlatform, type Platform } from './core/platform.js'
import { familiarReference, formatReference, type Reference } from './core/reference.js'
import type { AttestWork } from './engine/attest.js'
import { lintBuild } from './engine/checks.js'
import { type BuildFiles, readBuildFiles } from './engine/dockerfile.js'
import { type Engine, withEngine } from './engine/engine.js'
import { planOptions } from './engine/frontend-options.js'
import { findImage, requireReference } from './engine/images.js'
import { createLayers, type EngineLayers } from './engine/layers.js'
import type { BuildOptions, BuildResult, PullPolicy } from './engine/options.js'
import { type AssembledImages, exportTo, mainImage } from './engine/outputs.js'
import { parseAnew, parseRemembered } from './engine/parse-memo.js'
import { createPorts } from './engine/runners.js'
import { type AssembledImage, assembleImage } from './exporter/assemble.js'
import { analyze } from './frontend/analyze.js'
import { lower } from './frontend/lower.js'
import { type ImageLookup, imageKey, type ResolvedImage, resolve } from './frontend/resolve.js'
import type { BuildPlan } from './graph/op.js'
import { randomName } from './io/fs.js'
import type { Solution } from './solver/solution.js'
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
    const startedAt = engine.settings.now()
    const names = (options.tags ?? []).map(requireReference)
    const files = readBuildFiles(options)
    const layers = createLayers(engine)
    const { plans, warnings } = await makePlans(files, options, engine, layers)
    for (let tries = 1; ; tries++) {
      const built = await makeImages(plans, files, startedAt, options, engine, layers)
      const manifest = await exportAll(built, names, options, engine, layers)
      // Nothing held these layers while they were only read: a prune may have been faster (design.md, section 4).
      const isThere = ({ config }: AssembledImage): boolean => engine.store.layers.arePresent(config.rootfs.diff_ids)
      if (built.images.every(isThere)) return report(built, manifest, names, warnings, engine)
      if (tries === prunedTries)
        throw new StoreError('STORE_IN_USE', 'layers of this build are removed again and again while it runs')
    }
  })
}

interface Planned {
  /** One for each platform. */
  readonly plans: readonly BuildPlan[]
  readonly warnings: readonly Diagnostic[]
}

/** SourceFile → AST → stages → resolved stages → plan, from the stages on for each platform. */
async function makePlans(files: BuildFiles, options: BuildOptions, engine: Engine, layers: EngineLayers): Promise<Planned> {
  const { settings, ctx } = engine
  const place = `${files.root}\n${files.source.name}`
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
  const plans: BuildPlan[] = []
  for (const platform of distinctPlatforms(options.platforms ?? [settings.hostPlatform])) {
    const analysis = analyze(parsed.ast, planOptions(files, options, settings, platform))
    if (hasErrors(parsed.diagnostics) || hasErrors(analysis.diagnostics)) warn(lintBuild(parsed, analysis))
    throwErrors(parsed.diagnostics)
    const resolved = await resolve(analysis, { lookup, parse: parseAnew }, ctx)
    const checked = lintBuild(parsed, analysis, resolved)
    warn(checked)
    throwErrors(checked)
    const lowered = lower(resolved)
    warn(lowered.diagnostics)
    plans.push(lowered.plan)
  }
  return { plans, warnings: [...warnings.values()] }
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

/** What was built: an image for each platform. */
interface Built {
  readonly images: AssembledImages
  readonly solutions: readonly Solution[]
  /** Names this build: in `buildx.build.ref`, and in its provenance. */
  readonly id: string
  readonly attestations: BuildAttestations | undefined
}

/** Plans → solutions → images. */
async function makeImages(
  plans: readonly BuildPlan[],
  files: BuildFiles,
  startedAt: number,
  options: BuildOptions,
  engine: Engine,
  layers: EngineLayers,
): Promise<Built> {
  const { settings, ctx } = engine
  // Steps wait for disks and networks more than they compute: four at once also on a machine with two cores.
  const jobs = options.jobs ?? Math.max(4, availableParallelism())
  const ports = createPorts(engine, layers, files.directories, options)
  const solutions = await solveAll(plans, { jobs, now: settings.now }, ports, ctx)
  const parts = plans.map((plan, i) => {
    const solution = solutions[i]
    if (solution === undefined) throw new Error('each plan has a solution')
    const times = { madeAt: firstMadeAt(plan, solution, engine), epoch: options.sourceDateEpoch }
    return { plan, solution, image: assembleImage(plan.image, solution.rootfs, times) }
  })
  const [first, ...more] = parts.map(({ image }) => image)
  if (first === undefined) throw new Error('a build has a platform')
  const id = randomName(25)
  const work = { parts, options, files, engine, layers, ports, jobs, invocationId: id, startedAt }
  return { solutions, images: [first, ...more], id, attestations: await attest(work) }
}

/** What is said about the images, where anything was asked for. */
async function attest(work: AttestWork): Promise<BuildAttestations | undefined> {
  const asked = work.options.attestations
  if (asked === undefined) return undefined
  const { makeAttestations } = await import('./engine/attest.js')
  return makeAttestations(asked, work)
}

/**
 * When this image was first made here. Instructions that only change the config have no layer to take a time from; without
 * this a rebuild of the same would have another image id each time.
 */
function firstMadeAt(plan: BuildPlan, { rootfs }: Solution, { store, settings }: Engine): number {
  const identity = { version: 1, by: 'image', layers: rootfs.diffIds, config: plan.image.config, history: plan.image.history }
  const key = digestOf(canonicalJson(identity as unknown as CanonicalValue))
  const known = store.records.find(key)
  if (known !== undefined) return known.createdAt
  const createdAt = settings.now()
  const { diffIds: layers, times: layerTimes } = rootfs
  store.records.save({ key, by: 'definition', layers, layerTimes, createdAt, size: 0, components: {}, name: 'image' })
  return createdAt
}

async function exportAll(
  { images, attestations }: Built,
  names: readonly Reference[],
  options: BuildOptions,
  engine: Engine,
  layers: EngineLayers,
): Promise<Descriptor | undefined> {
  const isIndex = images.length > 1 || /^(1|t|true)$/i.test(options.buildArgs?.BUILDKIT_MULTI_PLATFORM ?? '')
  const work = { engine, layers, images, isIndex, names, epoch: options.sourceDateEpoch, attestations }
  let manifest: Descriptor | undefined
  for (const output of options.outputs ?? [{ type: 'image' as const }]) {
    engine.ctx.signal.throwIfAborted()
    const made = await exportTo(output, options.push ?? false, work)
    manifest = made ?? manifest
  }
  return manifest
}

function report(
  { images, solutions, id: buildId, attestations }: Built,
  manifest: Descriptor | undefined,
  names: readonly Reference[],
  warnings: readonly Diagnostic[],
  { settings }: Engine,
): BuildResult {
  const { id } = mainImage(images, settings.hostPlatform)
  const steps = new Map(solutions.flatMap(({ vertices }) => vertices.map((vertex) => [vertex.id, vertex])))
  return {
    imageId: id,
    images: images.map((image) => ({ imageId: image.id, platform: image.platform })),
    manifest,
    names: names.map(formatReference),
    steps: [...steps.values()].map(({ name, by, key }) => ({ name, cached: by !== 'ran', key: key.digest })),
    warnings,
    metadata: {
      'buildx.build.ref': `mille/mille/${buildId}`,
      // An index has no config.
      ...(images.length > 1 ? {} : { 'containerimage.config.digest': id }),
      'containerimage.digest': manifest?.digest ?? id,
      ...(manifest === undefined ? {} : { 'containerimage.descriptor': manifest }),
      ...(names.length === 0 ? {} : { 'image.name': names.map(familiarReference).join(',') }),
      ...provenanceIn(attestations, images),
    },
  }
}

/** The provenance as buildx puts it into the metadata: of several images each under its platform. */
function provenanceIn(attestations: BuildAttestations | undefined, images: AssembledImages): Record<string, unknown> {
  const entries = images.flatMap(({ id, platform }) => {
    const found = attestations?.of.get(id)?.find(({ predicateType }) => predicateType.startsWith('https://slsa.dev/provenance/'))
    const key = `buildx.build.provenance${images.length > 1 ? `/${formatPlatform(platform)}` : ''}`
    return found === undefined ? [] : [[key, found.predicate(() => undefined)] as const]
  })
  return Object.fromEntries(entries)
}
