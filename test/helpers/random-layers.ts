/** Random layers as overlay leaves them, and what views of them show. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { decodePath, fsPath } from '../../src/core/path-bytes.js'
import type { FileView } from '../../src/core/view.js'
import { makeNode, setXattr } from '../../src/io/sys.js'

/** A small random source: the same seed gives the same tree. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed * 2654435761 + 1
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Names of entries, one of them with a byte that is not UTF-8. */
export const names = ['a', 'b', 'c', 'ä', decodePath(Buffer.from([0xfe]))]

/** Fills one layer with files, directories, links, deletions and opaque directories, as overlay would have left them. */
export function fillLayer(directory: string, random: (below: number) => number, depth: number, isLowest: boolean): void {
  for (const name of names) {
    const path = `${directory}/${name}`
    const kind = random(9)
    if (kind === 0) writeFileSync(fsPath(path), 'x'.repeat(random(100)))
    else if (kind === 1) symlinkSync(names[random(names.length)] === 'a' ? '/a/b' : '../c', fsPath(path))
    else if (kind === 2 && !isLowest) makeNode(path, 'character', 0, 0)
    else if (kind === 3) makeNode(path, 'fifo', 0o600, 0)
    else if (kind < 8 && depth > 0) {
      mkdirSync(fsPath(path), { mode: [0o755, 0o700, 0o711][random(3)] ?? 0o755 })
      if (!isLowest && random(4) === 0) setXattr(path, 'trusted.overlay.opaque', Buffer.from('y'))
      fillLayer(path, random, depth - 1, isLowest)
    }
  }
}

/** What a view shows, one line for each entry. */
export function describe(view: FileView, path = '/', lines: string[] = []): string[] {
  for (const name of view.readdir(path)) {
    const child = path === '/' ? `/${name}` : `${path}/${name}`
    const entry = view.lstat(child)
    assert.ok(entry, `${child} is listed and cannot be looked at`)
    const size = entry.type === 'file' ? entry.size : ''
    const target = entry.type === 'symlink' ? view.readlink(child) : ''
    lines.push(`${child} ${entry.type} ${entry.mode.toString(8)} ${entry.uid} ${size} ${target}`)
    if (entry.type === 'directory') describe(view, child, lines)
  }
  return lines
}
