/** SourceFile → AST → stages → resolved stages → plan, for each platform that is asked for. */
import type { Parsed } from '../../grammar/ast.js'
import type { Diagnostic } from '../core/diagnostic.js'
import { DockerfileError } from '../core/errors.js'
import { formatPlatform, type Platform } from '../core/platform.js'
import { analyze } from '../frontend/analyze.js'
import { lower } from '../frontend/lower.js'
import { type ImageLookup, imageKey, type ResolvedImage, resolve } from '../frontend/resolve.js'
import { hasIncludes, onlyIfOurs } from '../frontend/syntax.js'
import type { BuildPlan } from '../graph/op.js'
import type { BuildWork } from './build-work.js'
import { lintBuild } from './checks.js'
import type { BuildFiles } from './dockerfile.js'
import type { Engine } from './engine.js'
import { planOptions } from './frontend-options.js'
import { findImage } from './images.js'
import type { EngineLayers } from './layers.js'
import type { BuildOptions } from './options.js'
import { parseAnew, parseRemembered } from './parse-memo.js'
import { createPorts } from './runners.js'

/** What is to be built. */
export interface Planned {
  /** One for each platform. */
  readonly plans: readonly BuildPlan[]
  /** SOURCE_DATE_EPOCH in seconds. */
  readonly epoch: number | undefined
  readonly warnings: readonly Diagnostic[]
}

type BasePolicy = Parameters<typeof findImage>[2]

/** SourceFile → AST → stages → resolved stages → plan, from the stages on for each platform. */
export async function makePlans(work: BuildWork, pull: BasePolicy = work.options.pull ?? 'missing'): Promise<Planned> {
  const { files, options, engine, layers } = work
  const { settings, ctx } = engine
  const place = `${files.place}\n${files.source.name}`
  const memo = (): string => engine.store.directory('memo')
  const read = await parseRemembered(files.source, place, memo)
  const whole = hasIncludes(read) ? await parseWhole(read, files, place, memo) : read
  const parsed = onlyIfOurs(whole, options.buildArgs ?? {})
  const lookup = lookUpOnce(pull, engine, layers)
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
  const epoch = await findEpoch(parsed, work, plan, warn)
  const plans: BuildPlan[] = []
  for (const platform of distinctPlatforms(options.platforms ?? [settings.hostPlatform])) {
    plans.push(await plan(epoch.options, platform))
  }
  return { plans, epoch: epoch.seconds, warnings: [...warnings.values()] }
}

/** The tree of a file and of all that it includes. */
async function parseWhole(parsed: Parsed, files: BuildFiles, place: string, memo: () => string): Promise<Parsed> {
  const { expandIncludes, parseLabs } = await import('./include.js')
  return parseRemembered(await expandIncludes(parsed, { ...files, parse: parseLabs }), `${place}\nwhole`, memo)
}

/** SOURCE_DATE_EPOCH in seconds, and the options in which that is what it says. */
async function findEpoch(
  parsed: Parsed,
  { files, options, engine, layers }: BuildWork,
  plan: (options: BuildOptions, platform: Platform) => Promise<BuildPlan>,
  warn: (diagnostics: readonly Diagnostic[]) => void,
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
  const { noEpoch, resolveEpoch } = await import('./epoch.js')
  const sources = {
    contextTime: async (name: string) => (await files.directories.get(name)?.())?.timeSeconds,
    planOf: (stage: number) =>
      plan({ ...withValue(''), target: stages[stage]?.name ?? String(stage), platforms: undefined }, settings.hostPlatform),
    runners: () =>
      createPorts({ ...engine, settings: { ...settings, now: () => 0 } }, layers, files.directories, options).runners,
  }
  const seconds = await resolveEpoch(epoch, sources, engine)
  if (seconds === undefined) warn([noEpoch()])
  return { seconds, options: withValue(seconds === undefined ? '' : String(seconds)) }
}

/** Images by name and platform, each looked up once for all plans. */
function lookUpOnce(pull: BasePolicy, engine: Engine, layers: EngineLayers): ImageLookup {
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
