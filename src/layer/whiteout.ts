/**
 * How a deletion is written: in a layer tar, and in a snapshot directory.
 *
 * Tar (OCI image-spec, layer.md): an empty file `.wh.<name>` hides `<name>` of the layers below, `.wh..wh..opq` all names
 * of its directory. Directory (overlayfs): a 0:0 character device, and the xattr `overlay.opaque` = `y`.
 */
import type { Stats } from 'node:fs'
import { getXattr, setXattr } from '../io/sys.js'

/** What the name of a deletion starts with in a tar. */
export const whiteoutPrefix = '.wh.'

/** The name in a tar that makes its directory opaque. */
export const opaqueName = '.wh..wh..opq'

/** Names that start so are notes of aufs to itself: never files, never deletions. */
export const whiteoutMetaPrefix = '.wh..wh.'

/** True for the 0:0 device that stands for a deletion in a snapshot directory. */
export function isWhiteout(stats: Stats): boolean {
  return stats.rdev === 0 && stats.isCharacterDevice()
}

/** True when the snapshot directory hides what the layers below have under its name. */
export function isOpaque(hostPath: string): boolean {
  return isYes(getXattr(hostPath, 'trusted.overlay.opaque')) || isYes(getXattr(hostPath, 'user.overlay.opaque'))
}

/** True when a value of `overlay.opaque` means yes. */
export function isYes(value: Uint8Array | undefined): boolean {
  return value !== undefined && value.length === 1 && value[0] === 0x79
}

/** Makes a snapshot directory opaque. `namespace` is what the overlay will be mounted with (`user`: userxattr). */
export function setOpaque(hostPath: string, namespace: 'trusted' | 'user'): void {
  setXattr(hostPath, `${namespace}.overlay.opaque`, Buffer.from('y'))
}

/** True for the xattrs in which overlayfs keeps its own state. They never enter or leave a layer. */
export function isOverlayXattr(name: string): boolean {
  return name.startsWith('trusted.overlay.') || name.startsWith('user.overlay.')
}

/**
 * True for the xattrs that belong to a file's content: `user.*`, `trusted.*`, file capabilities and ACLs. Labels of this
 * machine (`security.selinux` and its like) do not.
 */
export function isLayerXattr(name: string): boolean {
  if (isOverlayXattr(name)) return false
  if (name.startsWith('security.')) return name === 'security.capability'
  if (name.startsWith('system.')) return name.startsWith('system.posix_acl_')
  return true
}
