/**
 * Remembers the tree of a Dockerfile: loading and starting the parser is half of what a warm build would cost.
 *
 * A tree is believed only when it was made of the same text by the same build of mille. A bundled file's name has a hash of
 * its code and of all that it imports; without such a name (the unbundled library) nothing is remembered. There is one
 * file for each Dockerfile, so the memo does not grow with its versions.
 */
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Parsed } from '../../grammar/ast.js'
import { digestOf, hexOf } from '../core/digest.js'
import type { SourceFile } from '../core/span.js'
import { isObject, readRecord, writeRecord } from '../store/record-file.js'

/** What is on disk: the tree and what it was made of. */
interface Remembered {
  readonly key: string
  readonly parsed: Parsed
}

/** The parser itself, loaded with the first use. */
export async function parseAnew(source: SourceFile): Promise<Parsed> {
  const { parse } = await import('../../grammar/parse.js')
  return parse(source)
}

/**
 * The tree of `source`, from the memo where it can be had.
 *
 * @param place what names the Dockerfile: one tree is remembered for each
 * @param directory the store's memo directory, asked for only when it is used
 */
export async function parseRemembered(source: SourceFile, place: string, directory: () => string): Promise<Parsed> {
  const builtBy = basename(fileURLToPath(import.meta.url))
  if (!/^part-[A-Z0-9]{8}\.js$/.test(builtBy)) return parseAnew(source)
  const path = join(directory(), `tree-${hexOf(digestOf(place)).slice(0, 32)}.json`)
  const names = [source, ...(source.parts ?? []).map((part) => part.source)].map(({ name }) => name)
  const key = digestOf(`${builtBy}\n${names.join('\0')}\n${source.text}`)
  const known = readRecord(path, isRemembered)
  if (known?.key === key) return known.parsed
  const parsed = await parseAnew(source)
  writeRecord(path, { key, parsed } satisfies Remembered)
  return parsed
}

/** The record's checksum says that mille wrote it, the key that it was this mille. */
function isRemembered(value: unknown): value is Remembered {
  return isObject(value) && typeof value.key === 'string' && isObject(value.parsed)
}
