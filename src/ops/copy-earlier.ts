/**
 * What a COPY wrote when it last wrote all of its layer: kept in the store's `memo` directory, one file for each COPY of each
 * context, so that the next one writes only what is other (copy-difference.ts).
 *
 * The file begins with a checksum: a damaged one is a forgotten one, and costs only time.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { ContextView } from '../context/context.js'
import { type CanonicalValue, canonicalJson } from '../core/canonical.js'
import { type DiffID, parseDiffId } from '../core/digest.js'
import { decodePath, encodePath } from '../core/path-bytes.js'
import type { CopyOp } from '../graph/op.js'
import { readBytesIfExists, writeFileAtomic } from '../io/fs.js'
import type { VertexResult } from '../solver/ports.js'

/** A layer and what it has: a text for each path, another one when anything of the entry is other. */
export interface EarlierCopy {
  readonly diffId: DiffID
  readonly entries: ReadonlyMap<string, string>
}

/** Below so many entries all are written again: that takes no longer than finding out what is other. */
const fewestEntries = 200

/** Where the memo of this copy is; undefined when it copies from something else than contexts, or there is no place for memos. */
export function earlierCopyPath(
  op: CopyOp,
  inputs: readonly VertexResult[],
  memoDirectory: string | undefined,
): string | undefined {
  const roots = op.sources.map(({ input }) => {
    const source = inputs[input]
    return source?.kind === 'files' && source.view instanceof ContextView ? source.view.root : undefined
  })
  if (memoDirectory === undefined || roots.includes(undefined)) return undefined
  const text = canonicalJson([op as unknown as CanonicalValue, roots as readonly string[]])
  return join(memoDirectory, `${createHash('sha256').update(encodePath(text)).digest('hex').slice(0, 20)}.v1.copy`)
}

/** The last copy whose memo is at `path`. */
export function recallCopy(path: string): EarlierCopy | undefined {
  const bytes = readBytesIfExists(path)
  const body = bytes?.subarray(checksumBytes)
  if (bytes === undefined || body === undefined || !checksum(body).equals(bytes.subarray(0, checksumBytes))) return undefined
  const [first = '', ...fields] = decodePath(body).split('\0')
  const diffId = parseDiffId(first)
  if (diffId === undefined) return undefined
  const entries = new Map<string, string>()
  for (let i = 0; i + 1 < fields.length; i += 2) entries.set(fields[i] ?? '', fields[i + 1] ?? '')
  return { diffId, entries }
}

/** Remembers a copy, unless it is a small one. */
export function rememberCopy(path: string, { diffId, entries }: EarlierCopy): void {
  if (entries.size < fewestEntries) return
  const fields: string[] = [diffId]
  for (const [name, text] of entries) fields.push(name, text)
  const body = encodePath(fields.join('\0'))
  writeFileAtomic(path, Buffer.concat([checksum(body), body]))
}

const checksumBytes = 32

function checksum(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest()
}
