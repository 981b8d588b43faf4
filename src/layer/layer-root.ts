/**
 * Names of an archive → places in the directory it is unpacked to. Nothing ever leads outside (invariant 6).
 *
 * Parents are looked at with lstat, never followed by the kernel. A link among them is followed here, with the directory
 * as its root, as a container would. The directory belongs to the caller alone, so what was seen once stays true.
 */
import { lstatSync, mkdirSync, readlinkSync, type Stats } from 'node:fs'
import { BuildError } from '../core/errors.js'
import { decodePath, fsPath } from '../core/path-bytes.js'

const linkLimit = 40

/** The parts of an archive's name: no empty parts, no `.`, `..` taken back. Throws when `..` climbs out. */
export function nameParts(name: string): string[] {
  const parts: string[] = []
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.pop() === undefined) throw escapes(name, 'leads out of its root with ".."')
  }
  return parts
}

function escapes(name: string, how: string): BuildError {
  return new BuildError('LAYER_ESCAPES_ROOT', `the entry "${name}" ${how}`, {
    hint: 'the archive is damaged or hostile: nothing outside was touched',
  })
}

/** The directory that an archive is unpacked to. */
export class LayerRoot {
  readonly #root: string
  /** Directories by path in the archive → where they are. Only real directories. */
  readonly #known = new Map<string, string>()
  /** Called for each directory that had to be made because no entry came for it. */
  readonly #onImplied: (hostPath: string, path: string) => void

  constructor(root: string, onImplied: (hostPath: string, path: string) => void) {
    this.#root = root
    this.#onImplied = onImplied
    this.#known.set('', root)
  }

  /** The real directory for the given parts; missing ones are made (0755, root). */
  directory(parts: readonly string[], name: string): string {
    const path = parts.join('/')
    const known = this.#known.get(path)
    if (known !== undefined) return known
    let at = this.#root
    for (let i = 0; i < parts.length; i++) {
      const upTo = parts.slice(0, i + 1).join('/')
      at = this.#known.get(upTo) ?? this.#enter(at, parts[i] ?? '', upTo, name)
      this.#known.set(upTo, at)
    }
    return at
  }

  /** Says that `path` is a directory now, at `hostPath`. */
  add(path: string, hostPath: string): void {
    this.#known.set(path, hostPath)
  }

  /** Says that something was removed at or above known directories. */
  forget(): void {
    this.#known.clear()
    this.#known.set('', this.#root)
  }

  #enter(parent: string, part: string, path: string, name: string): string {
    const hostPath = `${parent}/${part}`
    const stats = lstatSync(fsPath(hostPath), { throwIfNoEntry: false })
    if (stats?.isDirectory()) return hostPath
    if (stats === undefined) {
      mkdirSync(fsPath(hostPath), 0o755)
      this.#onImplied(hostPath, path)
      return hostPath
    }
    if (stats.isSymbolicLink()) return this.#follow(hostPath, path, name, { left: linkLimit })
    throw new BuildError('LAYER_BAD_TAR', `the entry "${name}" lies under "${path}", which is not a directory`)
  }

  /** The directory that a link means, if it is there already: a link may not make directories elsewhere. */
  #follow(linkPath: string, path: string, name: string, budget: { left: number }): string {
    if (budget.left-- <= 0) throw escapes(name, `lies under the link "${path}", which leads in circles`)
    const target = decodePath(readlinkSync(fsPath(linkPath), 'buffer'))
    const trail = target.startsWith('/')
      ? []
      : linkPath
          .slice(this.#root.length + 1)
          .split('/')
          .slice(0, -1)
    let at = [this.#root, ...trail].join('/')
    for (const part of target.split('/')) {
      if (part === '' || part === '.') continue
      if (part === '..') {
        if (at === this.#root) throw escapes(name, `lies under the link "${path}" to "${target}", which leads out of the root`)
        at = at.slice(0, at.lastIndexOf('/'))
        continue
      }
      const next = `${at}/${part}`
      const stats: Stats | undefined = lstatSync(fsPath(next), { throwIfNoEntry: false })
      if (stats?.isDirectory()) at = next
      else if (stats?.isSymbolicLink()) at = this.#follow(next, path, name, budget)
      else throw escapes(name, `lies under the link "${path}" to "${target}", which is no directory of the archive`)
    }
    return at
  }
}
