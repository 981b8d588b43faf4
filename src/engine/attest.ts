/** Makes the attestations of a build: provenance and lists of packages. Loaded only where they are asked for. */
import type { AttestationOptions } from '../attest/options.js'
import type { BlobOf, BuildAttestations, PendingAttestation } from '../attest/pending.js'
import { type BuildFacts, provenanceOf, provenancePredicateType } from '../attest/provenance.js'
import type { AssembledImage } from '../exporter/assemble.js'
import type { BuildPlan, Vertex } from '../graph/op.js'
import { orderVertices } from '../graph/walk.js'
import type { SolverPorts } from '../solver/ports.js'
import type { Solution } from '../solver/solution.js'
import type { BuildFiles } from './dockerfile.js'
import type { Engine } from './engine.js'
import { findImage } from './images.js'
import type { EngineLayers } from './layers.js'
import type { BuildOptions } from './options.js'
import { readBuilderEnvironment, requestOf } from './request.js'
import { version } from './version.js'

/** The Dockerfile language that mille speaks, by the number of BuildKit's front end. */
export const dockerfileVersion = '1.20.0'

/** One image with the plan it was made by. */
export interface BuiltPart {
  readonly plan: BuildPlan
  readonly solution: Solution
  readonly image: AssembledImage
}

/** A build that has been solved. */
export interface AttestWork {
  readonly parts: readonly BuiltPart[]
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
  const of = new Map<AssembledImage['id'], readonly PendingAttestation[]>()
  for (const part of work.parts) of.set(part.image.id, await attestImage(part, asked, finishedAt, work))
  return { storage: asked.storage, of }
}

async function attestImage(
  part: BuiltPart,
  { provenance, sbom }: AttestationOptions,
  finishedAt: number,
  work: AttestWork,
): Promise<PendingAttestation[]> {
  const { engine, options, files } = work
  const made: PendingAttestation[] = []
  if (sbom !== undefined) {
    const { makeSboms } = await import('./sbom.js')
    const { sourceDateEpoch: epoch, pull = 'missing' } = options
    const createdAt = epoch === undefined ? work.startedAt : Math.min(work.startedAt, epoch * 1000)
    const find = (name: string) => findImage(name, engine.settings.hostPlatform, pull, engine, engine.ctx)
    const { directories } = files
    made.push(
      ...(await makeSboms(part.plan, sbom, { ...work, directories, tool: `mille-${version()}`, createdAt, findImage: find })),
    )
  }
  if (provenance !== undefined) {
    const facts = factsOf(part, finishedAt, work)
    made.push({
      predicateType: provenancePredicateType(provenance.version),
      predicate: (blobOf) =>
        provenanceOf({ ...facts, blobOf: (diffId) => blobOf(diffId) ?? knownBlob(engine)(diffId) }, provenance),
      ...{ fileName: provenance.fileName, inlineOnly: provenance.inlineOnly },
    })
  }
  return made
}

function factsOf({ plan, solution }: BuiltPart, finishedAt: number, work: AttestWork): Omit<BuildFacts, 'blobOf'> {
  const { engine, options, files, invocationId, startedAt } = work
  const { settings, store } = engine
  const keys = new Map(solution.vertices.map(({ id, key }) => [id, key]))
  const needed = new Set(orderVertices(plan.vertices, plan.image.rootfs === undefined ? [] : [plan.image.rootfs]))
  const layersOf = ({ id, op }: Vertex): BuiltLayers => {
    if (id === plan.image.rootfs) return solution.rootfs.diffIds
    if (op.kind === 'image') return op.diffIds
    const key = keys.get(id)
    return key === undefined ? undefined : store.records.find(key.digest)?.layers
  }
  return {
    plan: { ...plan, vertices: plan.vertices.filter((vertex) => needed.has(vertex)) },
    keys: new Map([...keys].map(([id, { components }]) => [id, components])),
    request: requestOf(options, files),
    ...{ invocationId, startedAt, finishedAt, builderPlatform: settings.hostPlatform, dockerfileVersion },
    environment: readBuilderEnvironment(settings.env.MILLE_PROVENANCE_DIR || '/etc/mille/provenance.d'),
    layersOf,
  }
}

type BuiltLayers = Solution['rootfs']['diffIds'] | undefined

/** A compressed form of a layer that was made or fetched at some time. */
function knownBlob({ store }: Engine): BlobOf {
  return (diffId) => store.layers.find(diffId)?.blobs.at(-1)
}
