/** Trees of files as text, both ways. */
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Makes files: `a/b: text`; a name that ends in `/` is a directory, a value that begins with `-> ` a symlink. */
export function makeTree(root: string, files: Readonly<Record<string, string>>): string {
  mkdirSync(root, { recursive: true })
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name)
    mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true })
    if (name.endsWith('/')) {
      if (content !== '') chmodSync(path, Number.parseInt(content, 8))
    } else if (content.startsWith('-> ')) symlinkSync(content.slice(3), path)
    else writeFileSync(path, content)
  }
  return root
}

/** What is in a tree: `path: mode uid:gid content`, sorted; directories end in `/`. */
export function showTree(root: string): string[] {
  const lines: string[] = []
  const visit = (path: string): void => {
    for (const name of readdirSync(join(root, path)).sort()) {
      const inner = path === '' ? name : `${path}/${name}`
      const stats = lstatSync(join(root, inner))
      const owner = `${(stats.mode & 0o7777).toString(8)} ${stats.uid}:${stats.gid}`
      if (stats.isDirectory()) {
        lines.push(`${inner}/ ${owner}`)
        visit(inner)
      } else if (stats.isSymbolicLink()) lines.push(`${inner} -> ${readlinkSync(join(root, inner))}`)
      else lines.push(`${inner} ${owner} ${stats.isFile() ? readFileSync(join(root, inner), 'utf8') : 'special'}`)
    }
  }
  visit('')
  return lines
}
