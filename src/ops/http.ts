/**
 * ADD of a URL: one file, fetched again only when the server says that it changed.
 *
 * The body is a blob of the store; what the server said of it (ETag, Last-Modified) is a memo. The key is the content's
 * digest, so a file that moved or was touched changes nothing. With --checksum a file that is here is not asked for.
 * The file has mode 0600 and the time of Last-Modified, as in docker.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '../core/context.js'
import { type Digest, parseDigest } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { FileEntry, FileView } from '../core/view.js'
import type { HttpOp, Vertex } from '../graph/op.js'
import { readTextIfExists, writeFileAtomic } from '../io/fs.js'
import { loadRoots, tlsSettingsFrom } from '../registry/tls.js'
import type { OpRunner } from '../solver/ports.js'
import type { Blobs } from '../store/types.js'

/** What the runner of downloads needs. */
export interface HttpRunnerOptions {
  readonly blobs: Pick<Blobs, 'has' | 'pathOf' | 'write'>
  /** The store's `memo` directory. */
  readonly memoDirectory: string
  /** For the proxy variables. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Time of a file whose server does not give one, ms since 1970. */
  readonly nowMs: () => number
}

/** A file that is in the blobs. */
interface Download {
  readonly digest: Digest
  readonly size: number
  readonly etag: string
  readonly lastModified: string
}

/** Makes the runner of downloads. Each URL is asked for once in its life. */
export function createHttpRunner(options: HttpRunnerOptions): OpRunner<HttpOp> {
  const downloads = new Map<string, Promise<Download>>()
  const download = (op: HttpOp, vertex: Vertex, ctx: Context): Promise<Download> => {
    const known = downloads.get(op.url) ?? fetchFile(op, vertex, options, ctx)
    downloads.set(op.url, known)
    return known
  }
  return {
    async key(op, _inputs, vertex, ctx) {
      const checksum = checksumOf(op)
      const digest = checksum ?? (await download(op, vertex, ctx)).digest
      return { fields: { kind: op.kind, filename: op.filename, digest }, components: { content: digest }, coveredInputs: [] }
    },
    async run(op, _inputs, vertex, ctx) {
      return { kind: 'files', view: new SingleFileView(op.filename, await download(op, vertex, ctx), options) }
    },
  }
}

function checksumOf(op: HttpOp): Digest | undefined {
  if (op.checksum === undefined) return undefined
  const checksum = parseDigest(op.checksum)
  if (checksum !== undefined) return checksum
  throw new BuildError('DOCKERFILE_BAD_FLAG', `--checksum=${op.checksum} is no sha256 digest`, {
    hint: 'write sha256: and 64 lower-case hex digits',
  })
}

async function fetchFile(op: HttpOp, vertex: Vertex, options: HttpRunnerOptions, ctx: Context): Promise<Download> {
  const checksum = checksumOf(op)
  const saved = readMemo(op.url, options)
  if (saved !== undefined && saved.digest === checksum) return saved
  const answer = await withRetries(() => request(op, saved, vertex, options, ctx), ctx)
  if (checksum !== undefined && answer.digest !== checksum) {
    throw new BuildError('ADD_CHECKSUM_MISMATCH', `${publicUrl(op.url)} has the digest ${answer.digest}, expected ${checksum}`, {
      hint: 'the file at this address changed, or was tampered with: check it, then update --checksum',
    })
  }
  writeFileAtomic(memoPath(op.url, options), JSON.stringify(answer))
  return answer
}

function memoPath(url: string, options: HttpRunnerOptions): string {
  return join(options.memoDirectory, `http-${createHash('sha256').update(url).digest('hex').slice(0, 32)}.v1.json`)
}

/** What an earlier build got from this URL, if it is still here. */
function readMemo(url: string, options: HttpRunnerOptions): Download | undefined {
  const text = readTextIfExists(memoPath(url, options))
  if (text === undefined) return undefined
  const { digest, size, etag, lastModified } = JSON.parse(text) as Record<string, unknown>
  const known = typeof digest === 'string' ? parseDigest(digest) : undefined
  if (known === undefined || typeof size !== 'number' || !options.blobs.has(known)) return undefined
  return { digest: known, size, etag: String(etag), lastModified: String(lastModified) }
}

const waitsMs = [500, 1500]

class TransientError extends BuildError {}

async function withRetries<T>(attempt: () => Promise<T>, ctx: Context): Promise<T> {
  for (const waitMs of waitsMs) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      await sleep(waitMs, undefined, { signal: ctx.signal })
    }
  }
  return attempt()
}

async function request(
  op: HttpOp,
  saved: Download | undefined,
  vertex: Vertex,
  options: HttpRunnerOptions,
  ctx: Context,
): Promise<Download> {
  const { url, headers } = splitCredentials(op.url)
  // A server may not compress: the length is compared with what comes, and an archive must come as it is.
  headers['accept-encoding'] = 'identity'
  if (saved?.etag) headers['if-none-match'] = saved.etag
  else if (saved?.lastModified) headers['if-modified-since'] = saved.lastModified
  const { fetch, EnvHttpProxyAgent } = await import('undici')
  const roots = url.startsWith('https:') ? await loadRoots(tlsSettingsFrom(options.env)) : undefined
  const trust = roots === undefined ? {} : { ca: [...roots] }
  const tls = { connect: trust, requestTls: trust, proxyTls: trust }
  const dispatcher = new EnvHttpProxyAgent({ ...proxiesOf(options.env), ...tls })
  try {
    const response = await fetch(url, { headers, dispatcher, signal: ctx.signal })
    if (response.status === 304 && saved !== undefined) return saved
    if (!response.ok || response.body === null) {
      await response.body?.cancel()
      throw failed(op, `the server answered ${response.status} ${response.statusText}`.trim(), response.status >= 500)
    }
    const total = Number(response.headers.get('content-length') ?? 0)
    const body = reporting(response.body as AsyncIterable<Uint8Array>, op, total, vertex, ctx)
    const { digest, size } = await options.blobs.write(body, undefined, ctx.signal)
    const lastModified = response.headers.get('last-modified') ?? ''
    return { digest, size, etag: response.headers.get('etag') ?? '', lastModified }
  } catch (error) {
    ctx.signal.throwIfAborted()
    if (error instanceof BuildError) throw error
    throw failed(op, reasonOf(error), true, error)
  } finally {
    await dispatcher.close()
  }
}

function failed(op: HttpOp, reason: string, transient: boolean, cause?: unknown): BuildError {
  const Kind = transient ? TransientError : BuildError
  return new Kind('ADD_DOWNLOAD_FAILED', `${publicUrl(op.url)} cannot be downloaded: ${reason}`, { cause })
}

/** fetch hides the system's reason one level down. */
function reasonOf(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return inner instanceof Error ? inner.message || inner.name : String(inner)
}

function proxiesOf(env: HttpRunnerOptions['env']): { httpProxy: string; httpsProxy: string; noProxy: string } {
  return {
    httpProxy: env.http_proxy ?? env.HTTP_PROXY ?? '',
    httpsProxy: env.https_proxy ?? env.HTTPS_PROXY ?? '',
    noProxy: env.no_proxy ?? env.NO_PROXY ?? '',
  }
}

function splitCredentials(text: string): { url: string; headers: Record<string, string> } {
  const url = new URL(text)
  if (url.username === '' && url.password === '') return { url: text, headers: {} }
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  url.username = ''
  url.password = ''
  return { url: url.href, headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` } }
}

function publicUrl(text: string): string {
  return splitCredentials(text).url
}

async function* reporting(
  bytes: AsyncIterable<Uint8Array>,
  op: HttpOp,
  total: number,
  vertex: Vertex,
  ctx: Context,
): AsyncGenerator<Uint8Array, void, void> {
  const item = publicUrl(op.url)
  const known = total > 0 ? { total } : {}
  let current = 0
  for await (const chunk of bytes) {
    current += chunk.length
    yield chunk
    ctx.emit({ type: 'progress', id: vertex.id, item, current, ...known, done: false, atMs: Date.now() })
  }
  if (total > 0 && current < total) throw new Error(`the connection ended after ${current} of ${total} bytes`)
  ctx.emit({ type: 'progress', id: vertex.id, item, current, total: current, done: true, atMs: Date.now() })
}

/** A root directory with one file in it. */
class SingleFileView implements FileView {
  readonly #name: string
  readonly #file: FileEntry
  readonly #root: FileEntry

  constructor(name: string, download: Download, options: HttpRunnerOptions) {
    const modified = Date.parse(download.lastModified)
    const mtimeNs = BigInt(Number.isNaN(modified) ? options.nowMs() : modified) * 1_000_000n
    const common = { uid: 0, gid: 0, mtimeNs, ctimeNs: mtimeNs, dev: 0, ino: 0, nlink: 1, rdev: 0 }
    this.#name = name
    this.#file = { ...common, type: 'file', mode: 0o600, size: download.size, hostPath: options.blobs.pathOf(download.digest) }
    this.#root = { ...common, type: 'directory', mode: 0o755, size: 0, hostPath: '' }
  }

  lstat(path: string): FileEntry | undefined {
    if (path === '/' || path === '') return this.#root
    return path.replace(/^\//, '') === this.#name ? this.#file : undefined
  }

  readdir(path: string): readonly string[] {
    return path === '/' || path === '' ? [this.#name] : []
  }

  readlink(path: string): string {
    throw Object.assign(new Error(`not a symlink: ${path}`), { code: 'EINVAL' })
  }
}
