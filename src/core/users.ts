/**
 * USER and `--user`: names and numbers against the text of /etc/passwd and /etc/group. Pure.
 *
 * Rules are docker's (semantics.md 56): a number needs no entry; `user:group` takes the group as said and drops all
 * others; without a group the entry's own group and those that list the user are taken.
 */

/** Numeric ids of a process. */
export interface ResolvedUser {
  readonly uid: number
  readonly gid: number
  readonly additionalGids: readonly number[]
}

/** One line of /etc/passwd, as far as it matters here. */
export interface PasswdEntry {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}

/** One line of /etc/group. */
export interface GroupEntry {
  readonly name: string
  readonly gid: number
  readonly members: readonly string[]
}

/** What is wrong with a user; a sentence part like those of `BuildError`. */
export interface UserProblem {
  readonly problem: string
}

/** Reads /etc/passwd; lines that are none are skipped, as libc does. */
export function parsePasswd(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name, , uid, gid, , home = '/'] = line.split(':')
    if (!name || !isId(uid) || !isId(gid)) return []
    return [{ name, uid: Number(uid), gid: Number(gid), home }]
  })
}

/** Reads /etc/group. */
export function parseGroup(text: string): GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name, , gid, members = ''] = line.split(':')
    if (!name || !isId(gid)) return []
    return [{ name, gid: Number(gid), members: members.split(',').filter((member) => member !== '') }]
  })
}

/** The ids that `spec` (`user`, `uid`, `user:group`, empty for root) means with these files. */
export function resolveUser(
  spec: string,
  passwd: readonly PasswdEntry[],
  groups: readonly GroupEntry[],
): ResolvedUser | UserProblem {
  const [userText = '', groupText] = spec.split(':', 2)
  const user = userText === '' ? '0' : userText
  const entry = passwd.find(({ name }) => name === user) ?? passwd.find(({ uid }) => isId(user) && uid === Number(user))
  if (entry === undefined && !isId(user))
    return { problem: isNumber(user) ? outOfRange('user', user) : `user "${user}" is not in /etc/passwd` }
  const uid = entry?.uid ?? Number(user)
  if (groupText === undefined || groupText === '') {
    const additionalGids = groups
      .filter(({ members }) => entry !== undefined && members.includes(entry.name))
      .map(({ gid }) => gid)
    return { uid, gid: entry?.gid ?? 0, additionalGids: [...new Set(additionalGids)].sort((a, b) => a - b) }
  }
  const group = groups.find(({ name }) => name === groupText)
  if (group === undefined && !isId(groupText)) {
    return { problem: isNumber(groupText) ? outOfRange('group', groupText) : `group "${groupText}" is not in /etc/group` }
  }
  return { uid, gid: group?.gid ?? Number(groupText), additionalGids: [] }
}

/** The home directory of `uid`; `/` for one that is not listed, as docker has it. */
export function homeOf(uid: number, passwd: readonly PasswdEntry[]): string {
  return passwd.find((entry) => entry.uid === uid)?.home ?? '/'
}

/** The environment with HOME in it. Given here, for some runtimes leave it out for a user who is not listed. */
export function withHome(env: readonly string[], home: string): readonly string[] {
  return env.some((word) => word.startsWith('HOME=')) ? env : [...env, `HOME=${home}`]
}

/** True when `resolveUser` found ids. */
export function isResolvedUser(value: ResolvedUser | UserProblem): value is ResolvedUser {
  return 'uid' in value
}

const greatestId = 0xffff_fffe

function isId(text: string | undefined): text is string {
  return text !== undefined && /^[0-9]{1,10}$/.test(text) && Number(text) <= greatestId
}

function isNumber(text: string): boolean {
  return /^-?[0-9]+$/.test(text)
}

function outOfRange(what: string, id: string): string {
  return `the ${what} id ${id} is out of range, expected 0 to ${greatestId}`
}
