/** Copies a directory of a view to a place on disk, with owners, modes, times and extended attributes. */
import { chmodSync, chownSync, constants, copyFileSync, lchownSync, mkdirSync, symlinkSync } from 'node:fs'
import { fsPath } from '../core/path-bytes.js'
import type { FileEntry, FileView } from '../core/view.js'
import { getXattr, listXattrs, makeNode, setTimes, setXattr } from '../io/sys.js'

/** Copies what is below `path` into the directory `target`, which gets the same owner and mode. Hard links become copies. */
export function copyTree(view: FileView, path: string, target: string): void {
  const entry = view.lstat(path)
  if (entry?.type !== 'directory') return
  for (const name of view.readdir(path)) copyEntry(view, path === '/' ? `/${name}` : `${path}/${name}`, `${target}/${name}`)
  setMetadata(entry, target)
}

function copyEntry(view: FileView, path: string, target: string): void {
  const entry = view.lstat(path)
  if (entry === undefined || entry.type === 'socket') return
  switch (entry.type) {
    case 'directory':
      mkdirSync(fsPath(target), { mode: 0o700 })
      copyTree(view, path, target)
      return
    case 'symlink':
      symlinkSync(fsPath(view.readlink(path)), fsPath(target))
      lchownSync(fsPath(target), entry.uid, entry.gid)
      return
    case 'file':
      copyFileSync(fsPath(entry.hostPath), fsPath(target), constants.COPYFILE_FICLONE)
      break
    default:
      makeNode(target, entry.type, entry.mode, entry.rdev)
  }
  setMetadata(entry, target)
}

function setMetadata(entry: FileEntry, target: string): void {
  chownSync(fsPath(target), entry.uid, entry.gid)
  chmodSync(fsPath(target), entry.mode)
  for (const name of listXattrs(entry.hostPath)) {
    const value = name.startsWith('trusted.overlay.') ? undefined : getXattr(entry.hostPath, name)
    if (value !== undefined) setXattr(target, name, value)
  }
  setTimes(target, entry.mtimeNs, entry.mtimeNs)
}
