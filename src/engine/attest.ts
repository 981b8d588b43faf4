/** Makes the attestations of a build: provenance and lists of packages. Loaded only where they are asked for. */
import type { AttestationOptions } from '../attest/options.js'
import type { BuildAttestations, PendingAttestation } from '../attest/pending.js'
import { type BuildFacts, provenanceOf, provenancePredicateType } from '../attest/provenance.js'
import type { Descriptor } from '../core/descriptor.js'
import { formatPlatform } from '../core/platform.js'
import type { Vertex } from '../graph/op.js'
import { orderVertices } from '../graph/walk.js'
import type { SolverPorts } from '../solver/ports.js'
import type { Solution } from '../solver/solution.js'
import type { SolvedPlan } from './assembled.js'
import type { BuildFiles } from './dockerfile.js'
import type { Engine } from './engine.js'
import { findImage } from './images.js'
import type { EngineLayers } from './layers.js'
import type { BuildOptions } from './options.js'
import { readBuilderEnvironment, requestOf } from './request.js'
import { version } from './version.js'

/** The Dockerfile language that mille speaks, by the number of BuildKit's front end. */
export const dockerfileVersion = '1.20.0'

/** A build that has been solved. */
export interface AttestWork {
  /** One plan for each platform. */
  readonly solved: readonly SolvedPlan[]
  /** SOURCE_DATE_EPOCH in seconds. */
  readonly epoch: number | undefined
  readonly options: BuildOptions
  readonly files: BuildFiles
  readonly engine: Engine
  readonly layers: EngineLayers
  readonly ports: SolverPorts
  readonly jobs: number
  /** The last part of `buildx.build.ref`. */
  readonly invocationId: string
  /** ms since 1970. */
  readonly startedAt: number
}

/** What is said about each image. */
export async function makeAttestations(asked: AttestationOptions, work: AttestWork): Promise<BuildAttestations> {
  const finishedAt = work.engine.settings.now()
  const of = new Map<string, readonly PendingAttestation[]>()
  for (const each of work.solved) {
    of.set(formatPlatform(each.plan.image.platform), await attestImage(each, asked, finishedAt, work))
  }
  return { storage: asked.storage, of }
}

async function attestImage(
  solved: SolvedPlan,
  { provenance, sbom }: AttestationOptions,
  finishedAt: number,
  work: AttestWork,
): Promise<PendingAttestation[]> {
  const { engine, epoch, startedAt } = work
  const made: PendingAttestation[] = []
  if (sbom !== undefined) {
    const { makeSboms } = await import('./sbom.js')
    const createdAt = epoch === undefined ? startedAt : Math.min(startedAt, epoch * 1000)
    const { directories } = work.files
    const pull = work.options.pull ?? 'missing'
    const sbomWork = {
      ...{ ...work, directories, createdAt, tool: `mille-${version()}` },
      findImage: (name: string) => findImage(name, engine.settings.hostPlatform, pull, engine, engine.ctx),
    }
    made.push(...(await makeSboms(solved.plan, sbom, sbomWork)))
  }
  if (provenance !== undefined) {
    const facts = await factsOf(solved, finishedAt, work)
    made.push({
      predicateType: provenancePredicateType(provenance.version),
      predicate: (layers) => provenanceOf({ ...facts, blobOf: blobsOf(solved, layers, engine) }, provenance),
      ...{ fileName: provenance.fileName, inlineOnly: provenance.inlineOnly },
    })
  }
  return made
}

async function factsOf(
  { plan: whole, solution }: SolvedPlan,
  finishedAt: number,
  work: AttestWork,
): Promise<Omit<BuildFacts, 'blobOf'>> {
  const { engine, options, files, invocationId, startedAt } = work
  const { settings, store } = engine
  const keys = new Map(solution.vertices.map(({ id, key }) => [id, key]))
  const needed = new Set(orderVertices(whole.vertices, whole.image.rootfs === undefined ? [] : [whole.image.rootfs]))
  const plan = { ...whole, vertices: whole.vertices.filter((vertex) => needed.has(vertex)) }
  const layersOf = ({ id, op }: Vertex): BuiltLayers => {
    if (id === plan.image.rootfs) return solution.rootfs.diffIds
    if (op.kind === 'image') return op.diffIds
    const key = keys.get(id)
    return key === undefined ? undefined : store.records.find(key.digest)?.layers
  }
  return {
    plan,
    keys: new Map([...keys].map(([id, { components }]) => [id, components])),
    request: await requestOf(options, files, plan),
    ...{ invocationId, startedAt, finishedAt, builderPlatform: settings.hostPlatform, dockerfileVersion },
    environment: readBuilderEnvironment(settings.env.MILLE_PROVENANCE_DIR || '/etc/mille/provenance.d'),
    layersOf,
  }
}

type BuiltLayers = Solution['rootfs']['diffIds'] | undefined

/** The blobs of this very manifest; for layers of other steps one that was made or fetched at some time. */
function blobsOf({ solution }: SolvedPlan, layers: readonly Descriptor[], { store }: Engine): BuildFacts['blobOf'] {
  const own = new Map(solution.rootfs.diffIds.map((diffId, i) => [diffId, layers[i]]))
  return (diffId) => own.get(diffId) ?? store.layers.find(diffId)?.blobs.at(-1)
}
