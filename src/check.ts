/**
 * The calls that look at a Dockerfile and build nothing: `check`, `lintFile`, `outline`, `targets`, `format`. A composition
 * root like build.ts.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve as resolvePath } from 'node:path'
import type { Parsed } from '../grammar/ast.js'
import type { Diagnostic } from './core/diagnostic.js'
import { BuildError, DockerfileError, systemCode } from './core/errors.js'
import type { Platform } from './core/platform.js'
import { platformOf } from './core/platform.js'
import type { SourceFile } from './core/span.js'
import { configIn } from './engine/checks.js'
import { type BuildFiles, ignorePatterns, readLocalFiles } from './engine/dockerfile.js'
import { type Engine, withEngine } from './engine/engine.js'
import { planOptions } from './engine/frontend-options.js'
import { findImage } from './engine/images.js'
import { type BuildOptions, engineDefaults } from './engine/options.js'
import { analyze } from './frontend/analyze.js'
import { lint } from './frontend/lint.js'
import type { Finding } from './frontend/lint-findings.js'
import { applyFixes, type Fixed } from './frontend/lint-fix.js'
import { lower } from './frontend/lower.js'
import { frontendOptions } from './frontend/options.js'
import { listTargets, type Outline, outlineTarget, type TargetList } from './frontend/outline.js'
import { imageKey, type ResolvedImage, resolve } from './frontend/resolve.js'
import type { Analysis } from './frontend/stages.js'
import { hasIncludes, onlyIfOurs } from './frontend/syntax.js'
import { Scope } from './io/scope.js'

/** Where a file's includes are looked for. */
type IncludePlace = Pick<BuildFiles, 'directories' | 'includesFrom'>

/** What a check found. */
export interface CheckResult {
  readonly source: SourceFile
  readonly findings: readonly Finding[]
  /** Why a build would fail: mistakes in the file, or findings where `error=true` is set. */
  readonly errors: readonly Diagnostic[]
  /** Base images that could not be looked at; which variables they set is not known then. */
  readonly unknownBases: readonly string[]
}

/** How long a check waits for registries: it is no build, and says what it could not look at. */
const lookupLimitMs = 3_000

/**
 * Checks a build without running it. With a target it looks at the stages that it needs, else at all.
 *
 * @throws BuildError when there is no Dockerfile or context; what is wrong in the file is in the result
 */
export function check(options: BuildOptions): Promise<CheckResult> {
  return withEngine(options, async (engine) => {
    const { parsed, analysis } = await understand(options)
    const allStages = options.target === undefined || options.target === ''
    const indexes = allStages ? analysis.stages.map(({ index }) => index) : analysis.reachable
    const { images, unknown } = await lookUpBases(indexes, parsed, analysis, options, engine)
    const report = lint({ parsed, analysis, stages: analysis.stages, allStages, baseConfig: configIn(images) })
    const early = errorsIn([...parsed.diagnostics, ...analysis.diagnostics, ...report.problems])
    const late = early.length > 0 || unknown.length > 0 ? [] : await planErrors(analysis, images, engine)
    const failure = report.failure === undefined ? [] : [report.failure]
    return {
      source: parsed.ast.source,
      findings: report.findings,
      errors: [...early, ...late, ...failure],
      unknownBases: unknown,
    }
  })
}

async function understand(options: BuildOptions): Promise<{ readonly parsed: Parsed; readonly analysis: Analysis }> {
  return (await parseLocally(options)) ?? parseFetched(options)
}

interface Understood {
  readonly parsed: Parsed
  readonly analysis: Analysis
}

async function parseLocally(options: BuildOptions): Promise<Understood | undefined> {
  const files = readLocalFiles(options)
  return files && analyzeFiles(files, options)
}

/** Only the text is needed: what was fetched for it is gone when this returns. */
function parseFetched(options: BuildOptions): Promise<Understood> {
  return withEngine(options, async (engine) => {
    const { fetchBuildFiles } = await import('./engine/fetched-files.js')
    await using scope = new Scope()
    return await analyzeFiles(await fetchBuildFiles(options, engine, scope), options)
  })
}

async function analyzeFiles(files: BuildFiles, options: BuildOptions): Promise<Understood> {
  const parsed = onlyIfOurs(await parseWhole(files.source, files), options.buildArgs ?? {})
  return { parsed, analysis: analyze(parsed.ast, planOptions(files, options, engineDefaults(options))) }
}

/** A file with all that it includes. Without a context nothing can be included. */
async function parseWhole(source: SourceFile, files: IncludePlace | undefined): Promise<Parsed> {
  const { parse } = await import('../grammar/parse.js')
  const parsed = parse(source)
  if (files === undefined || !hasIncludes(parsed)) return parsed
  const { expandIncludes, parseLabs } = await import('./engine/include.js')
  return parse(await expandIncludes(parsed, { ...files, parse: parseLabs }))
}

function errorsIn(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  return diagnostics.filter(({ severity }) => severity === 'error')
}

interface Bases {
  readonly images: ReadonlyMap<string, ResolvedImage>
  readonly unknown: readonly string[]
}

/** The configs of base images, from the store or the registry; one that cannot be had is no error here. */
async function lookUpBases(
  indexes: readonly number[],
  parsed: Parsed,
  analysis: Analysis,
  { pull = 'missing' }: BuildOptions,
  engine: Engine,
): Promise<Bases> {
  const images = new Map<string, ResolvedImage>()
  const unknown = new Set<string>()
  if (errorsIn([...parsed.diagnostics, ...analysis.diagnostics]).length > 0) return { images, unknown: [] }
  const signal = AbortSignal.any([engine.ctx.signal, AbortSignal.timeout(lookupLimitMs)])
  const wanted = new Map<string, { readonly reference: string; readonly platform: Platform }>()
  for (const { base, platform, index } of analysis.stages) {
    if (base.kind !== 'image' || !indexes.includes(index)) continue
    wanted.set(imageKey(base.reference, platform), { reference: base.reference, platform })
  }
  await Promise.all(
    [...wanted].map(async ([key, { reference, platform }]) => {
      try {
        images.set(key, await findImage(reference, platform, pull, engine, { ...engine.ctx, signal }))
      } catch (error) {
        engine.ctx.signal.throwIfAborted()
        if (!(error instanceof BuildError) && !signal.aborted) throw error
        unknown.add(reference)
      }
    }),
  )
  return { images, unknown: [...unknown] }
}

/** The errors that come up when the target is planned: ports, mounts, flags, sources. */
async function planErrors(
  analysis: Analysis,
  images: ReadonlyMap<string, ResolvedImage>,
  { ctx, settings }: Engine,
): Promise<readonly Diagnostic[]> {
  const { parse } = await import('../grammar/parse.js')
  const missing = new Set<string>()
  const lookup = async (reference: string, platform = settings.hostPlatform): Promise<ResolvedImage> => {
    const image = images.get(imageKey(reference, platform))
    if (image !== undefined) return image
    missing.add(reference)
    throw new BuildError('IMAGE_NOT_FOUND', `the image ${reference} was not looked at`)
  }
  try {
    lower(await resolve(analysis, { lookup, parse }, ctx))
    return []
  } catch (error) {
    if (error instanceof DockerfileError) return error.diagnostics
    // Images of COPY --from are not looked at by a check; then planning ends here.
    if (error instanceof BuildError && missing.size > 0) return []
    throw error
  }
}

/**
 * Lints one Dockerfile by itself: no store, no registry, no build arguments. Its directory is taken as the context where an
 * ignore file is in it.
 */
export async function lintFile(path: string): Promise<CheckResult> {
  const context = dirname(resolvePath(path))
  const files = { directories: new Map([['context', () => ({ path: context })]]), includesFrom: '' }
  return lintSource(readSource(path), ignorePatterns(context, resolvePath(path)), files)
}

/** Lints a text; what it includes only where `files` says where to look. */
export async function lintSource(source: SourceFile, ignore: readonly string[] = [], files?: IncludePlace): Promise<CheckResult> {
  const parsed = onlyIfOurs(await parseWhole(source, files), {})
  const host = platformOf(process.platform, process.arch)
  const analysis = analyze(parsed.ast, frontendOptions(host, { ignore }))
  const report = lint({ parsed, analysis, stages: analysis.stages, allStages: true, baseConfig: () => undefined })
  const errors = errorsIn([...parsed.diagnostics, ...analysis.diagnostics, ...report.problems])
  const failure = report.failure === undefined ? [] : [report.failure]
  return { source: parsed.ast.source, findings: report.findings, errors: [...errors, ...failure], unknownBases: [] }
}

/** Mends what rules can mend by themselves, until nothing is left to mend. */
export async function fixSource(source: SourceFile): Promise<Fixed> {
  return applyFixes(source, async (text) => (await lintSource({ ...source, text })).findings)
}

function readSource(path: string): SourceFile {
  try {
    return { name: path, text: readFileSync(resolvePath(path), 'utf8') }
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    throw new BuildError('DOCKERFILE_NOT_FOUND', `the file ${path} cannot be read (${systemCode(error)})`, { cause: error })
  }
}

/** What can be given to a target. @throws DockerfileError when the file is wrong */
export async function outline(options: BuildOptions): Promise<Outline> {
  const { parsed, analysis } = await understand(options)
  throwErrors([...parsed.diagnostics, ...analysis.diagnostics])
  return outlineTarget(parsed.ast, analysis)
}

/** The stages of a Dockerfile. @throws DockerfileError when the file is wrong */
export async function targets(options: BuildOptions): Promise<TargetList> {
  const { parsed, analysis } = await understand(options)
  throwErrors([...parsed.diagnostics, ...analysis.diagnostics])
  return listTargets(parsed.ast, analysis)
}

function throwErrors(diagnostics: readonly Diagnostic[]): void {
  const [first, ...rest] = errorsIn(diagnostics)
  if (first !== undefined) throw new DockerfileError([first, ...rest])
}

/** A Dockerfile in canonical layout, with the same meaning. @throws DockerfileError when it cannot be parsed */
export async function format(source: SourceFile): Promise<string> {
  const [{ parse }, { formatDockerfile }, { meaningOf }] = await Promise.all([
    import('../grammar/parse.js'),
    import('../grammar/format.js'),
    import('../grammar/meaning.js'),
  ])
  const before = parse(source)
  throwErrors(before.diagnostics)
  const text = formatDockerfile(source)
  const after = parse({ ...source, text })
  // Nobody reads a formatter's output word by word, so it is compared here.
  if (meaningOf(after.ast) !== meaningOf(before.ast)) throw new Error(`formatting would change what ${source.name} means`)
  return text
}
