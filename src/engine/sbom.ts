/**
 * Makes lists of packages: with mille's own scanner, or with a generator image that follows BuildKit's scanner protocol
 * (its sbom-protocol.md). The generator runs as a step like RUN, so its result is in the cache.
 */

import type { SbomOptions } from '../attest/options.js'
import type { PendingAttestation } from '../attest/pending.js'
import { scanPackages } from '../attest/scan.js'
import { spdxDocument } from '../attest/spdx.js'
import { spdxPredicateType } from '../attest/statement.js'
import { ContextTree } from '../context/tree.js'
import type { Context } from '../core/context.js'
import { BuildError } from '../core/errors.js'
import type { FileView } from '../core/view.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { ResolvedImage } from '../frontend/resolve.js'
import type { BuildPlan, ExecMount, PlannedScan, Vertex, VertexId } from '../graph/op.js'
import { makeVertex } from '../graph/vertex.js'
import { layerStack } from '../layer/stack.js'
import type { ContextDirectories } from '../ops/context.js'
import { readTextInView } from '../ops/read-text.js'
import { layerDirectories } from '../ops/stack.js'
import type { SolverPorts } from '../solver/ports.js'
import { solve } from '../solver/solve.js'
import type { Engine } from './engine.js'
import type { EngineLayers } from './layers.js'

/** What a scan needs of the build. */
export interface SbomWork {
  readonly engine: Engine
  readonly layers: EngineLayers
  readonly ports: SolverPorts
  /** The directories of contexts by name. */
  readonly directories: ContextDirectories
  readonly jobs: number
  /** `mille-0.1.0`. */
  readonly tool: string
  /** ms since 1970; what documents say of when they were made. */
  readonly createdAt: number
  readonly findImage: (name: string) => Promise<ResolvedImage>
}

/** The lists for the image of a plan, and for what else its Dockerfile asks to be scanned. */
export function makeSboms(plan: BuildPlan, options: SbomOptions, work: SbomWork): Promise<PendingAttestation[]> {
  const scans: PlannedScan[] = [{ name: '', vertex: plan.image.rootfs }, ...(plan.scans ?? [])]
  return options.generator === undefined
    ? scanHere(plan, scans, options, work)
    : generate(plan, scans, options, options.generator, work)
}

/** `sbom` for the image, `sbom-NAME` for the others. */
function scanName({ name }: PlannedScan): string {
  return name === '' ? 'sbom' : `sbom-${name}`
}

async function scanHere(
  plan: BuildPlan,
  scans: readonly PlannedScan[],
  options: SbomOptions,
  work: SbomWork,
): Promise<PendingAttestation[]> {
  const made: PendingAttestation[] = []
  for (const scan of scans) {
    const name = scanName(scan)
    const { packages, unread } = await step(
      `scanning ${name === 'sbom' ? 'the image' : scan.name} for packages`,
      work,
      async () => scanPackages(await viewOf(plan, scan, work)),
    )
    for (const path of unread) warnUnread(path, work)
    const document = spdxDocument(packages, { name, tool: work.tool, createdAt: work.createdAt })
    made.push({
      ...{ predicateType: spdxPredicateType, predicate: () => document },
      ...{ fileName: `${name}.spdx.json`, inlineOnly: options.inlineOnly },
    })
  }
  return made
}

/** Shows work as a step. */
async function step<T>(name: string, { engine: { ctx, settings } }: SbomWork, work: () => Promise<T>): Promise<T> {
  const event = { id: `sbom:${name}`, name: `[sbom] ${name}` }
  ctx.emit({ type: 'vertex-started', ...event, atMs: settings.now() })
  try {
    const result = await work()
    ctx.emit({ type: 'vertex-done', ...event, atMs: settings.now(), cached: false })
    return result
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    ctx.emit({ type: 'vertex-done', ...event, atMs: settings.now(), cached: false, error: text })
    throw error
  }
}

function warnUnread(path: string, { engine }: SbomWork): void {
  const message = `the packages of ${path} are not in the SBOM: rpm's database can only be read by a generator image`
  const hint = 'name one with --sbom generator=IMAGE'
  engine.ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: 'SbomIncomplete', message, hint } })
}

/** The files of a scan. A stage was solved with the build: asking for it again only finds its layers. */
async function viewOf(plan: BuildPlan, { vertex: id }: PlannedScan, work: SbomWork): Promise<FileView> {
  const { engine, layers, directories } = work
  if (id === undefined) return layerStack([])
  const op = plan.vertices.find((vertex) => vertex.id === id)?.op
  if (op?.kind === 'context') {
    const directory = await directories.get(op.name)?.()
    return directory === undefined ? layerStack([]) : new ContextTree(directory.path, compileIgnore(op.ignore))
  }
  const { rootfs } = await solvePart(plan, id, work, { ...engine.ctx, emit: () => undefined })
  await layers.unpack(rootfs.diffIds, 'sbom', engine.ctx)
  return layerStack(layerDirectories(engine.store, rootfs.diffIds))
}

function solvePart(plan: BuildPlan, rootfs: VertexId, { engine, ports, jobs }: SbomWork, ctx: Context): ReturnType<typeof solve> {
  // Only steps of the Dockerfile are explained.
  const { explainer: _, ...unexplained } = ports
  // What was asked to run again has run by now.
  const vertices = plan.vertices.map((vertex) => ({ ...vertex, ignoreCache: false }))
  return solve({ ...plan, vertices, image: { ...plan.image, rootfs } }, { jobs, now: engine.settings.now }, unexplained, ctx)
}

const sourceDirectory = '/run/src'
const outputDirectory = '/run/out'

async function generate(
  plan: BuildPlan,
  scans: readonly PlannedScan[],
  options: SbomOptions,
  generator: string,
  work: SbomWork,
): Promise<PendingAttestation[]> {
  const { engine, layers } = work
  const more = scannerVertices(await work.findImage(generator), scans, options, generator)
  const own = new Set<string>(more.map(({ id }) => id))
  const ctx: Context = { ...engine.ctx, emit: (event) => (isForeign(event, own) ? undefined : engine.ctx.emit(event)) }
  const scanner = more.at(-1)
  if (scanner === undefined) throw new Error('a scan has a step')
  const { rootfs } = await solvePart({ ...plan, vertices: [...plan.vertices, ...more] }, scanner.id, work, ctx)
  await layers.unpack(rootfs.diffIds, 'sbom', engine.ctx)
  const view = layerStack(layerDirectories(engine.store, rootfs.diffIds))
  const names = view.readdir(outputDirectory).filter((name) => name.endsWith('.json'))
  if (names.length === 0) throw generatorError(generator, `wrote nothing to ${outputDirectory}`)
  return names.map((name) => readBundle(view, name, generator, options))
}

/** The steps of the build itself have been shown already. */
function isForeign(event: Parameters<Context['emit']>[0], own: ReadonlySet<string>): boolean {
  if (event.type === 'plan') return true
  return 'id' in event && typeof event.id === 'string' && event.id.startsWith('sha256:') && !own.has(event.id)
}

/** The generator's image, the directory for its results, its run. */
function scannerVertices(
  image: ResolvedImage,
  scans: readonly PlannedScan[],
  { parameters }: SbomOptions,
  generator: string,
): Vertex[] {
  const { reference, manifest, configDigest, diffIds, platform } = image
  const own = image.config.config ?? {}
  const argv = [...(own.Entrypoint ?? []), ...(own.Cmd ?? [])]
  if (argv.length === 0) throw generatorError(generator, 'has neither ENTRYPOINT nor CMD')
  const details = { ignoreCache: false }
  const imageOp = { kind: 'image', reference, platform, config: configDigest, diffIds } as const
  const base = makeVertex(manifest === undefined ? imageOp : { ...imageOp, manifest }, [], {
    ...details,
    name: `[sbom] FROM ${generator}`,
  })
  const output = makeVertex({ kind: 'mkdir', base: 0, path: outputDirectory, mode: 0o777 }, [base.id], {
    ...details,
    name: `[sbom] making ${outputDirectory}`,
  })
  const empty = makeVertex({ kind: 'inline', files: [] }, [], { ...details, name: '[internal] empty tree' })
  const inputs: VertexId[] = [output.id]
  const mounts = scans.map((scan): ExecMount => {
    const id = scan.vertex ?? empty.id
    const input = inputs.includes(id) ? inputs.indexOf(id) : inputs.push(id) - 1
    const target = `${sourceDirectory}/${scan.name === '' ? 'core' : 'extras'}/${scanName(scan)}`
    return { kind: 'bind', input, source: '/', target, readonly: true }
  })
  const run = makeVertex(
    {
      ...{ kind: 'exec', base: 0, argv, cwd: own.WorkingDir || '/', user: '', hostname: 'buildkitsandbox' },
      env: [...(own.Env ?? []), ...scanVariables(scans.length > 1, parameters)],
      ...{ network: 'default', security: 'sandbox', hostNames: [] },
      mounts: [...mounts, { kind: 'tmpfs', target: '/tmp' }],
    },
    inputs,
    { ...details, name: `[sbom] scanning with ${generator}` },
  )
  return [base, output, ...(inputs.includes(empty.id) ? [empty] : []), run]
}

function scanVariables(hasExtras: boolean, parameters: Readonly<Record<string, string>>): string[] {
  return [
    `BUILDKIT_SCAN_DESTINATION=${outputDirectory}/`,
    `BUILDKIT_SCAN_SOURCE=${sourceDirectory}/core/sbom`,
    ...(hasExtras ? [`BUILDKIT_SCAN_SOURCE_EXTRAS=${sourceDirectory}/extras/`] : []),
    ...Object.entries(parameters).map(([name, value]) => `BUILDKIT_SCAN_${name}=${value}`),
  ]
}

/** One of the generator's statements: its predicate counts, the subjects are the image's. */
function readBundle(view: FileView, name: string, generator: string, options: SbomOptions): PendingAttestation {
  const text = readTextInView(view, `${outputDirectory}/${name}`) ?? ''
  const { predicateType, predicate } = readStatement(text, name, generator)
  return { predicateType, predicate: () => predicate, fileName: name, inlineOnly: options.inlineOnly }
}

function readStatement(
  text: string,
  name: string,
  generator: string,
): { readonly predicateType: string; readonly predicate: unknown } {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && 'predicateType' in value && 'predicate' in value) {
      const { predicateType, predicate } = value
      if (typeof predicateType === 'string') return { predicateType, predicate }
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw generatorError(generator, `wrote ${name}, which is not JSON`, error)
  }
  throw generatorError(generator, `wrote ${name}, which is no in-toto statement`)
}

function generatorError(generator: string, problem: string, cause?: unknown): BuildError {
  return new BuildError('EXPORT_FAILED', `the SBOM generator ${generator} ${problem}`, {
    hint: 'see the scanner protocol in docs/attestations.md',
    cause,
  })
}
