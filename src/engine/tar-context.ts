/**
 * Contexts that come as bytes: from stdin, or downloaded. A tar is unpacked; anything else is a Dockerfile alone, as docker
 * has it.
 *
 * The bytes may be hostile. Names cannot lead out of the directory (layer-root.ts), devices are refused, and what a small
 * archive unpacks to is bounded by the space there is.
 */
import { mkdirSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { BuildError, StoreError, UsageError } from '../core/errors.js'
import { collect, limited, untilAborted } from '../io/stream.js'
import { applyLayer } from '../layer/apply.js'
import { looksLikeArchive, openPeeked, type PeekedBytes, peekArchive } from '../layer/open-archive.js'
import { type ContextWorld, type FilesContext, makeScratch } from './contexts.js'

/** The most bytes of a Dockerfile. */
export const dockerfileLimit = 4 << 20

/** The most entries of an archive that is taken as a context. */
const entryLimit = 5_000_000
/** The part of the free space that one context may take. */
const spaceShare = 0.9

/** The context of `-`. Throws USAGE_BAD_ARGUMENT when nothing comes. */
export async function openStdinContext(what: string, world: ContextWorld): Promise<FilesContext> {
  const peeked = await peekArchive(requireStdin(what, world))
  if (peeked.head.length === 0) throw new UsageError('USAGE_BAD_ARGUMENT', `${what} is stdin, and nothing came there`)
  return openBytes(peeked, `${what} on stdin`, world)
}

/** What `-` stands for. */
export function requireStdin(what: string, { stdin, engine }: ContextWorld): AsyncIterable<Uint8Array> {
  if (stdin !== undefined) return untilAborted(stdin, engine.ctx.signal)
  throw new UsageError('USAGE_BAD_ARGUMENT', `${what} is stdin, but no stdin was given`, {
    hint: 'give the option stdin to build()',
  })
}

/** Unpacks bytes into a scratch directory, or reads them as a Dockerfile. Throws CONTEXT_BAD_ARCHIVE. */
export async function openBytes(peeked: PeekedBytes, what: string, world: ContextWorld): Promise<FilesContext> {
  const scratch = makeScratch(world)
  // The scratch directory stays closed to others whatever mode the archive gives its root.
  const directory = join(scratch, 'context')
  mkdirSync(directory)
  if (!looksLikeArchive(peeked.head)) {
    const text = await readText(peeked.all, `${what} is no archive, so it is taken as a Dockerfile, but it`)
    return { kind: 'files', directory, origin: 'fetched', text }
  }
  const { bavail, bsize } = await statfs(directory)
  const options = { form: 'context', limitBytes: Math.floor(bavail * bsize * spaceShare), limitEntries: entryLimit } as const
  try {
    const { newestFile } = await applyLayer(openPeeked(peeked), directory, options, world.engine.ctx.signal)
    return { kind: 'files', directory, origin: 'fetched', timeSeconds: newestFile }
  } catch (error) {
    throw explain(error, what)
  }
}

/** A Dockerfile's text. */
export async function readText(bytes: AsyncIterable<Uint8Array>, what: string): Promise<string> {
  return (await collect(limited(bytes, dockerfileLimit, 'CONTEXT_BAD_ARCHIVE', what))).toString('utf8')
}

/** What is wrong with the archive, with its name; errors of this machine stay as they are. */
function explain(error: unknown, what: string): unknown {
  if (!(error instanceof BuildError) || error instanceof StoreError) return error
  return new BuildError('CONTEXT_BAD_ARCHIVE', `${what} cannot be unpacked: ${error.message}`, { hint: error.hint, cause: error })
}
