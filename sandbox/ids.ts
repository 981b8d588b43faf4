/**
 * Who a command runs as: the text of USER looked up in the container's own /etc/passwd and /etc/group.
 *
 * The files are read through a `FileView`, links followed inside the view only: an image decides what its files are, never
 * what is read of this machine.
 */
import { readFileSync } from 'node:fs'
import { SandboxError } from '../src/core/errors.js'
import { fsPath } from '../src/core/path-bytes.js'
import { didYouMean } from '../src/core/suggest.js'
import type { FileView } from '../src/core/view.js'
import type { SandboxUser } from './plan.js'

/** A line of /etc/passwd. */
interface PasswdEntry {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/** A line of /etc/group. */
interface GroupEntry {
  readonly name: string
  readonly gid: number
  readonly members: readonly string[]
}

/**
 * Resolves `name`, `uid`, `name:group`, `uid:gid`; an empty text is root.
 *
 * A user without a group gets the one of passwd, and is in every group that lists the name; a number that passwd does not know
 * gets group 0. With a group given, there are no further groups. A name that is all digits is looked up as a name first,
 * as docker does.
 *
 * @throws SandboxError SANDBOX_UNKNOWN_USER
 */
export function resolveUser(spec: string, view: FileView): SandboxUser {
  if (spec === '') return { uid: 0, gid: 0, additionalGids: groupsOf('root', 0, groupEntries(view)) }
  const colon = spec.indexOf(':')
  const userText = colon < 0 ? spec : spec.slice(0, colon)
  const groupText = colon < 0 ? '' : spec.slice(colon + 1)
  const users = passwdEntries(view)
  const number = parseId(userText)
  const user = users.find(({ name }) => name === userText) ?? users.find(({ uid }) => uid === number)
  const uid = user?.uid ?? number ?? (userText === '' ? 0 : undefined)
  if (uid === undefined) throw unknown('user', userText, '/etc/passwd', users)
  const groups = groupEntries(view)
  if (groupText !== '') return { uid, gid: groupId(groupText, groups), additionalGids: [] }
  const gid = user?.gid ?? 0
  return { uid, gid, additionalGids: user === undefined ? [] : groupsOf(user.name, gid, groups) }
}

function groupId(text: string, groups: readonly GroupEntry[]): number {
  const gid = groups.find(({ name }) => name === text)?.gid ?? parseId(text)
  if (gid === undefined) throw unknown('group', text, '/etc/group', groups)
  return gid
}

function groupsOf(user: string, gid: number, groups: readonly GroupEntry[]): number[] {
  const gids = groups.filter(({ members }) => members.includes(user)).map((group) => group.gid)
  return [...new Set(gids)].filter((other) => other !== gid)
}

function unknown(kind: 'user' | 'group', name: string, file: string, known: readonly { readonly name: string }[]): SandboxError {
  const names = known.map((entry) => entry.name)
  const create =
    kind === 'user'
      ? 'create it in an earlier RUN (useradd), or use a number'
      : 'create it in an earlier RUN (groupadd), or use a number'
  return new SandboxError('SANDBOX_UNKNOWN_USER', `there is no ${kind} "${name}" in ${file} of the image`, {
    hint: didYouMean(name, names) ?? create,
  })
}

const maxId = 2 ** 32 - 2

/** A decimal uid or gid, or undefined for any other text. */
function parseId(text: string): number | undefined {
  if (!/^[0-9]+$/.test(text)) return undefined
  const id = Number(text)
  return id <= maxId ? id : undefined
}

function passwdEntries(view: FileView): PasswdEntry[] {
  return linesOf(view, '/etc/passwd').flatMap((fields) => {
    const [name = '', , uidText = '', gidText = ''] = fields
    const [uid, gid] = [parseId(uidText), parseId(gidText)]
    return name === '' || uid === undefined || gid === undefined ? [] : { name, uid, gid }
  })
}

function groupEntries(view: FileView): GroupEntry[] {
  return linesOf(view, '/etc/group').flatMap((fields) => {
    const [name = '', , gidText = '', members = ''] = fields
    const gid = parseId(gidText)
    return name === '' || gid === undefined ? [] : { name, gid, members: members.split(',').map((member) => member.trim()) }
  })
}

function linesOf(view: FileView, path: string): string[][] {
  const hostPath = regularFile(view, path)
  if (hostPath === undefined) return []
  const text = readFileSync(fsPath(hostPath), 'utf8')
  return text.split('\n').flatMap((line) => (line === '' || line.startsWith('#') ? [] : [line.trim().split(':')]))
}

/** As many links as the kernel follows in one look-up. */
const maxLinks = 40

/** Where the regular file at `path` is on this machine, links followed inside the view; undefined when there is none. */
function regularFile(view: FileView, path: string): string | undefined {
  let pending = partsOf(path).reverse()
  let done: string[] = []
  for (let links = 0; ; ) {
    const part = pending.pop()
    if (part === undefined) return undefined
    if (part === '..') {
      done.pop()
      continue
    }
    const at = `/${[...done, part].join('/')}`
    const entry = view.lstat(at)
    if (entry?.type === 'symlink') {
      if (++links > maxLinks) return undefined
      const text = view.readlink(at)
      if (text.startsWith('/')) done = []
      pending = [...pending, ...partsOf(text).reverse()]
    } else if (entry?.type === 'directory') done.push(part)
    else return entry?.type === 'file' && pending.length === 0 ? entry.hostPath : undefined
  }
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.')
}
