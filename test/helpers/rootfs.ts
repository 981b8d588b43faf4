/** Describes a directory tree so that two of them can be compared path by path. */
import { createHash } from 'node:crypto'
import { type BigIntStats, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { decodePath, fsPath } from '../../src/core/path-bytes.js'
import { getXattr, listXattrs } from '../../src/io/sys.js'

/** One line for each path: type, mode, owner, size, content, link, device, xattrs; no times. */
export type TreeDescription = ReadonlyMap<string, string>

/** Reads a tree. Paths for which `ignore` holds are left out with all below them. */
export function describeTree(root: string, ignore: (path: string) => boolean = () => false): TreeDescription {
  const lines = new Map<string, string>()
  const visit = (path: string): void => {
    if (path !== '' && ignore(path)) return
    const host = join(root, path)
    const stat = lstatSync(fsPath(host), { bigint: true })
    lines.set(path === '' ? '/' : path, describeEntry(host, stat))
    if (!stat.isDirectory()) return
    for (const name of readdirSync(fsPath(host), { encoding: 'buffer' })) visit(`${path}/${decodePath(name)}`)
  }
  visit('')
  return lines
}

function describeEntry(host: string, stat: BigIntStats): string {
  const parts = [`${(stat.mode & 0o7777n).toString(8)} ${stat.uid}:${stat.gid}`]
  if (stat.isDirectory()) parts.unshift('directory')
  else if (stat.isSymbolicLink()) parts.splice(0, 1, `symlink ${stat.uid}:${stat.gid} ${readlinkSync(fsPath(host))}`)
  else if (stat.isFile()) {
    const content = createHash('sha256')
      .update(readFileSync(fsPath(host)))
      .digest('hex')
      .slice(0, 16)
    parts.unshift('file')
    parts.push(`${stat.size} bytes ${content} links ${stat.nlink}`)
  } else parts.unshift(`special ${(stat.mode & 0o170000n).toString(8)} ${stat.rdev}`)
  for (const name of listXattrs(host).sort()) {
    if (!name.startsWith('trusted.overlay.') && !name.startsWith('user.rootlesscontainers')) {
      parts.push(`${name}=${getXattr(host, name)?.toString('hex')}`)
    }
  }
  return parts.join(' ')
}

/** The differences, one line each: `- path …` only in the first, `+ path …` only in the second. */
export function compareTrees(first: TreeDescription, second: TreeDescription): string[] {
  const paths = [...new Set([...first.keys(), ...second.keys()])].sort()
  return paths.flatMap((path) => {
    const [a, b] = [first.get(path), second.get(path)]
    if (a === b) return []
    return [...(a === undefined ? [] : [`- ${path} ${a}`]), ...(b === undefined ? [] : [`+ ${path} ${b}`])]
  })
}
