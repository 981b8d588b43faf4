/** Contexts and Dockerfiles by URL, fetched again only when the server says that they changed. */
import { constants, createReadStream } from 'node:fs'
import { chmod, copyFile, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { BuildError } from '../core/errors.js'
import { looksLikeArchive, peekArchive } from '../layer/open-archive.js'
import { createDownloads, publicUrl } from '../ops/download.js'
import { type ContextUse, type ContextWorld, type FilesContext, makeScratch } from './contexts.js'
import { openBytes, readText } from './tar-context.js'

/** A tar is unpacked. Anything else is a Dockerfile alone, or for a named context a file called `context`, as in BuildKit. */
export async function openHttpContext(url: string, use: ContextUse, what: string, world: ContextWorld): Promise<FilesContext> {
  const { path, digest, modified } = await fetchFile(url, what, world)
  const known = { pinned: { uri: url, digest }, ...(modified === undefined ? {} : { timeSeconds: modified }) }
  const peeked = await peekArchive(createReadStream(path, { highWaterMark: 256 << 10 }))
  if (use === 'main' || looksLikeArchive(peeked.head)) return { ...(await openBytes(peeked, what, world)), ...known }
  await peeked.all.return()
  const directory = makeScratch(world)
  const file = join(directory, 'context')
  await copyFile(path, file, constants.COPYFILE_FICLONE)
  await chmod(file, 0o600)
  await utimes(file, modified ?? 0, modified ?? 0)
  return { kind: 'files', directory, origin: 'fetched', ...known }
}

/** The text of a Dockerfile by URL. */
export async function fetchDockerfile(url: string, world: ContextWorld): Promise<string> {
  const what = `the Dockerfile ${publicUrl(url)}`
  return readText(createReadStream((await fetchFile(url, what, world)).path), what)
}

/** Where the file is, in the store's blobs, and its Last-Modified in seconds since 1970. */
async function fetchFile(
  url: string,
  what: string,
  { engine, findSecret }: ContextWorld,
): Promise<{ readonly path: string; readonly digest: string; readonly modified: number | undefined }> {
  const { store, settings, ctx } = engine
  if (!URL.canParse(url)) throw new BuildError('CONTEXT_UNSUPPORTED', `${what} is no valid URL`)
  const downloads = createDownloads({
    blobs: store.blobs,
    memoDirectory: store.directory('memo'),
    claims: engine.claims,
    env: settings.env,
    findSecret,
  })
  const id = `context ${publicUrl(url)}`
  const name = `[internal] load remote build context ${publicUrl(url)}`
  ctx.emit({ type: 'vertex-started', id, name, atMs: settings.now() })
  try {
    const { digest, isFresh, lastModified } = await downloads.fetch({ url, progressId: id }, ctx)
    ctx.emit({ type: 'vertex-done', id, name, atMs: settings.now(), cached: !isFresh })
    const modified = Date.parse(lastModified)
    return { path: store.blobs.pathOf(digest), digest, modified: Number.isNaN(modified) ? undefined : modified / 1000 }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    ctx.emit({ type: 'vertex-done', id, name, atMs: settings.now(), cached: false, error: message })
    throw error
  }
}
