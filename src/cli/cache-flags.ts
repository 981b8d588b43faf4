/** Reads `--cache-from` and `--cache-to`, as buildx writes them. */
import { UsageError } from '../core/errors.js'
import { didYouMean } from '../core/suggest.js'
import type { BuildOptions, CacheFrom, CacheTo } from '../engine/options.js'
import { placeKeys, readPlace, withoutSecrets } from './cache-places.js'
import { isTrueField, readFields } from './csv.js'
import type { Shell } from './shell.js'

/** What all types of `--cache-to` have. */
const toKeys = {
  type: [],
  mode: [],
  compression: [],
  'force-compression': [],
  'ignore-error': [],
  mounts: [],
  'oci-mediatypes': [],
  'image-manifest': [],
}
const fromKeys = { type: [], trust: [], mounts: [] }

/** buildx's types that are not here. */
const unsupportedTypes: readonly string[] = ['azblob']

type Fields = ReadonlyMap<string, string>

/** Reads all `--cache-from` and `--cache-to` of a build. */
export function readCaches(
  from: readonly string[],
  to: readonly string[],
  shell: Shell,
): Pick<BuildOptions, 'cacheFrom' | 'cacheTo'> {
  return {
    cacheFrom: from.flatMap((text) => readCacheFrom(text, shell) ?? []),
    cacheTo: to.flatMap((text) => readCacheTo(text, shell) ?? []),
  }
}

/**
 * Reads one `--cache-from`: `type=…,…`, or the name of a cache or image in a registry.
 *
 * @returns undefined, after a warning, for a cache that is not to be had here
 */
export function readCacheFrom(text: string, shell: Shell): CacheFrom | undefined {
  if (!text.includes('=')) return { type: 'registry', ref: text }
  const { type, fields } = readTyped(text, '--cache-from', 'from')
  if (type === 'inline') {
    throw new UsageError('USAGE_BAD_FLAG', '--cache-from type=inline: an inline cache is read from its image', {
      hint: 'write --cache-from type=registry,ref=IMAGE',
    })
  }
  const trust = fields.get('trust') ?? 'all'
  if (trust !== 'all' && trust !== 'verify') {
    throw new UsageError('USAGE_BAD_FLAG', `--cache-from ${withoutSecrets(text)}: trust is "${trust}", expected all or verify`)
  }
  const place = readPlace(type, { fields, text, flag: '--cache-from', shell })
  const mounts = fields.get('mounts')
  return place && { ...place, trust, mounts: mounts === undefined || isTrueField(mounts, '--cache-from') }
}

/** Reads one `--cache-to`; undefined as for `readCacheFrom`. */
export function readCacheTo(text: string, shell: Shell): CacheTo | undefined {
  const { type, fields } = text.includes('=')
    ? readTyped(text, '--cache-to', 'to')
    : { type: 'registry' as const, fields: new Map([['ref', text]]) }
  const mode = fields.get('mode') ?? 'min'
  if (mode !== 'min' && mode !== 'max') {
    throw new UsageError('USAGE_BAD_FLAG', `--cache-to ${withoutSecrets(text)}: mode is "${mode}", expected min or max`)
  }
  for (const key of ['oci-mediatypes', 'image-manifest']) {
    if (fields.has(key) && !isTrueField(fields.get(key), '--cache-to')) {
      throw new UsageError(
        'USAGE_BAD_FLAG',
        `--cache-to ${withoutSecrets(text)}: a cache of mille is an OCI image manifest, ${key}=false is not possible`,
      )
    }
  }
  if (type === 'inline' && mode === 'max') {
    throw new UsageError(
      'USAGE_BAD_FLAG',
      '--cache-to type=inline: an image has the layers of its result only, so mode=max is not possible',
      {
        hint: 'use type=registry',
      },
    )
  }
  const compression = readCompression(fields.get('compression'), text)
  const place = type === 'inline' ? { type } : readPlace(type, { fields, text, flag: '--cache-to', shell })
  if (place === undefined) return undefined
  return {
    ...place,
    mode,
    ...(compression === undefined ? {} : { compression }),
    forceCompression: isTrueField(fields.get('force-compression'), '--cache-to'),
    ignoreError: isTrueField(fields.get('ignore-error'), '--cache-to'),
    mounts: isTrueField(fields.get('mounts'), '--cache-to'),
  }
}

function readTyped(
  text: string,
  flag: string,
  way: 'from' | 'to',
): { readonly type: keyof typeof placeKeys; readonly fields: Fields } {
  const own = way === 'from' ? fromKeys : toKeys
  const all = Object.values(placeKeys).flatMap((type) => [...type.both, ...type[way]])
  const fields = readFields(text, flag, { ...own, ...Object.fromEntries(all.map((key) => [key, []])) }, withoutSecrets(text))
  const type = fields.get('type')
  if (type === undefined || !isType(type)) {
    const isLater = type !== undefined && unsupportedTypes.includes(type)
    const unknown = isLater ? `has the type ${type}, which is not supported` : `has the unknown type "${type}"`
    const what = type === undefined ? 'has no type' : unknown
    throw new UsageError('USAGE_BAD_FLAG', `${flag} ${withoutSecrets(text)} ${what}`, {
      hint: (type && didYouMean(type, Object.keys(placeKeys))) ?? `types are ${Object.keys(placeKeys).join(', ')}`,
    })
  }
  const allowed: readonly string[] = [...Object.keys(own), ...placeKeys[type].both, ...placeKeys[type][way]]
  const stranger = [...fields.keys()].find((key) => !allowed.includes(key))
  if (stranger !== undefined)
    throw new UsageError('USAGE_BAD_FLAG', `${flag} ${withoutSecrets(text)}: the type ${type} has no "${stranger}"`)
  return { type, fields }
}

function isType(text: string): text is keyof typeof placeKeys {
  return Object.hasOwn(placeKeys, text)
}

function readCompression(text: string | undefined, whole: string): 'none' | 'gzip' | 'zstd' | undefined {
  if (text === undefined || text === 'gzip' || text === 'zstd') return text
  if (text === 'uncompressed' || text === 'none') return 'none'
  throw new UsageError(
    'USAGE_BAD_FLAG',
    `--cache-to ${withoutSecrets(whole)}: the compression "${text}" is not known, expected gzip, zstd or uncompressed`,
  )
}
