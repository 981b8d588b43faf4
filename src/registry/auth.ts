/**
 * The `Authorization` of requests to one registry: Basic, or Bearer tokens from the token server it names.
 *
 * Credentials are asked for only after a challenge, so open registries start no credential helper. A token serves all
 * requests of its scopes until it expires; requests that need the same one at once share the asking.
 * Spec: distribution, "Token Authentication" and "OAuth2 token authentication".
 */
import { ifFulfilled } from '../core/awaited.js'
import type { Context } from '../core/context.js'
import { RegistryError } from '../core/errors.js'
import { type Challenge, parseChallenges } from './challenge.js'
import type { Credentials } from './credentials.js'
import { type Asked, isRecord, parseJson } from './errors.js'

/** What the authenticator needs of its client: a request to the token server, with retries, and its answer's text. */
export type TokenFetch = (request: TokenRequest, ctx: Context) => Promise<{ readonly status: number; readonly text: string }>

/** A GET, or a POST of `form`. */
export interface TokenRequest {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly form?: URLSearchParams | undefined
}

interface Token {
  readonly value: string
  readonly expiresAtMs: number
}

/** Tokens are renewed this long before they expire: a request may wait for a connection. */
const expiryMarginMs = 10_000
/** What the specification says of a token that does not tell. */
const defaultLifeSeconds = 60

/** Knows how one registry wants its requests authorised. */
export class Authenticator {
  readonly #registry: string
  readonly #findCredentials: (ctx: Context) => Promise<Credentials | undefined>
  readonly #fetchToken: TokenFetch
  readonly #mayUse: (realm: URL) => boolean
  #credentials: Promise<Credentials | undefined> | undefined
  #challenge: Challenge | undefined
  readonly #tokens = new Map<string, Promise<Token>>()

  /** `mayUse` says whether credentials may be sent to a token server's URL. */
  constructor(
    registry: string,
    findCredentials: (ctx: Context) => Promise<Credentials | undefined>,
    fetchToken: TokenFetch,
    mayUse: (realm: URL) => boolean,
  ) {
    this.#registry = registry
    this.#findCredentials = findCredentials
    this.#fetchToken = fetchToken
    this.#mayUse = mayUse
  }

  /** The header's value for a request with these scopes, or undefined while the registry has not asked for one. */
  async header(scopes: readonly string[], ctx: Context): Promise<string | undefined> {
    const challenge = this.#challenge
    if (challenge === undefined) return undefined
    const credentials = await this.#lookUp(ctx)
    if (challenge.scheme === 'bearer') {
      if (credentials?.kind === 'token') return `Bearer ${credentials.token}`
      return `Bearer ${(await this.#token(challenge, scopes, credentials, ctx)).value}`
    }
    return credentials?.kind === 'password' ? basicAuthorization(credentials) : undefined
  }

  /** True when there are credentials for this registry. Only tells after a challenge. */
  async hasCredentials(ctx: Context): Promise<boolean> {
    return this.#challenge !== undefined && (await this.#lookUp(ctx)) !== undefined
  }

  /**
   * Takes note of a 401. `sent` is the header that was refused.
   *
   * @returns true when another try with a new `header` makes sense
   */
  async challenged(
    wwwAuthenticate: string | undefined,
    scopes: readonly string[],
    sent: string | undefined,
    ctx: Context,
  ): Promise<boolean> {
    const challenges = parseChallenges(wwwAuthenticate ?? '')
    const challenge = challenges.find(({ scheme }) => scheme === 'bearer') ?? challenges.find(({ scheme }) => scheme === 'basic')
    if (challenge === undefined) return false
    this.#challenge = challenge
    if (challenge.scheme === 'basic') return sent === undefined && (await this.#lookUp(ctx))?.kind === 'password'
    if ((await this.#lookUp(ctx))?.kind === 'token') return sent === undefined
    // Only the token that was refused is dropped: another request may have a new one already.
    const key = tokenKey(challenge, scopes)
    const known = await ifFulfilled(this.#tokens.get(key))
    if (known !== undefined && sent === `Bearer ${known.value}`) this.#tokens.delete(key)
    return true
  }

  #lookUp(ctx: Context): Promise<Credentials | undefined> {
    this.#credentials ??= this.#findCredentials(ctx)
    return this.#credentials
  }

  async #token(
    challenge: Challenge,
    scopes: readonly string[],
    credentials: Credentials | undefined,
    ctx: Context,
  ): Promise<Token> {
    const key = tokenKey(challenge, scopes)
    const known = this.#tokens.get(key)
    if (known !== undefined) {
      const token = await known
      if (token.expiresAtMs > Date.now()) return token
    }
    const waiting = this.#tokens.get(key)
    if (waiting !== undefined && waiting !== known) return waiting
    const asked = this.#ask(challenge, scopes, credentials, ctx)
    this.#tokens.set(key, asked)
    // A failure is not kept: the next request asks again.
    asked.catch(() => this.#tokens.delete(key))
    return asked
  }

  async #ask(
    challenge: Challenge,
    scopes: readonly string[],
    credentials: Credentials | undefined,
    ctx: Context,
  ): Promise<Token> {
    const realm = this.#realmOf(challenge, credentials)
    const service = challenge.parameters.service
    const allScopes = uniteScopes(scopes, challenge.parameters.scope)
    const sentAtMs = Date.now()
    const oauth = (): Promise<{ status: number; text: string }> =>
      this.#fetchToken(oauthRequest(realm, service, allScopes, credentials), ctx)
    let answer =
      credentials?.kind === 'identity'
        ? await oauth()
        : await this.#fetchToken(getRequest(realm, service, allScopes, credentials), ctx)
    // Some servers offer only one of the two ways.
    if (credentials?.kind === 'password' && (answer.status === 404 || answer.status === 405)) answer = await oauth()
    if (answer.status !== 200) throw this.#refused(realm, answer.status, credentials)
    return this.#readToken(realm, answer.text, sentAtMs)
  }

  #realmOf(challenge: Challenge, credentials: Credentials | undefined): URL {
    const text = challenge.parameters.realm ?? ''
    const realm = URL.canParse(text) ? new URL(text) : undefined
    if (realm === undefined || !/^https?:$/.test(realm.protocol)) {
      throw new RegistryError(
        'REGISTRY_PROTOCOL',
        `${this.#registry} names no usable token server in its WWW-Authenticate header`,
      )
    }
    if (credentials !== undefined && !this.#mayUse(realm)) {
      throw new RegistryError(
        'REGISTRY_TLS',
        `the token server ${realm.host} of ${this.#registry} is not encrypted, so the credentials are not sent`,
      )
    }
    return realm
  }

  #refused(realm: URL, status: number, credentials: Credentials | undefined): RegistryError {
    const details = { method: 'GET', url: `${realm.origin}${realm.pathname}`, status }
    const name = this.#registry === 'docker.io' ? 'mille login' : `mille login ${this.#registry}`
    if (status === 401 || status === 403 || status === 400) {
      const who = credentials === undefined ? 'a request without login' : 'the credentials'
      return new RegistryError(
        'REGISTRY_UNAUTHORIZED',
        `the token server ${realm.host} of ${this.#registry} does not accept ${who}`,
        { ...details, hint: name },
      )
    }
    return new RegistryError(
      'REGISTRY_PROTOCOL',
      `the token server ${realm.host} of ${this.#registry} answered with status ${status}`,
      details,
    )
  }

  #readToken(realm: URL, text: string, sentAtMs: number): Token {
    const answer = parseJson(text)
    const value = isRecord(answer) ? (answer.token ?? answer.access_token) : undefined
    if (!isRecord(answer) || typeof value !== 'string' || value === '' || /[^\x21-\x7e]/.test(value)) {
      throw new RegistryError('REGISTRY_PROTOCOL', `the token server ${realm.host} of ${this.#registry} sent no token`)
    }
    const life = typeof answer.expires_in === 'number' && answer.expires_in > 0 ? answer.expires_in : defaultLifeSeconds
    return { value, expiresAtMs: sentAtMs + Math.max(life * 1000 - expiryMarginMs, life * 500) }
  }
}

/** The header value of a user name and password. */
export function basicAuthorization(credentials: { readonly username: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`
}

/** The scope of a repository: `repository:team/app:pull,push`. */
export function repositoryScope(repository: string, actions: 'pull' | 'pull,push'): string {
  return `repository:${repository}:${actions}`
}

/** What a request for a token was about, for errors. */
export function tokenSubject(registry: string, url: URL): Asked {
  return { method: 'GET', url, registry, subject: 'its token server' }
}

function tokenKey(challenge: Challenge, scopes: readonly string[]): string {
  return JSON.stringify([challenge.parameters.realm, challenge.parameters.service, [...scopes].sort()])
}

/** Our scopes, and those of the challenge that are about something else. */
function uniteScopes(scopes: readonly string[], challenged: string | undefined): string[] {
  const resource = (scope: string): string => scope.slice(0, scope.lastIndexOf(':'))
  const known = new Set(scopes.map(resource))
  const more = (challenged ?? '').split(' ').filter((scope) => scope !== '' && !known.has(resource(scope)))
  return [...scopes, ...more]
}

function getRequest(
  realm: URL,
  service: string | undefined,
  scopes: readonly string[],
  credentials: Credentials | undefined,
): TokenRequest {
  const url = new URL(realm)
  if (service !== undefined) url.searchParams.set('service', service)
  for (const scope of scopes) url.searchParams.append('scope', scope)
  if (credentials?.kind !== 'password') return { url, headers: {} }
  url.searchParams.set('account', credentials.username)
  return { url, headers: { authorization: basicAuthorization(credentials) } }
}

function oauthRequest(
  realm: URL,
  service: string | undefined,
  scopes: readonly string[],
  credentials: Credentials | undefined,
): TokenRequest {
  const form = new URLSearchParams({ client_id: 'mille', scope: scopes.join(' ') })
  if (service !== undefined) form.set('service', service)
  if (credentials?.kind === 'identity') {
    form.set('grant_type', 'refresh_token')
    form.set('refresh_token', credentials.token)
  }
  if (credentials?.kind === 'password') {
    form.set('grant_type', 'password')
    form.set('username', credentials.username)
    form.set('password', credentials.password)
  }
  return { url: realm, headers: {}, form }
}
