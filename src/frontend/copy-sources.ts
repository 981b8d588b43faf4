/** Where the sources of COPY and ADD come from: files of a tree, a download, a git repository. */
import { posix } from 'node:path'
import { hideCredentials } from '../core/address.js'
import { isDigest } from '../core/digest.js'
import type { CopySource, HttpOp, VertexId } from '../graph/op.js'
import type { VertexDetails } from '../graph/vertex.js'
import { type GitRef, gitOp, isCommitPrefix, parseGitRef } from './git-ref.js'
import { hasWildcard, sourcePath } from './paths.js'
import type { PlanBuilder } from './plan-builder.js'
import { type Place, problem } from './problem.js'
import type { InputFiles, StageLowering } from './stage-lowering.js'

/** Flags that only ADD has; undefined: not given. */
export interface AddFlags {
  readonly unpack: boolean | undefined
  readonly keepGitDir: boolean | undefined
  readonly checksum: string | undefined
}

/** One source, its input still a vertex. */
export interface PlannedSource {
  readonly vertex: VertexId
  readonly source: Omit<CopySource, 'input'>
  /** The source in the history. */
  readonly shown: string
}

/** Files of a context, stage or image. */
export function localSource(
  text: string,
  { plan }: StageLowering,
  { vertex, isRootfs }: InputFiles,
  { parents, unpack }: { readonly parents: boolean; readonly unpack: boolean },
): PlannedSource {
  const path = parents ? pivotPath(text) : sourcePath(text)
  return {
    vertex: vertex ?? plan.add({ kind: 'inline', files: [] }, [], { name: '[internal] empty tree', ignoreCache: false }),
    source: { path, wildcard: hasWildcard(path), unpack: unpack ? 'auto' : 'never', keepOwner: isRootfs },
    shown: text,
  }
}

/** A path of `--parents`: clean on both sides of its first `/./`, which stays; at the root it says nothing. */
function pivotPath(text: string): string {
  const at = text.indexOf('/./')
  const before = at < 0 ? '.' : sourcePath(text.slice(0, at))
  const below = at < 0 ? sourcePath(text) : sourcePath(text.slice(at + 3))
  return before === '.' ? below : `${before}/./${below}`
}

interface RemoteScope {
  /** Undefined for COPY, which takes no URLs. */
  readonly add: AddFlags | undefined
  readonly place: Place
  readonly plan: PlanBuilder
  readonly details: VertexDetails
}

/** A source that is a URL; undefined for a path. Throws DockerfileError. */
export function remoteSource(text: string, scope: RemoteScope): PlannedSource | undefined {
  const { add, place } = scope
  const git = parseGitRef(text)
  if (git !== undefined && 'problem' in git) throw problem(place, 'DOCKERFILE_BAD_ARGUMENT', git.problem)
  const isGit = git !== undefined && git.indistinguishableFromLocal !== true
  const isHttp = !isGit && /^https?:\/\//.test(text)
  if (!isGit && !isHttp) {
    if (add?.checksum === undefined) return undefined
    throw problem(place, 'DOCKERFILE_BAD_FLAG', '--checksum requires an HTTP(S) or git source', 'remove --checksum')
  }
  if (add === undefined) {
    const message = isGit ? "source can't be a git ref for COPY" : "source can't be a URL for COPY"
    throw problem(place, 'DOCKERFILE_BAD_ARGUMENT', message, 'use ADD')
  }
  return isGit ? gitSource(text, git, add, scope) : httpSource(text, add, scope)
}

function httpSource(url: string, add: AddFlags, { place, plan, details }: RemoteScope): PlannedSource {
  const { checksum } = add
  if (checksum !== undefined && !isDigest(checksum)) {
    throw problem(place, 'DOCKERFILE_BAD_FLAG', `the checksum "${checksum}" is not sha256: and 64 lower-case hex digits`)
  }
  if (!URL.canParse(url)) throw problem(place, 'DOCKERFILE_BAD_ARGUMENT', `"${url}" is no valid URL`)
  const name = posix.basename(decodeSafely(new URL(url).pathname))
  const filename = name === '' || name === '.' || name === '..' ? '__unnamed__' : name
  const op: HttpOp = { kind: 'http', url, filename, ...(checksum === undefined ? {} : { checksum }) }
  const vertex = plan.add(op, [], { ...details, name: hideCredentials(url) })
  const unpack = add.unpack === true ? ('auto' as const) : ('never' as const)
  return { vertex, source: { path: filename, wildcard: false, unpack, keepOwner: false }, shown: hideCredentials(url) }
}

/** A path that is no valid percent-encoding is taken as it is. */
function decodeSafely(path: string): string {
  return /%(?![0-9a-f]{2})/i.test(path) || !isUtf8Encoding(path) ? path : decodeURIComponent(path)
}

function isUtf8Encoding(path: string): boolean {
  const bytes = Buffer.from(
    path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  )
  return !bytes.toString('utf8').includes('\ufffd')
}

function gitSource(text: string, git: GitRef, add: AddFlags, { place, plan, details }: RemoteScope): PlannedSource {
  if (add.keepGitDir !== undefined && git.keepGitDir !== undefined && add.keepGitDir !== git.keepGitDir) {
    throw problem(place, 'DOCKERFILE_BAD_FLAG', '--keep-git-dir and keep-git-dir of the URL say different things')
  }
  if (add.checksum !== undefined && git.checksum !== undefined && add.checksum !== git.checksum) {
    throw problem(place, 'DOCKERFILE_BAD_FLAG', `checksum mismatch: "${add.checksum}" and "${git.checksum}" of the URL`)
  }
  const checksum = add.checksum ?? git.checksum
  if (checksum !== undefined && !isCommitPrefix(checksum)) {
    throw problem(place, 'DOCKERFILE_BAD_FLAG', `invalid checksum "${checksum}", expected hex commit hash of 7 to 64 digits`)
  }
  const op = gitOp({ ...git, ...(checksum === undefined ? {} : { checksum }) }, add.keepGitDir ?? false)
  const shown = hideCredentials(text)
  const vertex = plan.add(op, [], { ...details, name: shown })
  return { vertex, source: { path: '.', wildcard: false, unpack: 'never', keepOwner: false }, shown }
}
