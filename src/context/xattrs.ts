/** Extended attributes of files to copy: those that a layer keeps (`isLayerXattr`). */
import { getXattr, listXattrs } from '../io/sys.js'
import { isLayerXattr } from '../layer/whiteout.js'

/** The kept attributes of a file itself, sorted by name. */
export function readXattrs(hostPath: string): { readonly name: string; readonly value: Buffer }[] {
  const found: { name: string; value: Buffer }[] = []
  for (const name of listXattrs(hostPath)) {
    if (!isLayerXattr(name)) continue
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
