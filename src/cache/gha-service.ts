/**
 * The cache service of GitHub Actions, version 2: Twirp calls in JSON with the names of the protocol buffers' fields.
 *
 * An entry has a key and a version, is reserved, uploaded to a signed address, finished, and never changes. Looked for are
 * the key itself, then beginnings of keys, of which the newest entry wins.
 */
import type { Context } from '../core/context.js'
import { BuildError, RegistryError } from '../core/errors.js'
import { isRecord, parseJson } from '../registry/errors.js'
import { type RetryPolicy, retrying } from '../registry/retry.js'
import { oneBlock } from './blocks.js'
import type { PlaceHttp } from './place-http.js'

/** An entry that was found. */
export interface FoundEntry {
  readonly key: string
  /** Signed, for some minutes. */
  readonly url: URL
}

/** The calls; all are tried again while that may help. */
export interface CacheService {
  /** Reserves an entry: where its bytes go, or undefined when it is there or somebody else is making it. */
  create(key: string, ctx: Context): Promise<URL | undefined>
  /** The bytes are there. */
  finish(key: string, size: number, ctx: Context): Promise<void>
  /** The entry with this key, or with `asPrefix` the newest whose key begins so. */
  find(key: string, asPrefix: boolean, ctx: Context): Promise<FoundEntry | undefined>
}

const answerLimitBytes = 64 << 10

/** The service at `url`. */
export function openCacheService(url: string, token: string, version: string, retry: RetryPolicy, http: PlaceHttp): CacheService {
  const base = new URL('twirp/github.actions.results.api.v1.CacheService/', url.endsWith('/') ? url : `${url}/`)
  const call = (method: string, body: object, key: string, ctx: Context): Promise<Answer> => {
    const bytes = Buffer.from(JSON.stringify(body))
    const request = {
      method: 'POST',
      url: new URL(method, base),
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'user-agent': 'mille' },
      body: { size: bytes.length, open: () => oneBlock(bytes) },
      accept: [200],
      subject: `the entry ${key}`,
    }
    return retrying(retry, ctx, async () => answerOf((await http.ask(request, answerLimitBytes, ctx)).bytes, base))
  }
  return {
    async create(key, ctx) {
      try {
        const { ok, signed_upload_url: signed, message } = await call('CreateCacheEntry', { key, version }, key, ctx)
        if (ok && typeof signed === 'string') return addressOf(signed, base)
        if (typeof message === 'string' && message !== '' && !/already exists/i.test(message)) throw denied(message, key)
        return undefined
      } catch (error) {
        if (error instanceof RegistryError && (error.status === 409 || error.errors.includes('already_exists'))) return undefined
        throw explained(error)
      }
    },
    async finish(key, size, ctx) {
      // 64-bit numbers are texts in the JSON of protocol buffers.
      const body = { key, size_bytes: String(size), version }
      const { ok, message } = await call('FinalizeCacheEntryUpload', body, key, ctx)
      if (!ok)
        throw new BuildError('CACHE_EXPORT_FAILED', `${base.host} does not take the entry ${key}: ${message ?? 'no reason'}`)
    },
    async find(key, asPrefix, ctx) {
      try {
        const body = { key, restore_keys: asPrefix ? [key] : [], version }
        const { ok, signed_download_url: signed, matched_key: matched } = await call('GetCacheEntryDownloadURL', body, key, ctx)
        if (!ok || typeof signed !== 'string') return undefined
        // Some servers take each key for a prefix.
        const found = typeof matched === 'string' && matched !== '' ? matched : key
        if (asPrefix ? !found.startsWith(key) : found !== key) return undefined
        return { key: found, url: addressOf(signed, base) }
      } catch (error) {
        if (error instanceof RegistryError && error.errors.includes('not_found')) return undefined
        throw explained(error)
      }
    },
  }
}

type Answer = { readonly ok: boolean } & Readonly<Record<string, unknown>>

function answerOf(bytes: Buffer, { host }: URL): Answer {
  const value = parseJson(bytes.toString())
  if (!isRecord(value)) throw new BuildError('CACHE_UNREACHABLE', `${host} does not answer as a cache service does`)
  return { ...value, ok: value.ok === true }
}

function addressOf(signed: string, { host }: URL): URL {
  if (URL.canParse(signed) && /^https?:$/.test(new URL(signed).protocol)) return new URL(signed)
  throw new BuildError('CACHE_UNREACHABLE', `${host} gives an address that is no URL`)
}

function denied(message: string, key: string): BuildError {
  return new BuildError('CACHE_DENIED', `the entry ${key} is not taken: ${message.slice(0, 300)}`)
}

/** What users of the service run into. */
function explained(error: unknown): unknown {
  if (!(error instanceof RegistryError)) return error
  if (error.status === 401) error.hint ??= 'the token is that of another job, or has expired'
  if (error.message.includes('insufficient usage')) error.hint ??= "the account's storage for Actions is used up"
  return error
}

/** A scope that a token may use: a branch or a pull request. */
export interface TokenScope {
  readonly scope: string
  readonly mayRead: boolean
  readonly mayWrite: boolean
}

/**
 * The scopes in a runner's token (the claim `ac` of the JWT); none when it has no such claim, as those of other servers.
 *
 * The token is not verified: the service does that.
 */
export function scopesOf(token: string): readonly TokenScope[] {
  const claims = parseJson(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
  const access = isRecord(claims) && typeof claims.ac === 'string' ? parseJson(claims.ac) : undefined
  if (!Array.isArray(access)) return []
  return access.flatMap((item: unknown) => {
    if (!isRecord(item) || typeof item.Scope !== 'string' || typeof item.Permission !== 'number') return []
    return [{ scope: item.Scope, mayRead: (item.Permission & 1) !== 0, mayWrite: (item.Permission & 2) !== 0 }]
  })
}
