/** Paths of a Dockerfile: always `/`-separated, clamped to their root, cleaned lexically. */
import { posix } from 'node:path'

/** `path` from `cwd`, absolute and clean; a `/` at its end stays, and `.` or nothing is `cwd/`. */
export function absolutePath(cwd: string, path: string): string {
  const asDirectory = path === '' || path === '.' || path === '..' || /\/\.{0,2}$/.test(path)
  const full = posix.resolve('/', cwd, path)
  return asDirectory && full !== '/' ? `${full}/` : full
}

/** WORKDIR's way: absolute and clean, without a `/` at the end. */
export function workingDirectory(cwd: string, path: string): string {
  return posix.resolve('/', cwd, path)
}

/** A path below a source's root: no leading `/`, `..` clamped to the root, `.` for all of it. */
export function sourcePath(path: string): string {
  const clean = posix.normalize(`/${path}`).replace(/^\/+|\/+$/g, '')
  return clean === '' ? '.' : clean
}

/** True when a path has an unescaped `*`, `?` or `[`. */
export function hasWildcard(path: string): boolean {
  return /(?:^|[^\\])(?:\\\\)*[*?[]/.test(path)
}
