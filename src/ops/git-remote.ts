/** Addresses of git repositories: which may be used, what of them is secret, and how those of submodules are found. */
import { hideCredentials } from '../core/address.js'
import { BuildError } from '../core/errors.js'

/** The address of a repository, checked. */
export interface GitRemote {
  /** Without credentials: for git, for messages, and for the name of the cached repository. */
  readonly url: string
  readonly transport: 'http' | 'ssh' | 'git'
  /** `example.org` or `example.org:8443`. */
  readonly host: string
  /** `user:password` of an http address, percent-decoded. */
  readonly credentials?: string
}

const transports = new Map<string, GitRemote['transport']>([
  ['http', 'http'],
  ['https', 'http'],
  ['ssh', 'ssh'],
  ['git', 'git'],
])

/**
 * Reads an address.
 *
 * @param what how messages name what has this address
 * @throws BuildError ADD_GIT_FAILED for what is none of http, https, ssh, git and `user@host:path`
 */
export function parseGitRemote(text: string, what = 'the git repository'): GitRemote {
  const full = /^github\.com\//.test(text) ? `https://${text}` : text
  const refuse = (why: string): BuildError =>
    new BuildError('ADD_GIT_FAILED', `${what} has the address "${hideCredentials(text)}", ${why}`, {
      hint: 'http://, https://, ssh://, git:// and user@host:path can be used',
    })
  if (/[\u0000-\u0020\u007f]/.test(full)) throw refuse('which has a blank or a control character in it')
  const copied = /^(?:[A-Za-z0-9_.-]+@)?([A-Za-z0-9][A-Za-z0-9.-]*):(?!\/\/|:)\S+$/.exec(full)
  if (copied !== null) return { url: full, transport: 'ssh', host: copied[1] ?? '' }
  const [, scheme = '', userinfo, host = ''] = /^([a-z]+):\/\/(?:([^/@]*)@)?([^/?#@]+)\/./.exec(full) ?? []
  const transport = transports.get(scheme)
  if (transport === undefined) throw refuse('which is of no kind that can be fetched')
  if (host.startsWith('-') || (userinfo?.startsWith('-') ?? false)) throw refuse('which begins like an option')
  if (transport !== 'http' || userinfo === undefined) return { url: full, transport, host }
  const url = `${scheme}://${full.slice(full.indexOf('@') + 1)}`
  return { url, transport, host, credentials: decoded(userinfo) }
}

function decoded(userinfo: string): string {
  const text = /%(?![0-9a-f]{2})/i.test(userinfo) ? userinfo : decodeURIComponent(userinfo)
  return text.includes(':') ? text : `${text}:`
}

/**
 * The address of a submodule: as it is, or relative to that of the repository (gitmodules(5)).
 *
 * @throws BuildError ADD_GIT_FAILED
 */
export function submoduleRemote(parent: GitRemote, name: string, address: string): GitRemote {
  const what = `the submodule "${name}" of ${parent.url}`
  if (!/^\.\.?\//.test(address)) return parseGitRemote(address, what)
  let base = parent.url.replace(/\/+$/, '')
  let separator = '/'
  let rest = address
  for (;;) {
    if (rest.startsWith('./')) rest = rest.slice(2)
    else if (rest.startsWith('../')) {
      rest = rest.slice(3)
      const at = Math.max(base.lastIndexOf('/'), separator === '/' ? base.lastIndexOf(':') : -1)
      if (at < 0 || base.slice(at - 2, at + 1) === '://' || base[at - 1] === '/') {
        throw new BuildError('ADD_GIT_FAILED', `${what} has the address "${address}", which leads out of the server`)
      }
      separator = base[at] ?? '/'
      base = base.slice(0, at)
    } else break
  }
  // The password of the parent is for its server, and so is the submodule.
  const found = parseGitRemote(`${base}${separator}${rest}`.replace(/\/+$/, ''), what)
  return parent.credentials === undefined ? found : { ...found, credentials: parent.credentials }
}
