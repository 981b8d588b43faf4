/** Requests to services that keep caches: answers, or errors that say whether another try may help. */
import type { Context } from '../core/context.js'
import { BuildError, type ErrorCode, RegistryError } from '../core/errors.js'
import { collect, limited } from '../io/stream.js'
import { networkError, parseRetryAfter, redactText, redactUrl, TransientRegistryError } from '../registry/errors.js'
import type { Transport, WireBody, WireResponse } from '../registry/transport.js'

/** What is asked. */
export interface PlaceRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: WireBody
  /** The statuses that are an answer; all others are thrown. */
  readonly accept: readonly number[]
  /** For errors: `the cache entry NAME`. */
  readonly subject: string
}

const errorLimitBytes = 16 << 10

/** Requests of one place. The transport stays the caller's to close. */
export class PlaceHttp {
  readonly #transport: Transport
  /** Hosts that have answered: one that then refuses is restarting, one that never did has a wrong name. */
  readonly #reached = new Set<string>()

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Sends a request; the body of the answer is the caller's to read or destroy. */
  async send(request: PlaceRequest, ctx: Context): Promise<WireResponse> {
    const { method, url, headers, body } = request
    let answer: WireResponse
    try {
      answer = await this.#transport.send({ method, url, headers, body, verifyTls: true, signal: ctx.signal })
    } catch (error) {
      throw lost(error, request, this.#reached.has(url.host), ctx)
    }
    this.#reached.add(url.host)
    if (request.accept.includes(answer.status)) return answer
    throw refusal(request, answer, (await readText(answer, request, ctx)).toString())
  }

  /** The same with the answer's bytes, of which there may be `limitBytes`. */
  async ask(
    request: PlaceRequest,
    limitBytes: number,
    ctx: Context,
  ): Promise<{ readonly status: number; readonly bytes: Buffer }> {
    const answer = await this.send(request, ctx)
    const bytes = limited(answerBytes(answer, request, ctx), limitBytes, 'CACHE_BAD', `the answer for ${request.subject}`)
    return { status: answer.status, bytes: await collect(bytes) }
  }
}

/** The bytes of an answer; a connection that is cut becomes a `TransientRegistryError`. */
export async function* answerBytes(
  answer: WireResponse,
  request: PlaceRequest,
  ctx: Context,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    for await (const chunk of answer.body) yield chunk as Uint8Array
  } catch (error) {
    throw lost(error, request, true, ctx)
  } finally {
    answer.body.destroy()
  }
}

function lost(error: unknown, { method, url, subject }: PlaceRequest, reached: boolean, { signal }: Context): unknown {
  signal.throwIfAborted()
  const found = networkError({ method, url, registry: url.host, subject }, error, reached)
  if (!(found instanceof RegistryError)) return found
  const kind = found instanceof TransientRegistryError ? TransientRegistryError : RegistryError
  return new kind('CACHE_UNREACHABLE', found.message, { cause: error })
}

/** The status of an answer that is no answer, and what its body says about it. */
function refusal({ method, url, subject }: PlaceRequest, answer: WireResponse, text: string): BuildError {
  const said = messageIn(text)
  const { status } = answer
  const what = `${url.host} answered ${status} for ${subject}${said === '' ? '' : `: ${said}`}`
  const details = { method, url: redactUrl(url), status, errors: codesIn(text) }
  if (status !== 408 && status !== 429 && status < 500) return new RegistryError(codeOf(status), what, details)
  const error = new TransientRegistryError('CACHE_UNREACHABLE', what, details)
  error.retryAfterMs = parseRetryAfter(answer.headers['retry-after'], Date.now())
  return error
}

function codeOf(status: number): ErrorCode {
  return status === 401 || status === 403 ? 'CACHE_DENIED' : 'CACHE_UNREACHABLE'
}

/** Twirp's `{"code":…,"msg":…}`, or the code in Azure's XML; other texts say nothing that helps. */
function messageIn(text: string): string {
  const found = /"msg"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? /<Message>([^<]*)/.exec(text)?.[1] ?? ''
  return redactText(found.split('\n')[0] ?? '').slice(0, 300)
}

function codesIn(text: string): readonly string[] {
  const code = /"code"\s*:\s*"([\w-]{1,80})"/.exec(text)?.[1] ?? /<Code>(\w{1,80})/.exec(text)?.[1]
  return code === undefined ? [] : [code]
}

async function readText(answer: WireResponse, request: PlaceRequest, ctx: Context): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of answerBytes(answer, request, ctx)) {
      chunks.push(chunk)
      size += chunk.length
      if (size > errorLimitBytes) break
    }
  } catch (error) {
    // The status alone says enough; a cut body only takes its explanation away.
    if (!(error instanceof BuildError)) throw error
  }
  return Buffer.concat(chunks)
}
