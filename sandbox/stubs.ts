/**
 * Mount points: made where the root filesystem lacks them, taken away after, so that no layer has them.
 *
 * Made through the mounted overlay before the container starts, removed straight from the upper directory when it has
 * ended (removing them through the overlay would leave whiteouts). Nothing else runs at either moment, so plain lstat walks
 * are safe; links are followed as the container would follow them, never out of the root.
 */
import { lstatSync, mkdirSync, readdirSync, readlinkSync, rmdirSync, type Stats, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SandboxError, systemCode } from '../src/core/errors.js'
import { fsPath } from '../src/core/path-bytes.js'
import { setTimes } from '../src/io/sys.js'

/** Remembers what was made below one root, and undoes it. */
export class MountPoints {
  readonly #root: string
  readonly #upper: string
  readonly #made: string[] = []
  /** Directories that existed and got a child: their times, and their state right after. */
  readonly #touched = new Map<string, Touched>()

  /** `root` is where the overlay is mounted, `upper` its upper directory. */
  constructor(root: string, upper: string) {
    this.#root = root
    this.#upper = upper
  }

  /**
   * Finds or makes the mount point `target`.
   *
   * @returns the path inside the container with every link resolved: where the runtime shall mount
   * @throws SandboxError SANDBOX_MOUNT_FAILED when something else is there
   */
  ensure(target: string, type: 'file' | 'directory'): string {
    const resolved = resolveInside(this.#root, target)
    for (const path of [...ancestors(resolved.path).slice(1), resolved.path].slice(resolved.existing)) {
      this.#make(path, path === resolved.path ? type : 'directory')
    }
    const found = lstatSync(fsPath(this.#root + resolved.path))
    if (found.isDirectory() !== (type === 'directory')) {
      const is = found.isDirectory() ? 'a directory' : 'not a directory'
      throw new SandboxError(
        'SANDBOX_MOUNT_FAILED',
        `the mount target "${target}" is ${is} in the image, the source is the opposite`,
      )
    }
    return resolved.path
  }

  #make(path: string, type: 'file' | 'directory'): void {
    // All ancestors, for the overlay copies up a whole chain of directories for one new child.
    const existing = ancestors(path).filter((parent) => !this.#made.includes(parent))
    const before = existing.map((parent) => ({
      parent,
      times: timesOf(this.#root + parent),
      inUpper: lstatIfExists(this.#upper + parent) !== undefined,
    }))
    const at = fsPath(this.#root + path)
    if (type === 'directory') mkdirSync(at, { mode: 0o755 })
    else writeFileSync(at, '', { flag: 'wx', mode: 0o644 })
    this.#made.push(path)
    for (const { parent, times, inUpper } of before) {
      const known = this.#touched.get(parent)
      const after = timesOf(this.#root + parent)
      if (known === undefined) this.#touched.set(parent, { before: times, after, inUpper })
      else known.after = after
    }
  }

  /**
   * Undoes it in the upper directory: empty stubs go, and their parents get their times back unless the command changed
   * them. A parent that the overlay copied up for nothing but a stub goes too. To be called when nothing is mounted there.
   */
  remove(): void {
    const now = new Map([...this.#touched.keys()].map((path) => [path, this.#directoryTimes(path)]))
    for (const path of [...this.#made].reverse()) this.#removeStub(path)
    const deepestFirst = [...this.#touched].sort(([a], [b]) => b.length - a.length)
    for (const [path, touched] of deepestFirst) {
      const times = now.get(path)
      if (times === undefined || times.mtimeNs !== touched.after.mtimeNs) continue
      const at = this.#upper + path
      const isBare = path !== '/' && !touched.inUpper && times.ctimeNs === touched.after.ctimeNs
      if (isBare && readdirSync(fsPath(at)).length === 0) rmdirSync(fsPath(at))
      else setTimes(at, touched.before.atimeNs, touched.before.mtimeNs)
    }
  }

  #directoryTimes(path: string): BigTimes | undefined {
    return this.#entry(path)?.isDirectory() === true ? timesOf(this.#upper + path) : undefined
  }

  #removeStub(path: string): void {
    const entry = this.#entry(path)
    if (entry === undefined) return
    const at = fsPath(this.#upper + path)
    if (entry.isDirectory()) {
      if (readdirSync(at).length === 0) rmdirSync(at)
    } else if (entry.isFile() && entry.size === 0) unlinkSync(at)
  }

  /** The entry in the upper directory, or undefined when it or a parent is gone or is no directory any more. */
  #entry(path: string): Stats | undefined {
    for (const parent of ancestors(path)) if (lstatIfExists(this.#upper + parent)?.isDirectory() !== true) return undefined
    return lstatIfExists(this.#upper + path)
  }
}

interface Touched {
  readonly before: BigTimes
  after: BigTimes
  /** It was in the upper directory already. */
  readonly inUpper: boolean
}

interface BigTimes {
  readonly atimeNs: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

function timesOf(path: string): BigTimes {
  const { atimeNs, mtimeNs, ctimeNs } = lstatSync(fsPath(path), { bigint: true })
  return { atimeNs, mtimeNs, ctimeNs }
}

function lstatIfExists(path: string): Stats | undefined {
  try {
    return lstatSync(fsPath(path))
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw error
  }
}

/** `/`, `/a`, `/a/b` for `/a/b/c`. */
function ancestors(path: string): string[] {
  const parts = path.split('/').slice(1, -1)
  return ['/', ...parts.map((_, i) => `/${parts.slice(0, i + 1).join('/')}`)]
}

/** As many links as the kernel follows in one look-up. */
const maxLinks = 40

/** Follows links as a process with the root directory `root` would. `existing` counts the leading components that exist. */
export function resolveInside(root: string, target: string): { readonly path: string; readonly existing: number } {
  const pending = target
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .reverse()
  let done: string[] = []
  let existing = 0
  let links = 0
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    if (part === '..') {
      done = done.slice(0, -1)
      existing = Math.min(existing, done.length)
      continue
    }
    const path = join(root, ...done, part)
    const entry = existing === done.length ? lstatIfExists(path) : undefined
    if (entry?.isSymbolicLink()) {
      if (++links > maxLinks) throw new SandboxError('SANDBOX_MOUNT_FAILED', `too many symbolic links on the way to "${target}"`)
      const text = readlinkSync(fsPath(path))
      if (text.startsWith('/')) {
        done = []
        existing = 0
      }
      pending.push(
        ...text
          .split('/')
          .filter((piece) => piece !== '' && piece !== '.')
          .reverse(),
      )
      continue
    }
    if (entry !== undefined && !entry.isDirectory() && pending.length > 0) {
      throw new SandboxError(
        'SANDBOX_MOUNT_FAILED',
        `"/${[...done, part].join('/')}" is not a directory, so nothing can be mounted on "${target}"`,
      )
    }
    if (entry !== undefined) existing++
    done.push(part)
  }
  return { path: `/${done.join('/')}`, existing }
}
