/**
 * Git repositories by URL, as ADD and build contexts name them (semantics.md 82): `…#ref:subdir`, or the query form
 * `…?ref=&subdir=&checksum=…`.
 */
import type { GitOp } from '../graph/op.js'

/** A parsed git URL. */
export interface GitRef {
  readonly remote: string
  readonly shortName: string
  readonly ref?: string
  readonly subDir?: string
  readonly checksum?: string
  readonly keepGitDir?: boolean
  readonly submodules?: boolean
  readonly fetchByCommit?: boolean
  readonly mTime?: 'checkout' | 'commit'
  /** `github.com/…` without a scheme: could as well be a local path. */
  readonly indistinguishableFromLocal?: boolean
  /** `git://` and `http://`: neither secret nor tamper-proof. */
  readonly unencryptedTCP?: boolean
}

/** It is a git URL, and this is wrong with it. */
export interface GitRefProblem {
  readonly problem: string
}

/** Reads a git URL; undefined when the text is none. */
export function parseGitRef(text: string): GitRef | GitRefProblem | undefined {
  const hash = text.indexOf('#')
  const fragment = hash < 0 ? '' : text.slice(hash + 1)
  const beforeHash = hash < 0 ? text : text.slice(0, hash)
  const question = beforeHash.indexOf('?')
  const remote = question < 0 ? beforeHash : beforeHash.slice(0, question)
  const marks = classify(remote)
  if (marks === undefined) return undefined
  const fields = readFragment(fragment)
  const wrong = question < 0 ? undefined : readQuery(beforeHash.slice(question + 1), fields)
  if (wrong !== undefined) return { problem: wrong }
  return { remote, shortName: shortName(remote), ...marks, ...fields }
}

/** True for what a checksum may be: the beginning of a commit's id, or all of it. */
export function isCommitPrefix(text: string): boolean {
  return /^[0-9a-f]{7,64}$/i.test(text)
}

/** The op of a git URL; `keepGitDir` counts where the URL does not say. */
export function gitOp(git: GitRef, keepGitDir: boolean): GitOp {
  const { remote, ref, subDir, checksum } = git
  // The beginning of an id is nothing to ask a server for: it is what the default branch is compared with.
  const named = ref !== undefined && ref === checksum && !/^(?:.{40}|.{64})$/.test(ref) ? undefined : ref
  return {
    ...{ kind: 'git', remote, keepGitDir: git.keepGitDir ?? keepGitDir, submodules: git.submodules ?? true },
    ...{ fetchByCommit: git.fetchByCommit ?? false, mtime: git.mTime ?? 'checkout' },
    ...(named === undefined ? {} : { ref: named }),
    ...(subDir === undefined ? {} : { subdir: subDir }),
    ...(checksum === undefined ? {} : { checksum }),
  }
}

type Fields = { -readonly [K in keyof GitRef]?: GitRef[K] }

/** What the address says: undefined when it is no git address. */
function classify(remote: string): Fields | undefined {
  if (/^[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:(?!\/\/)\S+$/.test(remote)) return {}
  const scheme = /^([a-z][a-z0-9+.-]*):\/\/([^/]+)(\/.*)?$/i.exec(remote)
  if (scheme === null) return /^github\.com\/.+$/.test(remote) ? { indistinguishableFromLocal: true } : undefined
  const [, name = '', , path = ''] = scheme
  switch (name.toLowerCase()) {
    case 'ssh':
      return {}
    case 'git':
      return { unencryptedTCP: true }
    case 'https':
      return path.endsWith('.git') ? {} : undefined
    case 'http':
      return path.endsWith('.git') ? { unencryptedTCP: true } : undefined
    default:
      return undefined
  }
}

function shortName(remote: string): string {
  const path = remote.replace(/\/+$/, '')
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf(':')) + 1).replace(/\.git$/, '')
}

/** `ref:subdir`, both optional. */
function readFragment(fragment: string): Fields {
  const colon = fragment.indexOf(':')
  const ref = colon < 0 ? fragment : fragment.slice(0, colon)
  const subDir = colon < 0 ? '' : fragment.slice(colon + 1)
  return { ...(ref === '' ? {} : { ref }), ...(subDir === '' ? {} : { subDir }) }
}

const booleans = new Set(['keep-git-dir', 'submodules', 'fetch-by-commit'])
const known = new Set(['ref', 'tag', 'branch', 'subdir', 'checksum', 'commit', 'mtime', ...booleans])

/** Adds the query's values to `fields`; answers what is wrong. */
function readQuery(query: string, fields: Fields): string | undefined {
  const params = new URLSearchParams(query)
  for (const [name, value] of params) {
    if (params.getAll(name).length > 1) return `query "${name}" has multiple values`
    if (value === '' && !booleans.has(name) && known.has(name)) return `query "${name}" has no value`
    const wrong = readQueryValue(name, value, fields)
    if (wrong !== undefined) return wrong
  }
  if (params.has('tag') && params.has('branch')) return 'branch conflicts with tag'
  if (fields.ref === undefined && fields.checksum !== undefined && fields.fetchByCommit !== true) fields.ref = fields.checksum
  return undefined
}

function readQueryValue(name: string, value: string, fields: Fields): string | undefined {
  switch (name) {
    case 'ref':
    case 'tag':
    case 'branch': {
      const prefix = { ref: '', tag: 'refs/tags/', branch: 'refs/heads/' }[name]
      return setOnce(fields, 'ref', value.startsWith(prefix) ? value : `${prefix}${value}`)
    }
    case 'subdir':
      return setOnce(fields, 'subDir', value)
    case 'checksum':
    case 'commit':
      return setOnce(fields, 'checksum', value)
    case 'keep-git-dir':
      return setBool(fields, 'keepGitDir', name, value)
    case 'submodules':
      return setBool(fields, 'submodules', name, value)
    case 'fetch-by-commit':
      return setBool(fields, 'fetchByCommit', name, value)
    case 'mtime':
      if (value !== 'checkout' && value !== 'commit') return `invalid mtime value "${value}": expected checkout or commit`
      fields.mTime = value
      return undefined
    default:
      return `unexpected query "${name}" in a git URL`
  }
}

function setOnce(fields: Fields, field: 'ref' | 'subDir' | 'checksum', value: string): string | undefined {
  const before = fields[field]
  if (before !== undefined && before !== value) return `${field.toLowerCase()} conflicts: "${before}" and "${value}"`
  fields[field] = value
  return undefined
}

function setBool(
  fields: Fields,
  field: 'keepGitDir' | 'submodules' | 'fetchByCommit',
  name: string,
  value: string,
): string | undefined {
  if (!/^(1|t|true|0|f|false)?$/i.test(value)) return `invalid ${name} value "${value}": expected true or false`
  const isTrue = !/^(0|f|false)$/i.test(value)
  // Not fetching by commit is what happens anyway; the other two override what flags and defaults say.
  if (isTrue || field !== 'fetchByCommit') fields[field] = isTrue
  return undefined
}
