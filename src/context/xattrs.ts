/**
 * The extended attributes that belong to a file's content: file capabilities, `user.*`, `trusted.*`.
 *
 * Left out are labels of this machine (`security.*`, as BuildKit does), ACLs (`system.*`) and overlayfs' own marks.
 */
import { getXattr, listXattrs } from '../io/sys.js'

/** True for an attribute that is copied and hashed. */
export function isKeptXattr(name: string): boolean {
  if (name.startsWith('security.')) return name === 'security.capability'
  return !name.startsWith('system.') && !/^(?:trusted|user)\.overlay\./.test(name)
}

/** The kept attributes of a file itself, sorted by name. */
export function readXattrs(hostPath: string): { readonly name: string; readonly value: Buffer }[] {
  const found: { name: string; value: Buffer }[] = []
  for (const name of listXattrs(hostPath)) {
    if (!isKeptXattr(name)) continue
    const value = getXattr(hostPath, name)
    if (value !== undefined) found.push({ name, value })
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The kept attributes as one text, empty when there are none. */
export function xattrText(hostPath: string): string {
  return readXattrs(hostPath)
    .map(({ name, value }) => `${name}=${value.toString('hex')}`)
    .join('\n')
}
