/**
 * The list of what a snapshot holds, as it is kept beside it: type, size and path of each entry.
 *
 * Snapshots are not fsynced. After the machine went down, one is believed only when its files are as the list says: see
 * `store/matches-list.ts`, which reads what is written here.
 */
import type { LayerEntryType } from './walk.js'

/** One line: a letter for the type, the size of a file, the path, where a newline is written as a NUL. */
export function formatEntry(type: LayerEntryType, path: string, size: number): string {
  return `${typeLetters[type]}${type === 'file' ? size : ''} ${path.replaceAll('\n', '\0')}\n`
}

const typeLetters: Readonly<Record<LayerEntryType, string>> = {
  file: 'f',
  link: 'h',
  directory: 'd',
  symlink: 'l',
  character: 'c',
  block: 'b',
  fifo: 'p',
  whiteout: 'w',
  opaque: 'o',
}

/** The list while a layer is being unpacked: the last entry of a name is what counts. */
export class SnapshotList {
  readonly #entries = new Map<string, { readonly type: LayerEntryType; readonly size: number }>()

  add(type: LayerEntryType, path: string, size: number): void {
    if (type !== 'opaque') this.#entries.set(path, { type, size })
  }

  /** Takes out a path and what is below it. */
  remove(path: string): void {
    if (this.#entries.get(path)?.type === 'directory') {
      for (const other of this.#entries.keys()) if (other.startsWith(`${path}/`)) this.#entries.delete(other)
    }
    this.#entries.delete(path)
  }

  /** The bytes of all files, and the list as text. */
  finish(): { readonly size: number; readonly entries: string } {
    const lines: string[] = []
    let size = 0
    for (const [path, entry] of this.#entries) {
      lines.push(formatEntry(entry.type, path, entry.size))
      if (entry.type === 'file') size += entry.size
    }
    return { size, entries: lines.join('') }
  }
}
