/**
 * `RegistryClient`: requests to registries by the host in an image's name. Finds the scheme, authorises, follows
 * redirects, turns bad answers into errors, tries again. Knows no manifests and no blobs.
 *
 * Spec: distribution-spec. An `Authorization` goes to the registry's own origin and to nobody else.
 */
import type { Context } from '../core/context.js'
import { RegistryError, systemCode } from '../core/errors.js'
import { collect, limited } from '../io/stream.js'
import { Authenticator, type TokenRequest, tokenSubject } from './auth.js'
import type { FindCredentials } from './credentials.js'
import { type Asked, networkError, statusError } from './errors.js'
import { isLoopback, type ProxySettings } from './proxy.js'
import { defaultRetryPolicy, type RetryPolicy, retrying } from './retry.js'
import type { TlsSettings } from './tls.js'
import { bodyInMemory, Transport, type WireBody, type WireRequest, type WireResponse } from './transport.js'

/** How a client behaves; every field has a default that touches nothing outside. */
export interface RegistryClientOptions {
  readonly credentials?: FindCredentials
  /** Hosts that may be spoken to over http or with a certificate nobody vouches for. Loopback addresses always may. */
  readonly insecureRegistries?: readonly string[]
  readonly proxy?: ProxySettings
  readonly tls?: Partial<TlsSettings>
  readonly retry?: RetryPolicy
  /** Blobs that are transferred at once. */
  readonly transfers?: number
  readonly userAgent?: string
  readonly connectTimeoutMs?: number
  readonly idleTimeoutMs?: number
  readonly uploadIdleTimeoutMs?: number
}

/** A request to a registry. `target` is a path below its origin, or a URL that it gave us. */
export interface RegistryRequest {
  readonly registry: string
  /** Whose credentials are used; empty for requests to the registry as a whole. */
  readonly repository: string
  readonly method: string
  readonly target: string | URL
  readonly scopes: readonly string[]
  /** The statuses that are an answer; all others are thrown. */
  readonly accept: readonly number[]
  /** For errors: `team/app:1.2`. */
  readonly subject: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: WireBody
}

interface Session {
  readonly registry: string
  readonly origin: URL
  readonly verifyTls: boolean
  /** By repository: podman's files may hold other credentials for a part of a registry. */
  readonly auths: Map<string, Authenticator>
  /** True once it has answered: see `networkError`. */
  reached: boolean
  /** The scheme is a guess, which the first answer confirms. */
  isGuess: boolean
  /** What the registry speaks in truth; none where the guess was right or nothing helps. */
  better?: Promise<Session | undefined>
}

const redirectLimit = 6
const errorBodyLimitBytes = 16 * 1024
const tokenLimitBytes = 1024 * 1024

/** Makes a client. Release it with `await using`: it keeps connections open. */
export function createRegistryClient(options: RegistryClientOptions = {}): RegistryClient {
  return new RegistryClient(options)
}

/** Speaks to any number of registries; connections, tokens and what was learned of a host are kept while it lives. */
export class RegistryClient implements AsyncDisposable {
  readonly retry: RetryPolicy
  readonly #options: RegistryClientOptions
  readonly #transport: Transport
  readonly #sessions = new Map<string, Promise<Session>>()
  #queue: Promise<{ add<T>(work: () => Promise<T>): Promise<T> }> | undefined

  constructor(options: RegistryClientOptions) {
    this.#options = options
    this.retry = options.retry ?? defaultRetryPolicy
    this.#transport = new Transport({
      connectionsPerHost: (options.transfers ?? 4) + 2,
      connectTimeoutMs: options.connectTimeoutMs ?? 15_000,
      idleTimeoutMs: options.idleTimeoutMs ?? 30_000,
      uploadIdleTimeoutMs: options.uploadIdleTimeoutMs ?? 600_000,
      proxy: options.proxy ?? {},
      tls: { certsDirectories: [], caFiles: [], ca: [], ...options.tls },
    })
  }

  /** One go, no retry. The answer's body is the caller's to read or destroy. */
  async send(request: RegistryRequest, ctx: Context): Promise<WireResponse> {
    const session = await this.#session(request.registry, ctx)
    try {
      const answer = await this.#sendIn(session, request, ctx)
      session.isGuess = false
      return answer
    } catch (error) {
      if (!session.isGuess || !mayBeWrongScheme(error)) throw error
      const better = await this.#overTls(session, ctx)
      if (better === undefined) throw error
      return this.#sendIn(better, request, ctx)
    }
  }

  async #sendIn(session: Session, request: RegistryRequest, ctx: Context): Promise<WireResponse> {
    const url = this.#urlOf(session, request.target)
    const own = url.origin === session.origin.origin
    const auth = this.#authOf(session, request.repository)
    const authorization = own ? await auth.header(request.scopes, ctx) : undefined
    let sent = authorization
    let answer = await this.#follow(session, request, url, sent, ctx)
    if (answer.status === 401 && own && !request.accept.includes(401)) {
      const challenge = joined(answer.headers['www-authenticate'])
      if (await auth.challenged(challenge, request.scopes, sent, ctx)) {
        await discard(answer)
        sent = await auth.header(request.scopes, ctx)
        answer = await this.#follow(session, request, url, sent, ctx)
      }
    }
    if (request.accept.includes(answer.status)) return answer
    const authorized = sent !== undefined && (await auth.hasCredentials(ctx))
    throw await refusal(askedOf(request, url), answer, authorized)
  }

  /** The whole answer in memory, tried again while that may help. More than `limitBytes` is REGISTRY_PROTOCOL. */
  async fetch(
    request: RegistryRequest,
    limitBytes: number,
    ctx: Context,
  ): Promise<{ readonly answer: WireResponse; readonly bytes: Buffer }> {
    return retrying(this.retry, ctx, async () => {
      const answer = await this.send(request, ctx)
      if (request.method === 'HEAD' || answer.headers['content-length'] === '0') {
        answer.body.resume()
        return { answer, bytes: Buffer.alloc(0) }
      }
      const body = bodyOf(askedOf(request, answer.url), answer, ctx)
      return { answer, bytes: await collect(limited(body, limitBytes, 'REGISTRY_PROTOCOL', `the answer for ${request.subject}`)) }
    })
  }

  /** Runs a transfer when one of the client's places is free. */
  async transfer<T>(work: () => Promise<T>): Promise<T> {
    this.#queue ??= import('p-queue').then(({ default: Queue }) => new Queue({ concurrency: this.#options.transfers ?? 4 }))
    return (await this.#queue).add(work)
  }

  /** `registry` without anything that may be learned of it later: to log in with other credentials. */
  withCredentials(credentials: FindCredentials): RegistryClient {
    return new RegistryClient({ ...this.#options, credentials })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport.close()
  }

  /** A `Location` may be relative, and may name http where a proxy ends the TLS: the session's scheme is kept. */
  #urlOf(session: Session, target: string | URL): URL {
    const url = typeof target === 'string' ? new URL(target, session.origin) : new URL(target)
    if (url.hostname === session.origin.hostname && url.protocol === 'http:' && session.origin.protocol === 'https:') {
      url.protocol = 'https:'
      if (session.origin.port !== url.port) url.port = session.origin.port
    }
    return url
  }

  /** Sends and follows redirects; away from the registry's origin without `authorization`. */
  async #follow(
    session: Session,
    request: RegistryRequest,
    start: URL,
    authorization: string | undefined,
    ctx: Context,
  ): Promise<WireResponse> {
    let url = start
    for (let hops = 0; hops <= redirectLimit; hops += 1) {
      const headers: Record<string, string> = { ...this.#ownHeaders(), ...request.headers }
      if (authorization !== undefined && url.origin === session.origin.origin) headers.authorization = authorization
      const verifyTls = session.verifyTls || url.host !== session.origin.host
      const wire = { method: request.method, url, headers, body: request.body, verifyTls, signal: ctx.signal }
      const answer = await this.#wire(askedOf(request, url), wire, session.reached)
      session.reached = true
      const location = answer.headers.location
      if (!isRedirect(answer.status, request.method) || location === undefined) return answer
      await discard(answer)
      if (!URL.canParse(location, url.href))
        throw new RegistryError('REGISTRY_PROTOCOL', `${request.registry} redirects to something that is no URL`)
      const next = new URL(location, url)
      if (!/^https?:$/.test(next.protocol) || (next.protocol === 'http:' && url.protocol === 'https:' && session.verifyTls)) {
        throw new RegistryError('REGISTRY_PROTOCOL', `${request.registry} redirects from ${url.protocol}// to ${next.protocol}//`)
      }
      url = next
    }
    throw new RegistryError(
      'REGISTRY_PROTOCOL',
      `${request.registry} redirects more than ${redirectLimit} times for ${request.subject}`,
    )
  }

  async #wire(asked: Asked, request: WireRequest, reached: boolean): Promise<WireResponse> {
    try {
      return await this.#transport.send(request)
    } catch (error) {
      request.signal.throwIfAborted()
      throw networkError(asked, error, reached)
    }
  }

  #session(registry: string, ctx: Context): Promise<Session> {
    const known = this.#sessions.get(registry)
    if (known !== undefined) return known
    const opened = this.#open(registry, ctx)
    this.#sessions.set(registry, opened)
    opened.catch(() => this.#sessions.delete(registry))
    return opened
  }

  async #open(registry: string, ctx: Context): Promise<Session> {
    const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry
    const hostname = new URL(`https://${host}`).hostname
    const lax =
      isLoopback(hostname) || (this.#options.insecureRegistries ?? []).some((name) => name === registry || name === hostname)
    if (!lax) return this.#makeSession(registry, new URL(`https://${host}`), true)
    // Nearly all of them speak http, and asking first would be a round trip more.
    if (isLoopback(hostname)) return { ...this.#makeSession(registry, new URL(`http://${host}`), false), isGuess: true }
    // Elsewhere TLS goes first, so that nothing is weaker than it must be.
    return this.#find(registry, [new URL(`https://${host}`), new URL(`http://${host}`)], ctx)
  }

  /** A session over TLS in the place of one that guessed http, where the registry speaks TLS; asked once for all requests. */
  #overTls(guess: Session, ctx: Context): Promise<Session | undefined> {
    const { registry, origin } = guess
    guess.better ??= (async () => {
      const better = this.#makeSession(registry, new URL(`https://${origin.host}`), false)
      try {
        await this.#askApi(registry, better.origin, ctx)
      } catch (error) {
        if (error instanceof RegistryError) return undefined
        throw error
      }
      this.#sessions.set(registry, Promise.resolve(better))
      return better
    })()
    return guess.better
  }

  /** The first of some origins that answers in its scheme. */
  async #find(registry: string, origins: readonly URL[], ctx: Context): Promise<Session> {
    let failure: unknown
    for (const origin of origins) {
      try {
        if (await this.#speaks(registry, origin, ctx)) return this.#makeSession(registry, origin, false)
      } catch (error) {
        ctx.signal.throwIfAborted()
        if (!(error instanceof RegistryError)) throw error
        failure ??= error
      }
    }
    throw failure ?? new RegistryError('REGISTRY_PROTOCOL', `${registry} speaks neither http nor https as a registry should`)
  }

  /** True when `origin` answers in its scheme. A TLS server answers plain http with 400 or not at all. */
  async #speaks(registry: string, origin: URL, ctx: Context): Promise<boolean> {
    const status = await retrying(this.retry, ctx, () => this.#askApi(registry, origin, ctx))
    return !(origin.protocol === 'http:' && status === 400)
  }

  /** The status with which a registry answers whether it is one. */
  async #askApi(registry: string, origin: URL, ctx: Context): Promise<number> {
    const url = new URL('/v2/', origin)
    const wire = { method: 'GET', url, headers: this.#ownHeaders(), verifyTls: false, signal: ctx.signal }
    const answer = await this.#wire({ method: 'GET', url, registry, subject: 'its API' }, wire, false)
    await discard(answer)
    return answer.status
  }

  #ownHeaders(): { readonly 'user-agent': string } {
    return { 'user-agent': this.#options.userAgent ?? 'mille' }
  }

  #makeSession(registry: string, origin: URL, verifyTls: boolean): Session {
    return { registry, origin, verifyTls, auths: new Map(), reached: false, isGuess: false }
  }

  #authOf(session: Session, repository: string): Authenticator {
    const known = session.auths.get(repository)
    if (known !== undefined) return known
    const { registry, origin, verifyTls } = session
    const find = this.#options.credentials
    const made = new Authenticator(
      registry,
      async (ctx) => find?.(registry, repository, ctx.signal),
      (request, ctx) => this.#fetchToken(registry, request, verifyTls, ctx),
      (realm) => realm.protocol === 'https:' || origin.protocol === 'http:' || isLoopback(realm.hostname),
    )
    session.auths.set(repository, made)
    return made
  }

  #fetchToken(
    registry: string,
    request: TokenRequest,
    verifyTls: boolean,
    ctx: Context,
  ): Promise<{ status: number; text: string }> {
    const form = request.form === undefined ? undefined : Buffer.from(request.form.toString())
    const asked = tokenSubject(registry, request.url)
    const headers: Record<string, string> = { ...this.#ownHeaders(), ...request.headers }
    if (form !== undefined) headers['content-type'] = 'application/x-www-form-urlencoded'
    return retrying(this.retry, ctx, async () => {
      const body = form === undefined ? undefined : bodyInMemory(form)
      const wire = { method: form === undefined ? 'GET' : 'POST', url: request.url, headers, body, verifyTls, signal: ctx.signal }
      const answer = await this.#wire(asked, wire, false)
      if (answer.status === 429 || answer.status >= 500) throw await refusal(asked, answer, headers.authorization !== undefined)
      const bytes = await collect(
        limited(bodyOf(asked, answer, ctx), tokenLimitBytes, 'REGISTRY_PROTOCOL', `the token of ${registry}`),
      )
      return { status: answer.status, text: bytes.toString() }
    })
  }
}

/** The bytes of an answer; a connection that is cut becomes a `TransientRegistryError`. */
export async function* bodyOf(asked: Asked, answer: WireResponse, ctx: Context): AsyncGenerator<Uint8Array, void, void> {
  try {
    for await (const chunk of answer.body) yield chunk as Uint8Array
  } catch (error) {
    ctx.signal.throwIfAborted()
    throw networkError(asked, error, true)
  } finally {
    answer.body.destroy()
  }
}

/** A TLS server answers plain http with 400, with bytes that are no HTTP, or by hanging up. */
function mayBeWrongScheme(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false
  const code = systemCode(error.cause) ?? ''
  return error.status === 400 || code === 'ECONNRESET' || code === 'EPIPE' || code.startsWith('HPE_')
}

/** Reads a small answer to its end, so that its connection can be used again. */
export async function discard(answer: WireResponse): Promise<void> {
  if (answer.headers['content-length'] === '0') {
    answer.body.resume()
    return
  }
  let seen = 0
  try {
    for await (const chunk of answer.body) {
      seen += (chunk as Uint8Array).length
      if (seen > errorBodyLimitBytes) return
    }
  } catch (error) {
    // The status was all we wanted; what is wrong with the rest shows again at the next request if it matters.
    if (!(error instanceof Error)) throw error
  }
}

/** What a request was about, for errors. */
export function askedOf(request: RegistryRequest, url: URL): Asked {
  return { method: request.method, url, registry: request.registry, subject: request.subject }
}

async function refusal(asked: Asked, answer: WireResponse, authorized: boolean): Promise<RegistryError> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of answer.body) {
      chunks.push(chunk as Uint8Array)
      size += (chunk as Uint8Array).length
      if (size > errorBodyLimitBytes) break
    }
  } catch (error) {
    // The status alone says enough; a cut body only takes its explanation away.
    if (!(error instanceof Error)) throw error
  }
  const body = Buffer.concat(chunks).toString()
  const retryAfter = answer.headers['retry-after']
  return statusError(asked, { status: answer.status, retryAfter, body, authorized, nowMs: Date.now() })
}

/** A 307 or 308 repeats any method; the older ones only what has no body. */
function isRedirect(status: number, method: string): boolean {
  if (status === 307 || status === 308) return true
  return (status === 301 || status === 302 || status === 303) && (method === 'GET' || method === 'HEAD')
}

function joined(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'object' ? value.join(', ') : value
}
