/** The fields of `--cache-from` and `--cache-to` that say where a cache is, with buildx's names, and buildx's variables. */
import { isAbsolute, resolve } from 'node:path'
import { parseDuration } from '../../grammar/duration.js'
import { UsageError } from '../core/errors.js'
import type { CachePlace } from '../engine/options.js'
import { isTrueField } from './csv.js'
import type { Shell } from './shell.js'

/** The keys of each type; `from` and `to` are those of one direction only. */
export const placeKeys = {
  registry: { both: ['ref'], from: [], to: [] },
  local: { both: ['tag'], from: ['src'], to: ['dest'] },
  inline: { both: [], from: [], to: [] },
  s3: {
    both: [
      'bucket',
      'region',
      'prefix',
      'name',
      'blobs_prefix',
      'manifests_prefix',
      'endpoint_url',
      'use_path_style',
      'access_key_id',
      'secret_access_key',
      'session_token',
      'retry_mode',
      'retry_max_attempts',
      'disable_accept_encoding',
    ],
    from: [],
    to: ['upload_parallelism', 'touch_refresh'],
  },
  gha: { both: ['url', 'url_v2', 'token', 'scope', 'version', 'timeout'], from: [], to: ['repository', 'ghtoken'] },
} as const

/** What a place is read from. */
export interface PlaceFields {
  readonly fields: ReadonlyMap<string, string>
  /** The whole, for messages. */
  readonly text: string
  readonly flag: '--cache-from' | '--cache-to'
  readonly shell: Shell
}

/**
 * Reads where a cache is; undefined, after a warning, where it is not to be had.
 *
 * @throws UsageError USAGE_BAD_FLAG
 */
export function readPlace(type: Exclude<keyof typeof placeKeys, 'inline'>, given: PlaceFields): CachePlace | undefined {
  const { fields, flag, shell } = given
  switch (type) {
    case 'registry':
      return { type, ref: need(given, 'ref', undefined) }
    case 'local': {
      const path = need(given, flag === '--cache-from' ? 'src' : 'dest', undefined)
      const tag = fields.get('tag')
      return { type, path: isAbsolute(path) ? path : resolve(shell.cwd, path), ...(tag === undefined ? {} : { tag }) }
    }
    case 's3':
      return readBucket(given)
    case 'gha':
      return readService(given)
  }
}

function readBucket(given: PlaceFields): CachePlace {
  const { fields, shell } = given
  const accessKeyId = filled(fields.get('access_key_id'))
  const secretAccessKey = filled(fields.get('secret_access_key'))
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined))
    throw wrong(given, 'has only one of access_key_id and secret_access_key')
  const retryMode = fields.get('retry_mode')
  if (retryMode !== undefined && retryMode !== 'standard' && retryMode !== 'adaptive')
    throw wrong(given, `: retry_mode is "${retryMode}", expected standard or adaptive`)
  return {
    type: 's3',
    bucket: need(given, 'bucket', shell.env.AWS_BUCKET),
    region: filled(fields.get('region')),
    prefix: fields.get('prefix'),
    names: fields.get('name')?.split(';').filter(Boolean),
    blobsPrefix: fields.get('blobs_prefix'),
    manifestsPrefix: fields.get('manifests_prefix'),
    endpointUrl: readUrl(given, 'endpoint_url'),
    usePathStyle: fields.has('use_path_style') ? isTrueField(fields.get('use_path_style'), given.flag) : undefined,
    accessKeyId,
    secretAccessKey,
    sessionToken: filled(fields.get('session_token')),
    retryMode,
    retryMaxAttempts: readCount(given, 'retry_max_attempts'),
    uploadParallelism: readCount(given, 'upload_parallelism'),
    touchRefreshMs: readMs(given, 'touch_refresh'),
  }
}

/** As buildx has it, a cache of Actions is left out where there is none; but not in silence. */
function readService(given: PlaceFields): CachePlace | undefined {
  const { fields, flag, shell } = given
  const { env } = shell
  const version = fields.get('version') ?? '2'
  if (version === '1') {
    throw new UsageError(
      'USAGE_BAD_FLAG',
      `${flag} ${withoutSecrets(given.text)}: mille speaks version 2 of the cache service only`,
      {
        hint: 'GitHub has switched the first version off in 2025',
      },
    )
  }
  if (version !== '2') throw wrong(given, `: version is "${version}", expected 2`)
  const url = readUrl(given, 'url_v2') ?? filled(env.ACTIONS_RESULTS_URL) ?? readUrl(given, 'url')
  const token = filled(fields.get('token')) ?? filled(env.ACTIONS_RUNTIME_TOKEN)
  const missing = url === undefined ? 'ACTIONS_RESULTS_URL' : 'ACTIONS_RUNTIME_TOKEN'
  if (url === undefined || token === undefined) {
    const message = `${flag} type=gha is left out: there is no ${missing} here`
    const hint = env.GITHUB_ACTIONS
      ? 'steps with "run:" do not get it: hand it on from a step with "uses: actions/github-script" (docs/ci.md)'
      : 'only jobs of GitHub Actions have it'
    shell.warn({ severity: 'warning', code: 'CacheNotHere', message, hint })
    return undefined
  }
  return {
    type: 'gha',
    url,
    token,
    scope: filled(fields.get('scope')),
    timeoutMs: readMs(given, 'timeout'),
  }
}

function need(given: PlaceFields, key: string, fallback: string | undefined): string {
  const value = filled(given.fields.get(key)) ?? filled(fallback)
  if (value === undefined) throw wrong(given, `has no ${key}`)
  return value
}

function filled(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}

function readUrl(given: PlaceFields, key: string): string | undefined {
  const text = filled(given.fields.get(key))
  if (text === undefined || (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol))) return text
  throw wrong(given, `: ${key} is "${text}", expected an http or https URL`)
}

function readCount(given: PlaceFields, key: string): number | undefined {
  const text = given.fields.get(key)
  if (text === undefined || /^[1-9]\d{0,3}$/.test(text)) return text === undefined ? undefined : Number(text)
  throw wrong(given, `: ${key} is "${text}", expected a number from 1 on`)
}

function readMs(given: PlaceFields, key: string): number | undefined {
  const text = given.fields.get(key)
  const nanoseconds = text === undefined ? undefined : parseDuration(text)
  if (text === undefined || (nanoseconds !== undefined && nanoseconds >= 0)) return nanoseconds && nanoseconds / 1e6
  throw wrong(given, `: ${key} is "${text}", expected a duration as 90s, 10m or 24h`)
}

function wrong({ flag, text }: PlaceFields, what: string): UsageError {
  return new UsageError('USAGE_BAD_FLAG', `${flag} ${withoutSecrets(text)}${what.startsWith(':') ? '' : ' '}${what}`)
}

/** The words of the user as messages may have them. */
export function withoutSecrets(text: string): string {
  return text.replace(/((?:secret_access_key|session_token|token|ghtoken)=)[^,]*/gi, '$1***')
}
