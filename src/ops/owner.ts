/** Owners by name: looked up in the `/etc/passwd` and `/etc/group` of a root filesystem, never of this machine. */
import { readFileSync } from 'node:fs'
import { BuildError } from '../core/errors.js'
import { fsPath } from '../core/path-bytes.js'
import { didYouMean } from '../core/suggest.js'
import type { FileView } from '../core/view.js'
import type { OwnerSpec } from '../graph/op.js'
import { resolvePath } from '../layer/stack.js'

/** Numeric owner of files. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

/**
 * The ids that `spec` stands for. A user alone also gives the group: its primary one by name, the same number by id.
 *
 * @throws BuildError COPY_UNKNOWN_USER when a name is not in the rootfs
 */
export function resolveOwner(view: FileView | undefined, spec: OwnerSpec): Owner {
  const { user, group } = spec
  const uid = user === '' ? 0 : numericId(user)
  if (uid !== undefined && group === undefined) return { uid, gid: uid }
  const found = uid === undefined ? findUser(view, user) : { uid, gid: uid }
  return { uid: found.uid, gid: group === undefined || group === '' ? found.gid : groupId(view, group) }
}

function numericId(text: string): number | undefined {
  if (!/^[0-9]+$/.test(text)) return undefined
  const id = Number(text)
  if (id > 0xffff_fffe) throw new BuildError('COPY_UNKNOWN_USER', `id ${text} is larger than any user or group id`)
  return id
}

function findUser(view: FileView | undefined, name: string): Owner {
  const lines = readTable(view, '/etc/passwd')
  const line = lines?.find(([entry]) => entry === name)
  if (line === undefined) throw unknown('user', name, '/etc/passwd', lines)
  return { uid: Number(line[2]), gid: Number(line[3]) }
}

function groupId(view: FileView | undefined, name: string): number {
  const id = numericId(name)
  if (id !== undefined) return id
  const lines = readTable(view, '/etc/group')
  const line = lines?.find(([entry]) => entry === name)
  if (line === undefined) throw unknown('group', name, '/etc/group', lines)
  return Number(line[2])
}

function unknown(what: string, name: string, file: string, lines: readonly (readonly string[])[] | undefined): BuildError {
  const names = lines?.map(([entry = '']) => entry) ?? []
  const where = lines === undefined ? `the image has no ${file}` : `${file} of the image does not list it`
  return new BuildError('COPY_UNKNOWN_USER', `unknown ${what} "${name}": ${where}`, {
    hint: didYouMean(name, names) ?? `give a number, or create the ${what} in an earlier RUN`,
  })
}

/** Lines of a table as fields; undefined when the file is not there. Lines without numeric ids are skipped. */
function readTable(view: FileView | undefined, path: string): readonly (readonly string[])[] | undefined {
  const entry = view === undefined ? undefined : resolvePath(view, path, { followLast: true }).entry
  if (entry?.type !== 'file') return undefined
  return readFileSync(fsPath(entry.hostPath), 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => /^[0-9]+$/.test(fields[2] ?? ''))
}
