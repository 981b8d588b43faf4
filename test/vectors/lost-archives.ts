/**
 * Archives that upstream's tests make while they run: the cases keep their names but not their bytes.
 *
 * Their content is what the checks of the case look for, so it can be made again.
 */
import { execFileSync } from 'node:child_process'
import { basename } from 'node:path'
import { rawTar } from '../helpers/raw-tar.js'
import { recordOf, type VectorCase } from './frame.js'

const packers: Readonly<Record<string, string>> = { gz: 'gzip', tgz: 'gzip', bz2: 'bzip2', xz: 'xz', zst: 'zstd' }

/** The bytes of the archive with this name; nothing for any other file, which really is empty. */
export function lostArchive(vector: VectorCase, path: string): Buffer {
  const suffix = /\.(?:tar\.)?(tar|gz|tgz|bz2|xz|zst)$/.exec(path)?.[1]
  if (suffix === undefined) return Buffer.alloc(0)
  const entries = entriesOf(vector, basename(path))
  if (entries.size === 0) return Buffer.alloc(0)
  const tar = rawTar([...entries].map(([name, content]) => ({ name, content })))
  const packer = packers[suffix]
  return packer === undefined ? tar : execFileSync(packer, ['-c'], { input: tar })
}

/** Checked files that no other source of the case explains; the destination of the ADD is no part of their names. */
function entriesOf(vector: VectorCase, archive: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  const destinations = destinationsOf(vector)
  for (const check of (Array.isArray(vector.checks) ? vector.checks : []).map(recordOf)) {
    const { type, path, equals, field, value } = check
    const content = type === 'file' ? equals : type === 'tarEntry' && field === 'Data' ? value : undefined
    if (typeof path !== 'string' || typeof content !== 'string' || content === '') continue
    const into = destinations.find((prefix) => path.startsWith(prefix)) ?? ''
    found.set(path.slice(into.length), content)
  }
  return splitAmong(vector, archive, found)
}

/** Several archives of one ADD hold one file each, in the order of their names in the case. */
function splitAmong(vector: VectorCase, archive: string, found: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const names = Object.values(recordOf(vector.contexts))
    .flatMap((files) => (Array.isArray(files) ? files.map((file) => String(recordOf(file).path)) : []))
    .filter((name) => /\.tar$/.test(name))
  const distinct = [...new Set(names)]
  if (distinct.length < 2 || found.size !== distinct.length || distinct.indexOf(archive) < 0) return found
  return new Map([...found].slice(distinct.indexOf(archive), distinct.indexOf(archive) + 1))
}

/** Destinations of ADD below the root, without the leading `/`. */
function destinationsOf(vector: VectorCase): readonly string[] {
  const text = JSON.stringify(vector.contexts)
  const found = [...text.matchAll(/ADD (?:--\S+ )*\S+ \/([\w./-]+)(?=\\n|\\t|")/g)].map(([, path = '']) =>
    path.replace(/\/?$/, '/'),
  )
  return [...new Set(found)]
}
