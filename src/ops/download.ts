/**
 * Files by http(s) URL, as blobs of the store: fetched again only when the server says that they changed.
 *
 * What the server said of a body (ETag, Last-Modified) is a memo beside the store's others. A transfer that breaks off goes
 * on where it stopped when the server can do that, else it starts again; servers that are busy are asked three times.
 */
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import type { Context, WorkingProcess } from '../core/context.js'
import { type Digest, digestOf, parseDigest } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { readTextIfExists, writeFileAtomic } from '../io/fs.js'
import { proxyFor, proxyFromEnv } from '../registry/proxy.js'
import { loadRoots, tlsSettingsFrom } from '../registry/tls.js'
import type { Claim, Claims } from '../store/claims.js'
import type { Blobs } from '../store/types.js'

/** What downloads need. */
export interface DownloadOptions {
  readonly blobs: Pick<Blobs, 'has' | 'pathOf' | 'write'>
  /** The store's `memo` directory. */
  readonly memoDirectory: string
  /** So that of several processes one fetches. */
  readonly claims: Claims
  /** For the proxy variables. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** For `HTTP_AUTH_HEADER_<host>` and `HTTP_AUTH_TOKEN_<host>`. */
  readonly findSecret: (id: string) => Promise<Uint8Array | undefined>
}

/** A file that is in the blobs. Empty texts: the server said nothing. */
export interface Download {
  readonly digest: Digest
  readonly size: number
  readonly etag: string
  readonly lastModified: string
  /** False when what was here still counts. */
  readonly isFresh: boolean
}

/** What to fetch. */
export interface DownloadRequest {
  readonly url: string
  /** What the bytes must hash to; then a file that is here is not asked for. */
  readonly checksum?: Digest | undefined
  /** The vertex that the progress belongs to. */
  readonly progressId: string
}

/** Fetches files, each URL once in its life. */
export interface Downloads {
  /** @throws BuildError ADD_DOWNLOAD_FAILED, ADD_CHECKSUM_MISMATCH */
  fetch(request: DownloadRequest, ctx: Context): Promise<Download>
}

/** Makes a set of downloads. */
export function createDownloads(options: DownloadOptions): Downloads {
  const running = new Map<string, Promise<Download>>()
  return {
    async fetch(request, ctx) {
      const { url, checksum } = request
      const here = checksum === undefined ? undefined : findPinned(url, checksum, options)
      if (here !== undefined) return here
      const started = running.get(url) ?? fetchAnew(request, options, ctx)
      running.set(url, started)
      const found = await started
      if (checksum === undefined || found.digest === checksum) return found
      throw new BuildError('ADD_CHECKSUM_MISMATCH', `${publicUrl(url)} has the digest ${found.digest}, expected ${checksum}`, {
        hint: 'the file at this address changed, or was tampered with: check it, then update --checksum',
      })
    },
  }
}

/** The bytes are known by their digest, wherever they came from. */
function findPinned(url: string, checksum: Digest, options: DownloadOptions): Download | undefined {
  const saved = readMemo(url, options)
  if (saved?.digest === checksum) return saved
  if (!options.blobs.has(checksum)) return undefined
  const { size } = statSync(options.blobs.pathOf(checksum))
  return { digest: checksum, size, etag: '', lastModified: '', isFresh: false }
}

async function fetchAnew(request: DownloadRequest, options: DownloadOptions, ctx: Context): Promise<Download> {
  const saved = readMemo(request.url, options)
  return await withRetries(async () => {
    await using connection = await connect(request.url, options)
    return await transfer({ request, options, connection, ctx }, saved, true)
  }, ctx)
}

function memoPath(url: string, { memoDirectory }: DownloadOptions): string {
  return join(memoDirectory, `http-${createHash('sha256').update(url).digest('hex').slice(0, 32)}.v1.json`)
}

/** What an earlier build got from this URL, if it is still here. */
function readMemo(url: string, options: DownloadOptions): Download | undefined {
  const text = readTextIfExists(memoPath(url, options))
  if (text === undefined) return undefined
  const { digest, size, etag, lastModified } = parseMemo(text)
  const known = typeof digest === 'string' ? parseDigest(digest) : undefined
  if (known === undefined || typeof size !== 'number' || !options.blobs.has(known)) return undefined
  return { digest: known, size, etag: String(etag), lastModified: String(lastModified), isFresh: false }
}

/** A damaged memo is a forgotten one. */
function parseMemo(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}

const waitsMs = [500, 1500]
const transientStatuses: ReadonlySet<number> = new Set([408, 425, 429])

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

/** How a URL is reached: what is sent with every request, and through which sockets. */
interface Connection extends AsyncDisposable {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly dispatcher: Dispatcher
  readonly fetch: typeof import('undici').fetch
}

const connectLimitMs = 30_000
/** How long a server may say nothing. */
const silenceLimitMs = 120_000

async function connect(text: string, options: DownloadOptions): Promise<Connection> {
  const { url, authorization } = splitCredentials(text)
  const secret = await authorizationFrom(new URL(url).hostname, options)
  const { Agent, ProxyAgent, fetch } = await import('undici')
  const roots = url.startsWith('https:') ? await loadRoots(tlsSettingsFrom(options.env)) : undefined
  const trust = { timeout: connectLimitMs, ...(roots === undefined ? {} : { ca: [...roots] }) }
  const limits = { headersTimeout: silenceLimitMs, bodyTimeout: silenceLimitMs }
  const direct = new Agent({ ...limits, connect: trust })
  const proxies = new Map<string, Dispatcher>()
  const settings = proxyFromEnv(options.env)
  // Chosen for each request: a redirect may lead to a host that the proxy is not for.
  const dispatcher = direct.compose((dispatch) => (request, handler) => {
    const proxy = proxyFor(new URL(String(request.origin)), settings)
    if (proxy === undefined) return dispatch(request, handler)
    const agent = proxies.get(proxy.href) ?? new ProxyAgent({ ...limits, uri: proxy.href, requestTls: trust, proxyTls: trust })
    proxies.set(proxy.href, agent)
    return agent.dispatch(request, handler)
  })
  const release = async (): Promise<void> => {
    await Promise.all([direct, ...proxies.values()].map((agent) => agent.destroy()))
  }
  const known = secret ?? authorization
  // A server may not compress: the length is compared with what comes, and an archive must come as it is.
  const headers = {
    'accept-encoding': 'identity',
    'user-agent': 'mille',
    ...(known === undefined ? {} : { authorization: known }),
  }
  return { url, headers, dispatcher, fetch, [Symbol.asyncDispose]: release }
}

/** The header for a host out of the build's secrets: all of it, or a bearer token, which wins as in BuildKit. */
async function authorizationFrom(host: string, { findSecret }: DownloadOptions): Promise<string | undefined> {
  const token = await findSecret(`HTTP_AUTH_TOKEN_${host}`)
  if (token !== undefined) return `Bearer ${textOf(token)}`
  const header = await findSecret(`HTTP_AUTH_HEADER_${host}`)
  return header === undefined ? undefined : textOf(header)
}

/** A file with a secret often ends with a newline, which no header may have. */
function textOf(secret: Uint8Array): string {
  return Buffer.from(secret).toString('utf8').trim()
}

interface Transfer {
  readonly request: DownloadRequest
  readonly options: DownloadOptions
  readonly connection: Connection
  readonly ctx: Context
}

type Response = Awaited<ReturnType<typeof import('undici').fetch>>

const unclaimed: Claim = { isOurs: true, release: () => undefined }

/** Asks for a file. Only when its bytes come it is seen to that no other process fetches it too: `isPatient` waits for that one. */
async function transfer(work: Transfer, saved: Download | undefined, isPatient: boolean): Promise<Download> {
  const { request, options, ctx } = work
  try {
    const response = await ask(work, conditionOf(saved))
    if (response.status === 304 && saved !== undefined) return saved
    if (!response.ok || response.body === null) throw await refused(response, request.url)
    const claim = isPatient ? options.claims.take('download', digestOf(request.url)) : unclaimed
    if (!claim.isOurs) {
      await response.body.cancel()
      await waitFor(claim, work)
      // What the other one got counts when the server says so.
      return await transfer(work, readMemo(request.url, options), false)
    }
    return await receive(response, work).finally(() => claim.release('done'))
  } catch (error) {
    ctx.signal.throwIfAborted()
    if (error instanceof BuildError) throw error
    throw failed(request.url, reasonOf(error), true, error)
  }
}

/** Takes the bytes, and remembers what the server says of them. */
async function receive(response: Response, work: Transfer): Promise<Download> {
  const { request, options, ctx } = work
  const bytes = reporting(wholeBody(response, work), response, work)
  const { digest, size } = await options.blobs.write(bytes, undefined, ctx.signal)
  const lastModified = response.headers.get('last-modified') ?? ''
  const memo = { digest, size, etag: response.headers.get('etag') ?? '', lastModified }
  writeFileAtomic(memoPath(request.url, options), JSON.stringify(memo))
  return { ...memo, isFresh: true }
}

async function waitFor(claim: Extract<Claim, { isOurs: false }>, { request, ctx }: Transfer): Promise<void> {
  const id = request.progressId
  const tell = (isOver: boolean, process?: WorkingProcess): void => {
    const work = `downloads ${publicUrl(request.url)}`
    const event = { type: 'waiting', id, name: id, atMs: Date.now(), isOver, work } as const
    ctx.emit(process === undefined ? event : { ...event, process })
  }
  tell(false, claim.process)
  await claim.ended(ctx.signal, (process) => tell(false, process))
  tell(true)
}

function ask({ connection, ctx }: Transfer, more: Readonly<Record<string, string>>): Promise<Response> {
  const { url, headers, dispatcher, fetch } = connection
  return fetch(url, { headers: { ...headers, ...more }, dispatcher, signal: ctx.signal })
}

function conditionOf(saved: Download | undefined): Record<string, string> {
  if (saved?.etag) return { 'if-none-match': saved.etag }
  return saved?.lastModified ? { 'if-modified-since': saved.lastModified } : {}
}

async function refused(response: Response, url: string): Promise<BuildError> {
  const { status, statusText } = response
  await response.body?.cancel()
  const isTransient = status >= 500 || transientStatuses.has(status)
  const error = failed(url, `the server answered ${status} ${statusText}`.trim(), isTransient)
  if (status === 401 || status === 403)
    error.hint = `give --secret id=HTTP_AUTH_TOKEN_${new URL(url).hostname} when it needs a token`
  return error
}

const resumeLimit = 5

/** The body to its end. Where it breaks off, the rest is asked for, as long as the file is the same and bytes come. */
async function* wholeBody(first: Response, work: Transfer): AsyncGenerator<Uint8Array, void, void> {
  const total = lengthOf(first)
  let response = first
  let current = 0
  for (let resumes = 0; ; resumes++) {
    try {
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        current += chunk.length
        yield chunk
      }
      if (total === undefined || current >= total) return
      throw new Error(`the connection ended after ${current} of ${total} bytes`)
    } catch (error) {
      work.ctx.signal.throwIfAborted()
      const rest = resumes < resumeLimit && current > 0 ? await askRest(first, current, work) : undefined
      if (rest === undefined) throw error
      response = rest
    }
  }
}

/** The answer with the bytes from `from` on; undefined when the server cannot, or has another file now. */
async function askRest(first: Response, from: number, work: Transfer): Promise<Response | undefined> {
  const etag = first.headers.get('etag')
  // A weak tag says that the files mean the same, not that their bytes are the same.
  const sameAs = etag !== null && !etag.startsWith('W/') ? etag : first.headers.get('last-modified')
  if (sameAs === null || first.headers.get('accept-ranges') !== 'bytes') return undefined
  const response = await ask(work, { range: `bytes=${from}-`, 'if-range': sameAs })
  const begins = response.headers.get('content-range')?.startsWith(`bytes ${from}-`)
  if (response.status === 206 && begins === true && response.body !== null) return response
  await response.body?.cancel()
  return undefined
}

function lengthOf(response: Response): number | undefined {
  const text = response.headers.get('content-length')
  return text === null || !/^\d+$/.test(text) ? undefined : Number(text)
}

async function* reporting(
  bytes: AsyncIterable<Uint8Array>,
  response: Response,
  { request, ctx }: Transfer,
): AsyncGenerator<Uint8Array, void, void> {
  const event = { type: 'progress', id: request.progressId, item: publicUrl(request.url) } as const
  const total = lengthOf(response)
  const known = total === undefined ? {} : { total }
  let current = 0
  for await (const chunk of bytes) {
    current += chunk.length
    yield chunk
    ctx.emit({ ...event, current, ...known, done: false, atMs: Date.now() })
  }
  ctx.emit({ ...event, current, total: current, done: true, atMs: Date.now() })
}

function failed(url: string, reason: string, transient: boolean, cause?: unknown): BuildError {
  const Kind = transient ? TransientError : BuildError
  return new Kind('ADD_DOWNLOAD_FAILED', `${publicUrl(url)} cannot be downloaded: ${reason}`, { cause })
}

/** fetch hides the system's reason one level down. */
function reasonOf(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return inner instanceof Error ? inner.message || inner.name : String(inner)
}

function splitCredentials(text: string): { readonly url: string; readonly authorization: string | undefined } {
  const url = new URL(text)
  if (url.username === '' && url.password === '') return { url: text, authorization: undefined }
  const pair = [url.username, url.password].map(decodeSafely).join(':')
  url.username = ''
  url.password = ''
  return { url: url.href, authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}

/** What is no valid percent-encoding is taken as it is. */
function decodeSafely(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return text
    throw error
  }
}

/** A URL as messages may show it: without credentials. */
export function publicUrl(text: string): string {
  return URL.canParse(text) ? splitCredentials(text).url : text
}
