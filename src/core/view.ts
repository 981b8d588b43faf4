/**
 * `FileView`: one way to look at files, wherever they are.
 *
 * A stack of layer snapshots, a build context filtered by its ignore file and a plain directory all look the same to
 * what copies, resolves users or exports. Paths are absolute within the view (`/`, `/etc/passwd`), decoded as in
 * `path-bytes.ts`. A view never follows a link out of its root: `lstat` follows nothing at all.
 */

/** What a directory entry is. */
export type FileType = 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo' | 'socket'

/** One entry of a view. Sizes are bytes, times nanoseconds since 1970. */
export interface FileEntry {
  readonly type: FileType
  /** Permission bits with setuid, setgid, sticky: 0–07777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly dev: number
  readonly ino: number
  readonly nlink: number
  /** Device number of a `character` or `block` entry. */
  readonly rdev: number
  /** Where the entry is on this machine. For a directory of a stack: the topmost one. */
  readonly hostPath: string
}

/** A read-only tree of files. All calls are synchronous: they are used in workers and on short paths. */
export interface FileView {
  /** The entry at `path`, nothing followed, or undefined. The parents of `path` must be real directories. */
  lstat(path: string): FileEntry | undefined
  /** Names in the directory, ordered by their bytes. */
  readdir(path: string): readonly string[]
  /** The text of a symlink. */
  readlink(path: string): string
}
