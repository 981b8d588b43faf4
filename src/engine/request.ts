/** What a build was asked for, as its provenance says it: in the words of BuildKit's front end options. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { digestSet, gitCommit, type Material } from '../attest/materials.js'
import type { BuildRequest } from '../attest/provenance.js'
import { withoutCredentials } from '../attest/redact.js'
import { BuildError, systemCode } from '../core/errors.js'
import type { BuildPlan } from '../graph/op.js'
import type { ContextDirectory, PinnedSource } from '../ops/context.js'
import { parseContextReference } from './context-reference.js'
import type { BuildFiles } from './dockerfile.js'
import type { BuildOptions } from './options.js'

/** The request of a build, with what was fetched for its contexts. Values of secrets are not part of it, nor is anything of the machine. */
export async function requestOf(options: BuildOptions, files: BuildFiles, plan: BuildPlan): Promise<BuildRequest> {
  const contexts = Object.entries(options.buildContexts ?? {})
  const { noCache, network, shmSizeBytes } = options
  const hosts = (options.addHosts ?? []).map(({ name, address }) => `${name}=${address}`)
  const used = plan.vertices.flatMap(({ op }) => (op.kind === 'context' && op.name !== 'context' ? [op.name] : []))
  const named = await directoriesOf(used, files)
  const main = await files.directories.get('context')?.()
  // What comes on stdin has been sent by the user too, and nobody else can look it up.
  const isLocal = ['directory', 'stdin'].includes(parseContextReference(options.context, 'the context').kind)
  const pinned = [main, ...named.values()].flatMap((directory) => directory?.pinned ?? [])
  const locals = [...named].flatMap(([name, directory]) => (directory?.pinned === undefined ? [name] : []))
  return {
    args: {
      ...prefixed('build-arg', options.buildArgs),
      ...prefixed('label', options.labels),
      ...prefixed('context', Object.fromEntries(contexts.map(([name, value]) => [name, shownContext(name, value)]))),
      ...(options.target ? { target: options.target } : {}),
      ...(noCache === true ? { 'no-cache': '' } : {}),
      ...(Array.isArray(noCache) ? { 'no-cache': noCache.join(',') } : {}),
      ...(network === undefined || network === 'default' ? {} : { 'force-network-mode': network }),
      ...(hosts.length === 0 ? {} : { 'add-hosts': hosts.join(',') }),
      ...(shmSizeBytes === undefined ? {} : { 'shm-size': String(shmSizeBytes) }),
    },
    configSource: configSource(options, files, isLocal, main?.pinned),
    locals: [...(isLocal ? ['context', 'dockerfile'] : []), ...locals].sort(),
    materials: pinned.map(materialOf),
    vcs: isLocal ? (options.vcs ?? {}) : {},
  }
}

async function directoriesOf(
  names: readonly string[],
  { directories }: BuildFiles,
): Promise<Map<string, ContextDirectory | undefined>> {
  const distinct = [...new Set(names)]
  return new Map(await Promise.all(distinct.map(async (name) => [name, await directories.get(name)?.()] as const)))
}

function configSource(
  { context, dockerfile }: BuildOptions,
  { source }: BuildFiles,
  isLocal: boolean,
  pinned: PinnedSource | undefined,
): BuildRequest['configSource'] {
  const isInside = !isLocal && dockerfile !== undefined && 'path' in dockerfile
  const path = isInside ? dockerfile.path : basename(source.name)
  if (isLocal) return { path }
  const uri = withoutCredentials(context)
  return pinned === undefined ? { uri, path } : { uri, digest: materialOf(pinned).digest, path }
}

function materialOf({ uri, digest }: PinnedSource): Material {
  return digest.includes(':') ? { uri: withoutCredentials(uri), digest: digestSet(digest) } : gitCommit(uri, digest)
}

/** A directory of this machine is nobody's business. */
function shownContext(name: string, value: string): string {
  return parseContextReference(value, `the build context ${name}`).kind === 'directory' ? `local:${name}` : value
}

function prefixed(prefix: string, values: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}:${name}`, value]))
}

/**
 * What the administrator wants to be said of this machine: the members of all `*.json` objects in a directory, later
 * files before earlier ones.
 *
 * @throws BuildError EXPORT_FAILED for a file that is no JSON object
 */
export function readBuilderEnvironment(directory: string): Record<string, unknown> {
  const names = listOrNothing(directory).filter((name) => name.endsWith('.json'))
  return Object.assign({}, ...names.sort().map((name) => readObject(`${directory}/${name}`)))
}

function listOrNothing(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

function readObject(path: string): object {
  const problem = (cause?: unknown): BuildError =>
    new BuildError('EXPORT_FAILED', `${path} is no JSON object`, { hint: 'provenance takes its members over', cause })
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch (error) {
    if (error instanceof SyntaxError) throw problem(error)
    throw error
  }
  throw problem()
}
