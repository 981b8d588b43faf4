/**
 * Errors of registries: from answers, from the network, and which of them are worth another try.
 *
 * Texts never hold credentials: a URL is printed as origin and path only, because its query may carry signed tokens.
 * Spec: distribution-spec, "Error Codes".
 */
import { BuildError, type ErrorCode, RegistryError, systemCode } from '../core/errors.js'

/** An error that another try may cure. `retryAfterMs` is what the registry asked for. */
export class TransientRegistryError extends RegistryError {
  retryAfterMs: number | undefined
}

/** What was asked, for the text of an error. `registry` is the host as the user wrote it. */
export interface Asked {
  readonly method: string
  readonly url: URL
  readonly registry: string
  /** What the request was for: `team/app:1.2` and the like. */
  readonly subject: string
}

/** An answer that was not what we need. `body` is its text, cut to some kilobytes. */
export interface RefusedAnswer {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly body: string
  /** True when credentials were sent. */
  readonly authorized: boolean
  readonly nowMs: number
}

/** A URL without user, password, query and fragment. */
export function redactUrl(url: URL): string {
  return `${url.origin}${url.pathname}`
}

/** Takes tokens, authorisation values and the secret parts of URLs out of somebody else's text. */
export function redactText(text: string): string {
  return text
    .replace(/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}/gi, '$1 ***')
    .replace(/(https?:\/\/)[^\s/@"']+@/gi, '$1')
    .replace(/(https?:\/\/[^\s?"']+)\?[^\s"']*/gi, '$1')
}

/** The error for an answer with an unexpected status. */
export function statusError(asked: Asked, answer: RefusedAnswer): RegistryError {
  const { codes, messages } = readErrorBody(answer.body)
  const code = codeOf(answer.status, codes)
  const details = {
    method: asked.method,
    url: redactUrl(asked.url),
    status: answer.status,
    errors: codes,
    hint: hintOf(code, asked, answer),
  }
  const said = messages.length > 0 ? `: ${messages.join('; ')}` : ''
  const message = `${describeStatus(code, asked, answer)}${said}`
  if (!isTransientStatus(answer.status)) return new RegistryError(code, message, details)
  const error = new TransientRegistryError(code, message, details)
  error.retryAfterMs = parseRetryAfter(answer.retryAfter, answer.nowMs)
  return error
}

function isTransientStatus(status: number): boolean {
  return status === 408 || status === 429 || status === 500 || status === 502 || status === 503 || status === 504
}

function codeOf(status: number, codes: readonly string[]): ErrorCode {
  if (status === 429 || codes.includes('TOOMANYREQUESTS')) return 'REGISTRY_RATE_LIMITED'
  if (status === 403 || (status === 401 && codes.includes('DENIED'))) return 'REGISTRY_DENIED'
  if (status === 401) return 'REGISTRY_UNAUTHORIZED'
  if (status === 404) return 'REGISTRY_NOT_FOUND'
  return status >= 500 ? 'REGISTRY_SERVER_ERROR' : 'REGISTRY_PROTOCOL'
}

function describeStatus(code: ErrorCode, asked: Asked, answer: RefusedAnswer): string {
  const { registry, subject } = asked
  switch (code) {
    case 'REGISTRY_RATE_LIMITED':
      return `${registry} limits how often it answers, and the limit is reached`
    case 'REGISTRY_DENIED':
      return `${registry} denies access to ${subject}`
    case 'REGISTRY_UNAUTHORIZED':
      return answer.authorized
        ? `${registry} does not accept the credentials for ${subject}`
        : `${registry} wants a login for ${subject}`
    case 'REGISTRY_NOT_FOUND':
      return `${registry} has no ${subject}`
    default:
      return `${registry} answered ${asked.method} ${asked.url.pathname} with status ${answer.status}`
  }
}

function hintOf(code: ErrorCode, asked: Asked, answer: RefusedAnswer): string | undefined {
  if (code === 'REGISTRY_UNAUTHORIZED' || code === 'REGISTRY_DENIED') {
    const name = asked.registry === 'docker.io' ? '' : ` ${asked.registry}`
    const again = answer.authorized ? 'log in as a user who may: ' : ''
    return `${again}mille login${name}${answer.authorized ? '' : '; or check the name: some registries say this of repositories that do not exist'}`
  }
  if (code === 'REGISTRY_RATE_LIMITED')
    return answer.authorized ? 'try again later' : 'log in, which raises the limit, or try again later'
  return undefined
}

/** The `errors` of an answer's body; messages are redacted and cut. */
export function readErrorBody(body: string): { codes: string[]; messages: string[] } {
  const codes: string[] = []
  const messages: string[] = []
  const parsed = parseJson(body)
  const list = isRecord(parsed) && Array.isArray(parsed.errors) ? parsed.errors : []
  for (const item of list.slice(0, 5)) {
    if (!isRecord(item)) continue
    if (typeof item.code === 'string') codes.push(item.code.slice(0, 80))
    if (typeof item.message === 'string' && item.message !== '') messages.push(redactText(item.message.slice(0, 300)))
  }
  return { codes, messages }
}

/** JSON, or undefined when `text` is not JSON: error pages of proxies are HTML. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** True for a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `Retry-After` in milliseconds from now: seconds or an HTTP date. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value.trim())) return Number(value.trim()) * 1000
  const at = Date.parse(value)
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs)
}

/** The code of an exchange in which no byte moved for too long. */
export const idleCode = 'MILLE_IDLE'

const unreachableCodes: Readonly<Record<string, string>> = {
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'its name could not be looked up just now',
  ECONNREFUSED: 'nothing listens there',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'there is no route to it',
  ETIMEDOUT: 'it does not answer',
  ECONNRESET: 'the connection was cut',
  EPIPE: 'the connection was cut',
  [idleCode]: 'it stopped answering',
}

/**
 * The error for a request that got no (whole) answer. `reached` is true when this registry has answered before: then a
 * refused connection is a restart, which waiting may cure. Otherwise it is a wrong name or a machine without network, and an
 * answer at once is worth more than a retry.
 */
export function networkError(asked: Asked, cause: unknown, reached: boolean): BuildError {
  // Not the registry's doing: a damaged blob, say, that was to be sent.
  if (cause instanceof BuildError) return cause
  const code = systemCode(cause) ?? ''
  const details = { method: asked.method, url: redactUrl(asked.url), cause }
  if (isTlsCode(code)) {
    const why = cause instanceof Error ? firstLine(cause.message) : code
    const hint = `if you trust this registry, put its CA into /etc/docker/certs.d/${asked.registry}/ca.crt, or allow it as insecure`
    return new RegistryError('REGISTRY_TLS', `no TLS connection to ${asked.url.host}: ${why}`, { ...details, hint })
  }
  const why =
    unreachableCodes[code] ??
    (code.startsWith('HPE_') ? 'it does not speak HTTP' : firstLine(String((cause as Error)?.message ?? cause)))
  const message = `no answer from ${asked.registry}${asked.url.host === asked.registry ? '' : ` (${asked.url.host})`}: ${why}`
  const passing = code === 'ECONNRESET' || code === 'EPIPE' || code === idleCode || (reached && code in unreachableCodes)
  if (passing) return new TransientRegistryError('REGISTRY_UNREACHABLE', message, details)
  return new RegistryError('REGISTRY_UNREACHABLE', message, details)
}

function isTlsCode(code: string): boolean {
  return /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|EPROTO|HOSTNAME_MISMATCH|ERR_OSSL_)/.test(code)
}

function firstLine(text: string): string {
  return redactText(text.split('\n')[0] ?? '')
    .replace(/^[0-9A-F]{8,}:error:[0-9A-F]+:/, '')
    .slice(0, 300)
}
