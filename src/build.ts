/**
 * `build`: a Dockerfile and its context in, an image out. The composition root: the only file that knows all parts.
 *
 * Each arrow of style.md, section 1, is one line here. Whatever is not needed when all is cached is imported where it is
 * first used.
 */
import { availableParallelism } from 'node:os'
import type { Parsed } from '../grammar/ast.js'
import { type CanonicalValue, canonicalJson } from './core/canonical.js'
import type { Context } from './core/context.js'
import type { Descriptor } from './core/descriptor.js'
import type { Diagnostic } from './core/diagnostic.js'
import { digestOf } from './core/digest.js'
import { DockerfileError, StoreError } from './core/errors.js'
import { familiarReference, formatReference, type Reference } from './core/reference.js'
import { lintBuild } from './engine/checks.js'
import { type BuildFiles, readBuildFiles } from './engine/dockerfile.js'
import { type Engine, withEngine } from './engine/engine.js'
import { planOptions } from './engine/frontend-options.js'
import { findImage, requireReference } from './engine/images.js'
import { createLayers, type EngineLayers } from './engine/layers.js'
import type { BuildOptions, BuildResult } from './engine/options.js'
import { exportTo } from './engine/outputs.js'
import { parseAnew, parseRemembered } from './engine/parse-memo.js'
import { createPorts } from './engine/runners.js'
import { type AssembledImage, assembleImage } from './exporter/assemble.js'
import { analyze } from './frontend/analyze.js'
import { lower } from './frontend/lower.js'
import { resolve } from './frontend/resolve.js'
import { hasIncludes, onlyIfOurs } from './frontend/syntax.js'
import type { BuildPlan, PlannedImage } from './graph/op.js'
import { randomName } from './io/fs.js'
import type { Solution, SolvedLayers } from './solver/solution.js'
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
    for (let tries = 1; ; tries++) {
      const { solution, image } = await makeImage(plan, files, options, engine, layers)
      const manifest = await exportAll(image, names, options, engine, layers)
      // Nothing held these layers while they were only read: a prune may have been faster (design.md, section 4).
      if (engine.store.layers.arePresent(image.config.rootfs.diff_ids)) return report(image, manifest, names, solution, warnings)
      if (tries === prunedTries)
        throw new StoreError('STORE_IN_USE', 'layers of this build are removed again and again while it runs')
    }
  })
}

interface Planned {
  readonly plan: BuildPlan
  readonly warnings: readonly Diagnostic[]
}

/** SourceFile → AST → stages → resolved stages → plan. */
async function makePlan(files: BuildFiles, options: BuildOptions, engine: Engine, layers: EngineLayers): Promise<Planned> {
  const { settings, ctx } = engine
  const place = `${files.root}\n${files.source.name}`
  const memo = (): string => engine.store.directory('memo')
  const read = await parseRemembered(files.source, place, memo)
  const whole = hasIncludes(read) ? await parseWhole(read, files, place, memo) : read
  const parsed = onlyIfOurs(whole, options.buildArgs ?? {})
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

/** The tree of a file and of all that it includes. */
async function parseWhole(parsed: Parsed, files: BuildFiles, place: string, memo: () => string): Promise<Parsed> {
  const { expandIncludes, parseLabs } = await import('./engine/include.js')
  return parseRemembered(await expandIncludes(parsed, { ...files, parse: parseLabs }), `${place}\nwhole`, memo)
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

/** Plan → solution → image. */
async function makeImage(
  plan: BuildPlan,
  files: BuildFiles,
  options: BuildOptions,
  engine: Engine,
  layers: EngineLayers,
): Promise<{ readonly solution: Solution; readonly image: AssembledImage }> {
  const { settings, ctx } = engine
  // Steps wait for disks and networks more than they compute: four at once also on a machine with two cores.
  const jobs = options.jobs ?? Math.max(4, availableParallelism())
  const solution = await solve(plan, { jobs, now: settings.now }, createPorts(engine, layers, files.directories, options), ctx)
  const { planned, rootfs } = await squashed(plan.image, solution.rootfs, options.squash, engine, layers)
  const times = { madeAt: firstMadeAt(planned, rootfs, engine), epoch: options.sourceDateEpoch }
  return { solution, image: assembleImage(planned, rootfs, times) }
}

/** The image as `--squash` wants it. */
async function squashed(
  planned: PlannedImage,
  rootfs: SolvedLayers,
  squash: BuildOptions['squash'],
  engine: Engine,
  layers: EngineLayers,
): Promise<{ readonly planned: PlannedImage; readonly rootfs: SolvedLayers }> {
  if (squash === undefined) return { planned, rootfs }
  const { squashImage } = await import('./engine/squash.js')
  return squashImage(planned, rootfs, squash, engine, layers)
}

/**
 * When this image was first made here. Instructions that only change the config have no layer to take a time from; without
 * this a rebuild of the same would have another image id each time.
 */
function firstMadeAt(image: PlannedImage, rootfs: SolvedLayers, { store, settings }: Engine): number {
  const identity = { version: 1, by: 'image', layers: rootfs.diffIds, config: image.config, history: image.history }
  const key = digestOf(canonicalJson(identity as unknown as CanonicalValue))
  const known = store.records.find(key)
  if (known !== undefined) return known.createdAt
  const createdAt = settings.now()
  const { diffIds: layers, times: layerTimes } = rootfs
  store.records.save({ key, by: 'definition', layers, layerTimes, createdAt, size: 0, components: {}, name: 'image' })
  return createdAt
}

async function exportAll(
  image: AssembledImage,
  names: readonly Reference[],
  options: BuildOptions,
  engine: Engine,
  layers: EngineLayers,
): Promise<Descriptor | undefined> {
  let manifest: Descriptor | undefined
  for (const output of options.outputs ?? [{ type: 'image' as const }]) {
    engine.ctx.signal.throwIfAborted()
    const made = await exportTo(output, options.push ?? false, { engine, layers, image, names, epoch: options.sourceDateEpoch })
    manifest = made ?? manifest
  }
  return manifest
}

function report(
  image: AssembledImage,
  manifest: Descriptor | undefined,
  names: readonly Reference[],
  solution: Solution,
  warnings: readonly Diagnostic[],
): BuildResult {
  return {
    imageId: image.id,
    manifest,
    names: names.map(formatReference),
    steps: solution.vertices.map(({ name, by, key }) => ({ name, cached: by !== 'ran', key: key.digest })),
    warnings,
    metadata: {
      'buildx.build.ref': `mille/mille/${randomName(25)}`,
      'containerimage.config.digest': image.id,
      'containerimage.digest': manifest?.digest ?? image.id,
      ...(manifest === undefined ? {} : { 'containerimage.descriptor': manifest }),
      ...(names.length === 0 ? {} : { 'image.name': names.map(familiarReference).join(',') }),
    },
  }
}
