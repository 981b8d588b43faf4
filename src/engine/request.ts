/** What a build was asked for, as its provenance says it: in the words of BuildKit's front end options. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import type { BuildRequest } from '../attest/provenance.js'
import { BuildError, systemCode } from '../core/errors.js'
import type { BuildFiles } from './dockerfile.js'
import type { BuildOptions } from './options.js'

/** The request of a build. Values of secrets are not part of it, nor is anything of the machine. */
export function requestOf(options: BuildOptions, files: BuildFiles): BuildRequest {
  const contexts = Object.entries(options.buildContexts ?? {})
  const { noCache, network, shmSizeBytes } = options
  const hosts = (options.addHosts ?? []).map(({ name, address }) => `${name}=${address}`)
  const locals = ['context', 'dockerfile', ...contexts.flatMap(([name]) => (name in files.directories ? [name] : []))]
  return {
    args: {
      ...prefixed('build-arg', options.buildArgs),
      ...prefixed('label', options.labels),
      ...prefixed('context', Object.fromEntries(contexts.map(([name, value]) => [name, shownContext(name, value, files)]))),
      ...(options.target ? { target: options.target } : {}),
      ...(noCache === true ? { 'no-cache': '' } : {}),
      ...(Array.isArray(noCache) ? { 'no-cache': noCache.join(',') } : {}),
      ...(network === undefined || network === 'default' ? {} : { 'force-network-mode': network }),
      ...(hosts.length === 0 ? {} : { 'add-hosts': hosts.join(',') }),
      ...(shmSizeBytes === undefined ? {} : { 'shm-size': String(shmSizeBytes) }),
    },
    configSource: { path: basename(files.source.name) },
    locals: [...new Set(locals)].sort(),
    materials: [],
    vcs: options.vcs ?? {},
  }
}

/** A directory of this machine is nobody's business. */
function shownContext(name: string, value: string, { directories }: BuildFiles): string {
  return name in directories ? `local:${name}` : value
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
