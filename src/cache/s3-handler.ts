/**
 * The AWS SDK's requests, sent as those to registries are: through the same proxies, with the same certificates and time
 * limits. The SDK's own sender knows none of them.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import { idleCode } from '../registry/errors.js'
import type { Transport } from '../registry/transport.js'
import { oneBlock } from './blocks.js'

type RequestHandler = Extract<NonNullable<S3ClientConfig['requestHandler']>, { handle: unknown }>
type Handle = RequestHandler['handle']
type HttpRequest = Parameters<Handle>[0]
type Handled = Awaited<ReturnType<Handle>>

/** A request handler for clients of the SDK. The transport stays the caller's to close. */
export function sdkHandler(transport: Transport): RequestHandler {
  const never = new AbortController().signal
  const handle = async (request: HttpRequest, { abortSignal }: { abortSignal?: unknown } = {}): Promise<Handled> => {
    const bytes = bodyOf(request)
    const body = bytes === undefined ? undefined : { size: bytes.length, open: () => oneBlock(bytes) }
    const signal = abortSignal instanceof AbortSignal ? abortSignal : never
    try {
      const { method } = request
      const wire = { method, url: urlOf(request), headers: withoutLength(request.headers), body, verifyTls: true, signal }
      const answer = await transport.send(wire)
      const response = { statusCode: answer.status, headers: joined(answer.headers), body: answer.body }
      return { response: response as Handled['response'] }
    } catch (error) {
      throw passing(error)
    }
  }
  const none = (): void => undefined
  return { handle, updateHttpClientConfig: none, httpHandlerConfigs: () => ({}), destroy: none } as RequestHandler
}

/** The SDK tries again after errors with this name. */
function passing(error: unknown): unknown {
  if (error instanceof Error && 'code' in error && error.code === idleCode) error.name = 'TimeoutError'
  return error
}

/** Bodies are parts in memory, so that each can be sent again. */
function bodyOf({ body }: HttpRequest): Uint8Array | undefined {
  if (body === undefined || body === null || body === '') return undefined
  if (typeof body === 'string') return Buffer.from(body)
  if (body instanceof Uint8Array) return body
  throw new Error('a request to S3 has a body that is not in memory')
}

function urlOf({ protocol, hostname, port, path, query }: HttpRequest): URL {
  const host = hostname.includes(':') && !hostname.startsWith('[') ? `[${hostname}]` : hostname
  const pairs = Object.entries(query ?? {}).flatMap(([key, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) =>
      one === null ? percentEncode(key) : `${percentEncode(key)}=${percentEncode(one)}`,
    ),
  )
  return new URL(
    `${protocol}//${host}${port === undefined ? '' : `:${port}`}${path}${pairs.length === 0 ? '' : `?${pairs.join('&')}`}`,
  )
}

/** As the signature has it: RFC 3986, which `encodeURIComponent` is but for five characters. */
function percentEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** The transport sets the length; the SDK's spelling beside it would send it twice. */
function withoutLength(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => {
      const lower = name.toLowerCase()
      return lower === 'content-length' ? [] : [[lower, value]]
    }),
  )
}

function joined(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, typeof value === 'string' ? value : value.join(', ')]],
    ),
  )
}
