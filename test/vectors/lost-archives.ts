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
  const dockerfile = mainContextAt(vector, path)
  if (dockerfile !== undefined) return lostContext(vector, dockerfile)
  const suffix = /\.(?:tar\.)?(tar|gz|tgz|bz2|xz|zst)$/.exec(path)?.[1]
  if (suffix === undefined) return Buffer.alloc(0)
  const entries = entriesOf(vector, basename(path))
  if (entries.size === 0) return Buffer.alloc(0)
  const tar = rawTar([...entries].map(([name, content]) => ({ name, content })))
  const packer = packers[suffix]
  return packer === undefined ? tar : execFileSync(packer, ['-c'], { input: tar })
}

/** The name of the Dockerfile, when the main context of a build is the archive at this URL. */
function mainContextAt(vector: VectorCase, path: string): string | undefined {
  for (const step of (Array.isArray(vector.steps) ? vector.steps : []).map(recordOf)) {
    const attrs = recordOf(recordOf(step.opt ?? {}).frontendAttrs ?? {})
    if (/^@http\d+/.test(String(attrs.context)) && String(attrs.context).endsWith(path)) {
      return String(attrs.filename ?? 'Dockerfile')
    }
  }
  return undefined
}

/** A context whose Dockerfile copies what the checks look for, or writes down SOURCE_DATE_EPOCH. */
function lostContext(vector: VectorCase, dockerfile: string): Buffer {
  const text = JSON.stringify(vector.otherAsserts)
  const mtime = Number(/Equal\((\d+), /.exec(text)?.[1] ?? 0)
  const entries = [...entriesOf(vector, '')]
  const lines = entries.map(([path], i) => `COPY file${i} /${path}`)
  if (text.includes('\\"epoch\\"')) lines.push('ARG SOURCE_DATE_EPOCH', 'RUN echo -n "$SOURCE_DATE_EPOCH" >/epoch')
  const base = lines.some((line) => line.startsWith('RUN')) ? 'busybox' : 'scratch'
  return rawTar([
    { name: dockerfile, mtime, content: `FROM ${base}\n${lines.join('\n')}\n` },
    ...entries.map(([, content], i) => ({ name: `file${i}`, mtime, content })),
  ])
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
