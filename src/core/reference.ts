/**
 * Image names: `[registry/]repository[:tag][@digest]`, with Docker's short names filled in.
 *
 * Grammar: distribution/reference. `debian` is `docker.io/library/debian:latest` in full and `debian` when printed.
 */
import { type Digest, isContentDigest } from './digest.js'

/** A parsed image name. `tag` is set unless a digest alone names the image. */
export interface Reference {
  readonly registry: string
  readonly repository: string
  readonly tag?: string
  readonly digest?: Digest
}

const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const registryPattern =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$/
const defaultRegistry = 'docker.io'

/** What is wrong with an image name; `message` is a sentence part like the ones of `BuildError`. */
export interface ReferenceProblem {
  readonly problem: string
}

/** Reads an image name as docker does. A name without tag and digest gets `latest`. */
export function parseReference(text: string): Reference | ReferenceProblem {
  if (text === '') return { problem: 'the image name is empty' }
  const [name = '', digestText, extra] = text.split('@')
  if (extra !== undefined) return { problem: `"${text}" has more than one @` }
  const digest = digestText !== undefined && isContentDigest(digestText) ? digestText : undefined
  if (digestText !== undefined && digest === undefined) {
    return { problem: `"${digestText}" is no digest (sha256: and 64 lower-case hex digits, or sha512: and 128)` }
  }
  const { path, tag } = splitTag(name)
  if (tag !== undefined && !tagPattern.test(tag)) return { problem: `"${tag}" is no valid tag` }
  const { registry, repository } = splitRegistry(path)
  if (!registryPattern.test(registry)) return { problem: `"${registry}" is no valid registry host` }
  if (/[A-Z]/.test(repository)) return { problem: `repository name "${repository}" must be lower case` }
  if (!repository.split('/').every((part) => componentPattern.test(part))) {
    return { problem: `"${repository}" is no valid repository name` }
  }
  if (repository.length > 255) return { problem: 'the repository name is longer than 255 characters' }
  const base = { registry, repository }
  if (digest !== undefined) return tag === undefined ? { ...base, digest } : { ...base, tag, digest }
  return { ...base, tag: tag ?? 'latest' }
}

function splitTag(name: string): { path: string; tag?: string } {
  const colon = name.lastIndexOf(':')
  if (colon < 0 || name.indexOf('/', colon) >= 0) return { path: name }
  return { path: name.slice(0, colon), tag: name.slice(colon + 1) }
}

function splitRegistry(path: string): { registry: string; repository: string } {
  const slash = path.indexOf('/')
  const first = slash < 0 ? '' : path.slice(0, slash)
  const isHost = first.includes('.') || first.includes(':') || first === 'localhost' || /[A-Z]/.test(first)
  if (!isHost) {
    return { registry: defaultRegistry, repository: slash < 0 ? `library/${path}` : path }
  }
  const registry = first === 'index.docker.io' ? defaultRegistry : first
  const rest = path.slice(slash + 1)
  return { registry, repository: registry === defaultRegistry && !rest.includes('/') ? `library/${rest}` : rest }
}

/** True when `parseReference` found a name. */
export function isReference(value: Reference | ReferenceProblem): value is Reference {
  return !('problem' in value)
}

/** The name in full: `docker.io/library/debian:latest`. */
export function formatReference(reference: Reference): string {
  return `${reference.registry}/${reference.repository}${suffixOf(reference)}`
}

/** The name as people write it: `debian:latest` for `docker.io/library/debian:latest`. */
export function familiarReference(reference: Reference): string {
  return `${familiarRepository(reference)}${suffixOf(reference)}`
}

/** The repository as people write it: `debian`, `team/app`, `registry.example/team/app`. */
export function familiarRepository(reference: Reference): string {
  if (reference.registry !== defaultRegistry) return `${reference.registry}/${reference.repository}`
  return reference.repository.startsWith('library/') ? reference.repository.slice('library/'.length) : reference.repository
}

function suffixOf(reference: Reference): string {
  return `${reference.tag === undefined ? '' : `:${reference.tag}`}${reference.digest === undefined ? '' : `@${reference.digest}`}`
}
