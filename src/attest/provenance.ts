/**
 * Provenance: the SLSA predicate of a build (slsa.dev/provenance v1 and v0.2), with the fields that BuildKit adds, under
 * BuildKit's build type. Pure: times, ids and what the solver found come in as arguments.
 */
import type { Descriptor } from '../core/descriptor.js'
import type { DiffID } from '../core/digest.js'
import { formatPlatform, type Platform } from '../core/platform.js'
import type { BuildPlan, ExecMount } from '../graph/op.js'
import { buildConfigOf, type LayersOf, layersOf, sourceOf } from './build-config.js'
import { type Material, materialsOf, type SourceKeys } from './materials.js'
import type { ProvenanceOptions } from './options.js'
import { withoutCredentials } from './redact.js'

/** What was asked for, in BuildKit's words: `build-arg:NAME`, `label:NAME`, `context:NAME`, `target`, `no-cache`, … */
export interface BuildRequest {
  readonly args: Readonly<Record<string, string>>
  /** Where the Dockerfile comes from; `uri` for a context from the network. */
  readonly configSource: {
    readonly uri?: string
    readonly digest?: Readonly<Record<string, string>>
    readonly path: string
  }
  /** Names of local directories that were read: `context`, `dockerfile`, those of `--build-context`. */
  readonly locals: readonly string[]
  /** What was fetched before the graph: a context from the network. */
  readonly materials: readonly Material[]
  /** `source`, `revision` of the checkout that the context is; hints, not checked. */
  readonly vcs: Readonly<Record<string, string>>
}

/** What is known of a build that has ended. */
export interface BuildFacts {
  readonly plan: BuildPlan
  readonly keys: SourceKeys
  readonly request: BuildRequest
  readonly invocationId: string
  /** ms since 1970. */
  readonly startedAt: number
  readonly finishedAt: number
  readonly builderPlatform: Platform
  /** The version of the Dockerfile language. */
  readonly dockerfileVersion: string
  /** What the administrator of the machine wants to be said of it. */
  readonly environment: Readonly<Record<string, unknown>>
  readonly layersOf: LayersOf
  readonly blobOf: (diffId: DiffID) => Descriptor | undefined
}

const buildType1 = 'https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md'
const buildType02 = 'https://mobyproject.org/buildkit@v1'

/** The predicate type of a version. */
export function provenancePredicateType(version: ProvenanceOptions['version']): string {
  return `https://slsa.dev/provenance/${version}`
}

/** The predicate. */
export function provenanceOf(facts: BuildFacts, options: ProvenanceOptions): unknown {
  const parts = partsOf(facts, options)
  return options.version === 'v1' ? slsa1(parts) : slsa02(parts)
}

/** What both versions say. */
interface Parts {
  readonly builderId: string
  readonly configSource: BuildRequest['configSource']
  readonly request: object
  readonly environment: { readonly platform: string; readonly more: Readonly<Record<string, unknown>> }
  readonly buildConfig: object | undefined
  readonly materials: readonly Material[]
  readonly invocationId: string
  readonly startedOn: string
  readonly finishedOn: string
  readonly metadata: object
  readonly hermetic: boolean
  readonly complete: { readonly request: boolean; readonly materials: boolean }
  readonly reproducible: boolean
}

function partsOf(facts: BuildFacts, options: ProvenanceOptions): Parts {
  const { plan, request } = facts
  const isMax = options.mode === 'max'
  const complete = {
    request: isMax || !Object.keys(request.args).some(isValue),
    materials: request.locals.length === 0 && !usesVolumes(plan),
  }
  return {
    builderId: options.builderId,
    configSource: request.configSource,
    request: requestOf(facts, isMax),
    environment: {
      platform: formatPlatform(facts.builderPlatform),
      more: { dockerfileVersion: facts.dockerfileVersion, ...facts.environment },
    },
    buildConfig: isMax ? buildConfigOf(plan) : undefined,
    materials: [...materialsOf(plan, facts.keys), ...request.materials],
    invocationId: facts.invocationId,
    startedOn: new Date(facts.startedAt).toISOString(),
    // A build that is all cached can end in the millisecond in which it began.
    finishedOn: new Date(Math.max(facts.finishedAt, facts.startedAt + 1)).toISOString(),
    metadata: metadataOf(facts, isMax),
    hermetic: complete.materials && !usesNetwork(plan),
    complete,
    reproducible: options.reproducible,
  }
}

/** Arguments whose values `mode=min` does not tell. */
function isValue(name: string): boolean {
  return name.startsWith('build-arg:') || name.startsWith('label:')
}

function requestOf({ plan, request }: BuildFacts, isMax: boolean): object {
  const args = Object.entries(request.args)
    .filter(([name]) => isMax || !isValue(name))
    .map(([name, value]) => [name, withoutCredentials(value)])
    .sort(([a = ''], [b = '']) => (a < b ? -1 : 1))
  const mounts = plan.vertices.flatMap(({ op }) => (op.kind === 'exec' ? op.mounts : []))
  const secrets = isMax ? idsOf(mounts, 'secret') : []
  const ssh = isMax ? idsOf(mounts, 'ssh') : []
  return {
    frontend: 'dockerfile.v0',
    args: Object.fromEntries(args),
    ...(secrets.length === 0 ? {} : { secrets }),
    ...(ssh.length === 0 ? {} : { ssh }),
    ...(request.locals.length === 0 ? {} : { locals: request.locals.map((name) => ({ name })) }),
  }
}

/** By id; optional when no step insists on it. */
function idsOf(mounts: readonly ExecMount[], kind: 'secret' | 'ssh'): object[] {
  const required = new Map<string, boolean>()
  for (const mount of mounts) {
    if (mount.kind === kind) required.set(mount.id, mount.required || required.get(mount.id) === true)
  }
  return [...required].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, must]) => (must ? { id } : { id, optional: true }))
}

function metadataOf({ plan, request, layersOf: of, blobOf }: BuildFacts, isMax: boolean): object {
  const vcs = Object.entries(request.vcs).map(([name, value]) => [name, withoutCredentials(value)])
  const layers = isMax ? layersOf(plan, of, blobOf) : {}
  return {
    ...(vcs.length === 0 ? {} : { vcs: Object.fromEntries(vcs) }),
    ...(isMax ? { source: sourceOf(plan, request.configSource.path) } : {}),
    ...(Object.keys(layers).length === 0 ? {} : { layers }),
  }
}

/** Files of this machine that no digest tells of. */
function usesVolumes(plan: BuildPlan): boolean {
  return plan.vertices.some(({ op }) => op.kind === 'exec' && op.mounts.some(({ kind }) => kind === 'volume'))
}

/** A RUN without `--network=none` may have fetched anything. */
function usesNetwork(plan: BuildPlan): boolean {
  return plan.vertices.some(({ op }) => op.kind === 'exec' && op.network !== 'none')
}

function slsa1(parts: Parts): object {
  const { configSource, complete, environment } = parts
  return {
    buildDefinition: {
      buildType: buildType1,
      externalParameters: { configSource, request: parts.request },
      internalParameters: {
        ...(parts.buildConfig === undefined ? {} : { buildConfig: parts.buildConfig }),
        builderPlatform: environment.platform,
        ...environment.more,
      },
      resolvedDependencies: parts.materials,
    },
    runDetails: {
      builder: { id: parts.builderId },
      metadata: {
        invocationId: parts.invocationId,
        startedOn: parts.startedOn,
        finishedOn: parts.finishedOn,
        buildkit_metadata: parts.metadata,
        buildkit_hermetic: parts.hermetic,
        buildkit_completeness: { request: complete.request, resolvedDependencies: complete.materials },
        buildkit_reproducible: parts.reproducible,
      },
    },
  }
}

function slsa02(parts: Parts): object {
  const { path, ...configSource } = parts.configSource
  const { complete, environment } = parts
  return {
    builder: { id: parts.builderId },
    buildType: buildType02,
    materials: parts.materials,
    invocation: {
      configSource: { ...configSource, entryPoint: path },
      parameters: parts.request,
      environment: { platform: environment.platform, ...environment.more },
    },
    ...(parts.buildConfig === undefined ? {} : { buildConfig: parts.buildConfig }),
    metadata: {
      buildInvocationID: parts.invocationId,
      buildStartedOn: parts.startedOn,
      buildFinishedOn: parts.finishedOn,
      completeness: { parameters: complete.request, environment: true, materials: complete.materials },
      reproducible: parts.reproducible,
      'https://mobyproject.org/buildkit@v1#metadata': parts.metadata,
      'https://mobyproject.org/buildkit@v1#hermetic': parts.hermetic,
    },
  }
}
