/** What went into a build from outside, by digest: base images, git commits, downloads. Local directories have none. Pure. */
import { isReference, parseReference } from '../core/reference.js'
import type { BuildPlan, ImageOp, Vertex, VertexId } from '../graph/op.js'
import { imagePackageUrl } from './package-url.js'
import { withoutCredentials } from './redact.js'

/** Something that went in; SLSA v1 calls it a resource descriptor. `digest` is hex by algorithm. */
export interface Material {
  readonly uri: string
  readonly digest: Readonly<Record<string, string>>
}

/** What the solver found out of sources: `commit` of a git repository, `content` of a download. */
export type SourceKeys = ReadonlyMap<VertexId, Readonly<Record<string, string>>>

/**
 * The materials of a plan: images, then git, then http, each by URI. An image that is only in the store is named by its
 * image id, all others by their manifest.
 */
export function materialsOf({ vertices }: BuildPlan, keys: SourceKeys): Material[] {
  const images = vertices.flatMap(({ op }) => (op.kind === 'image' ? [imageMaterial(op)] : []))
  const git = vertices.flatMap((vertex) => gitMaterial(vertex, keys))
  const http = vertices.flatMap((vertex) => httpMaterial(vertex, keys))
  return [...inOrder(images), ...inOrder(git), ...inOrder(http)]
}

function inOrder(materials: readonly Material[]): Material[] {
  const distinct = new Map(materials.map((material) => [JSON.stringify(material), material]))
  return [...distinct.values()].sort((a, b) => (a.uri < b.uri ? -1 : a.uri === b.uri ? 0 : 1))
}

function imageMaterial({ reference, manifest, config, platform }: ImageOp): Material {
  const parsed = parseReference(reference)
  const uri = isReference(parsed) ? imagePackageUrl(parsed, platform) : reference
  return { uri, digest: digestSet(manifest ?? config) }
}

function gitMaterial({ id, op }: Vertex, keys: SourceKeys): Material[] {
  const commit = keys.get(id)?.commit
  if (op.kind !== 'git' || commit === undefined) return []
  return [gitCommit(`${op.remote}${op.ref === undefined ? '' : `#${op.ref}`}`, commit)]
}

function httpMaterial({ id, op }: Vertex, keys: SourceKeys): Material[] {
  const content = keys.get(id)?.content
  return op.kind !== 'http' || content === undefined ? [] : [{ uri: withoutCredentials(op.url), digest: digestSet(content) }]
}

/** A commit of a repository; `uri` ends in `#ref` where a ref was asked for. */
export function gitCommit(uri: string, commit: string): Material {
  return { uri: withoutCredentials(uri), digest: { [commit.length === 64 ? 'sha256' : 'sha1']: commit } }
}

/** `sha256:abc` → `{ sha256: 'abc' }`. */
export function digestSet(digest: string): Record<string, string> {
  const [algorithm = '', hex = ''] = digest.split(':')
  return { [algorithm]: hex }
}
