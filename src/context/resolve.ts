/** Following symlinks inside a `FileView`: what is absolute or `..` stays inside, as in a chroot. */
import type { FileEntry, FileView } from '../core/view.js'

/** Where a path leads. `entry` is undefined when the last part, or the whole rest after a missing parent, is not there. */
export interface ResolvedPath {
  /** Absolute within the view; no symlink in it as far as it exists. */
  readonly path: string
  readonly entry: FileEntry | undefined
}

/** The kernel gives up after 40; a little more does no harm and this is what Go programs allow. */
const linkLimit = 255

/** Thrown by `resolveInView` for links that lead in a circle. */
export class LinkLoopError extends Error {
  readonly code = 'ELOOP'
}

/** Follows all symlinks of `path`, the last one only when `followLast`. */
export function resolveInView(view: FileView, path: string, followLast: boolean): ResolvedPath {
  const rest = path.split('/').filter(isName).reverse()
  const done: string[] = []
  let entry = view.lstat('/')
  let links = 0
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (name === '..') {
      done.pop()
      entry = view.lstat(join(done))
      continue
    }
    done.push(name)
    entry = entry?.type === 'directory' ? view.lstat(join(done)) : undefined
    if (entry?.type !== 'symlink' || (rest.length === 0 && !followLast)) continue
    if (++links > linkLimit) throw new LinkLoopError(`too many symlinks in "${path}"`)
    const target = view.readlink(join(done))
    done.pop()
    if (target.startsWith('/')) done.length = 0
    rest.push(...target.split('/').filter(isName).reverse())
    entry = view.lstat(join(done))
  }
  return { path: join(done), entry }
}

function isName(part: string): boolean {
  return part !== '' && part !== '.'
}

function join(parts: readonly string[]): string {
  return `/${parts.join('/')}`
}
