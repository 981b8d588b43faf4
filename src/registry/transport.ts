/**
 * One HTTP exchange: connections that are kept, proxies, TLS, time limits, streamed bodies.
 *
 * On node:http, not on an HTTP package: loading undici costs 60 ms even when bundled, node:http 9 ms, and the push of a small layer
 * should take 80 ms in all. Knows nothing of registries: no retry, no authorisation, no redirects.
 */

import type { Agent, ClientRequest, IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { SecureContext } from 'node:tls'
import { awaitedLater } from '../core/awaited.js'
import { systemCode } from '../core/errors.js'
import { idleCode } from './errors.js'
import { openTunnel, type ProxySettings, proxyAddress, proxyAuthorization, proxyFor } from './proxy.js'
import { loadHostMaterial, loadRoots, type TlsSettings } from './tls.js'

/** A body of known size; `open` is called again when the request has to be sent again. */
export interface WireBody {
  readonly size: number
  readonly open: () => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>
  /** The whole of it, where it is in memory: sent with the head, without the streams that a larger body needs. */
  readonly bytes?: Uint8Array
}

/** A body that is in memory. */
export function bodyInMemory(bytes: Uint8Array): WireBody {
  return { size: bytes.length, open: () => Readable.from([bytes]), bytes }
}

/** One request. Header names are lower case. */
export interface WireRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: WireBody | undefined
  /** False: any certificate will do. */
  readonly verifyTls: boolean
  readonly signal: AbortSignal
}

/** An answer; its body must be read to the end or destroyed. */
export interface WireResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: IncomingMessage
  readonly url: URL
}

/** How the transport connects. Times are milliseconds without any byte moving. */
export interface TransportOptions {
  readonly connectionsPerHost: number
  readonly connectTimeoutMs: number
  readonly idleTimeoutMs: number
  /** For uploads: a registry may take minutes to put a large blob away before it answers. */
  readonly uploadIdleTimeoutMs: number
  readonly proxy: ProxySettings
  readonly tls: TlsSettings
}

/** A system error of our own making, so that it is told apart by its code like all others. */
class TimeoutError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** The pool of connections of one client. */
export class Transport {
  readonly #options: TransportOptions
  readonly #agents = new Map<string, Promise<Agent>>()
  #sharedContext: Promise<SecureContext> | undefined

  constructor(options: TransportOptions) {
    this.#options = options
  }

  /** Sends one request and resolves with the head of its answer. Rejects with Node's own error, or the signal's reason. */
  async send(request: WireRequest): Promise<WireResponse> {
    request.signal.throwIfAborted()
    const proxy = proxyFor(request.url, this.#options.proxy)
    const agent = await this.#agentFor(request, proxy)
    for (;;) {
      const sent = await this.#open(request, proxy, agent)
      try {
        return await this.#exchange(request, sent)
      } catch (error) {
        sent.destroy()
        request.signal.throwIfAborted()
        // The server closed a kept connection just as it was taken: that says nothing, a fresh one is tried at once.
        const isStale = sent.reusedSocket && systemCode(error) === 'ECONNRESET' && request.body === undefined
        if (!isStale) throw error
      }
    }
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    for (const agent of this.#agents.values()) (await agent).destroy()
    this.#agents.clear()
  }

  async #open(request: WireRequest, proxy: URL | undefined, agent: Agent): Promise<ClientRequest> {
    const { url, method, body } = request
    const headers: OutgoingHttpHeaders = { ...request.headers, 'accept-encoding': 'identity' }
    if (body !== undefined) headers['content-length'] = body.size
    else if (method !== 'GET' && method !== 'HEAD') headers['content-length'] = 0
    if (url.protocol === 'https:') return (await import('node:https')).request(url, { method, headers, agent })
    const { request: open } = await import('node:http')
    if (proxy === undefined) return open(url, { method, headers, agent })
    const authorization = proxyAuthorization(proxy)
    if (authorization !== undefined) headers['proxy-authorization'] = authorization
    headers.host = url.host
    return open({ ...proxyAddress(proxy), path: url.href, method, headers, agent })
  }

  async #exchange(request: WireRequest, sent: ClientRequest): Promise<WireResponse> {
    const { connectTimeoutMs, idleTimeoutMs, uploadIdleTimeoutMs } = this.#options
    const idleMs = request.body === undefined ? idleTimeoutMs : uploadIdleTimeoutMs
    endOnAbort(sent, request.signal)
    limitConnect(sent, connectTimeoutMs)
    sent.setTimeout(idleMs, () => sent.destroy(new TimeoutError(idleCode, `no byte moved within ${idleMs / 1000} s`)))
    const answered = awaitedLater(
      new Promise<WireResponse>((resolve, reject) => {
        sent.once('response', (body) => resolve({ status: body.statusCode ?? 0, headers: body.headers, body, url: request.url }))
        sent.once('error', reject)
      }),
    )
    if (request.body === undefined || request.body.bytes !== undefined) {
      sent.end(request.body?.bytes)
      return answered
    }
    // The answer may come before the body has gone (a refusal): then the rest of the body is not sent.
    const sending = sendBody(request.body, sent)
    const answer = await Promise.race([answered, sending.then(() => answered)])
    if (!sent.writableFinished) {
      // It breaks off when the socket is closed, which is meant.
      void Promise.allSettled([sending])
      answer.body.once('end', () => sent.destroy())
    }
    return answer
  }

  #agentFor(request: WireRequest, proxy: URL | undefined): Promise<Agent> {
    const { url, verifyTls } = request
    const key = `${url.protocol}//${url.host} ${proxy?.href ?? ''} ${verifyTls}`
    const known = this.#agents.get(key)
    if (known !== undefined) return known
    const made = this.#makeAgent(url, proxy, verifyTls)
    this.#agents.set(key, made)
    return made
  }

  async #makeAgent(url: URL, proxy: URL | undefined, verifyTls: boolean): Promise<Agent> {
    const base = { keepAlive: true, maxSockets: this.#options.connectionsPerHost, scheduling: 'lifo' as const }
    if (url.protocol !== 'https:') {
      const usesTls = proxy?.protocol === 'https:'
      return usesTls ? new (await import('node:https')).Agent(base) : new (await import('node:http')).Agent(base)
    }
    const https = await import('node:https')
    const tls = await import('node:tls')
    const secureContext = await this.#secureContext(url.host, verifyTls)
    const agent = new https.Agent({ ...base, secureContext, rejectUnauthorized: verifyTls })
    if (proxy === undefined) return agent
    const target = `${url.hostname}:${url.port || 443}`
    const { connectTimeoutMs } = this.#options
    type Connect = (options: import('node:tls').ConnectionOptions, done: (error: unknown, socket?: Socket) => void) => void
    const createConnection: Connect = (options, done) => {
      openTunnel(proxy, target, connectTimeoutMs).then(
        (socket) => done(null, tls.connect({ ...options, socket, secureContext, rejectUnauthorized: verifyTls })),
        done,
      )
    }
    return Object.assign(agent, { createConnection })
  }

  /** Reading all authorities costs 50 ms, so hosts without certificates of their own share a context. */
  async #secureContext(host: string, verifyTls: boolean): Promise<SecureContext> {
    const { createSecureContext } = await import('node:tls')
    const own = loadHostMaterial(host, this.#options.tls)
    const { ca = [], ...client } = own ?? {}
    if (!verifyTls) return createSecureContext(client)
    if (own === undefined) {
      this.#sharedContext ??= loadRoots(this.#options.tls).then((roots) =>
        createSecureContext(roots === undefined ? {} : { ca: [...roots] }),
      )
      return this.#sharedContext
    }
    const roots = (await loadRoots(this.#options.tls)) ?? (await import('node:tls')).rootCertificates
    return createSecureContext({ ...client, ca: [...ca, ...roots] })
  }
}

/** An abort ends the exchange, also while its answer is read. Node's own `signal` option does the same and loads more for it. */
function endOnAbort(sent: ClientRequest, signal: AbortSignal): void {
  const end = (): void => {
    sent.destroy(new Error('the request was aborted'))
  }
  if (signal.aborted) end()
  signal.addEventListener('abort', end, { once: true })
  sent.once('close', () => signal.removeEventListener('abort', end))
}

function limitConnect(sent: ClientRequest, timeoutMs: number): void {
  sent.once('socket', (socket: Socket) => {
    if (!socket.connecting) return
    const timer = setTimeout(
      () => sent.destroy(new TimeoutError('ETIMEDOUT', `no connection within ${timeoutMs / 1000} s`)),
      timeoutMs,
    )
    const clear = (): void => clearTimeout(timer)
    socket.once('connect', clear)
    socket.once('close', clear)
  })
}

/** Sends the body and sees to it that it has exactly the promised size: another one would garble the connection. */
async function sendBody(body: WireBody, sent: ClientRequest): Promise<void> {
  const bytes = await body.open()
  await pipeline(bytes instanceof Readable ? bytes : Readable.from(bytes), (chunks) => exactly(chunks, body.size), sent)
}

async function* exactly(bytes: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array, void, void> {
  let seen = 0
  for await (const chunk of bytes) {
    seen += chunk.length
    if (seen > size) break
    yield chunk
  }
  if (seen !== size)
    throw new Error(`the body to send has ${seen > size ? 'more than ' : ''}${seen} bytes, its descriptor says ${size}`)
}
