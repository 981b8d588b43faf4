/** Reads `--cache-from` and `--cache-to`, as buildx writes them. */
import { isAbsolute, resolve } from 'node:path'
import { UsageError } from '../core/errors.js'
import { didYouMean } from '../core/suggest.js'
import type { CacheFrom, CachePlace, CacheTo } from '../engine/options.js'
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
const fromKeys = { type: [], trust: [] }

/** The keys of each type that say where it is; `from` and `to` are those of one direction only. */
const types = {
  registry: { both: ['ref'], from: [], to: [] },
  local: { both: ['tag'], from: ['src'], to: ['dest'] },
  inline: { both: [], from: [], to: [] },
} as const

/** buildx's types that are not here yet. */
const unsupportedTypes: readonly string[] = ['s3', 'gha', 'azblob']

type Fields = ReadonlyMap<string, string>

/** Reads one `--cache-from`: `type=…,…`, or the name of a cache or image in a registry. */
export function readCacheFrom(text: string, shell: Shell): CacheFrom {
  if (!text.includes('=')) return { type: 'registry', ref: text }
  const { type, fields } = readTyped(text, '--cache-from', 'from')
  if (type === 'inline') {
    throw new UsageError('USAGE_BAD_FLAG', '--cache-from type=inline: an inline cache is read from its image', {
      hint: 'write --cache-from type=registry,ref=IMAGE',
    })
  }
  const trust = fields.get('trust') ?? 'all'
  if (trust !== 'all' && trust !== 'verify') {
    throw new UsageError('USAGE_BAD_FLAG', `--cache-from ${text}: trust is "${trust}", expected all or verify`)
  }
  return { ...readPlace(type, fields, text, '--cache-from', shell), trust }
}

/** Reads one `--cache-to`. */
export function readCacheTo(text: string, shell: Shell): CacheTo {
  const { type, fields } = text.includes('=')
    ? readTyped(text, '--cache-to', 'to')
    : { type: 'registry' as const, fields: new Map([['ref', text]]) }
  const mode = fields.get('mode') ?? 'min'
  if (mode !== 'min' && mode !== 'max') {
    throw new UsageError('USAGE_BAD_FLAG', `--cache-to ${text}: mode is "${mode}", expected min or max`)
  }
  for (const key of ['oci-mediatypes', 'image-manifest']) {
    if (fields.has(key) && !isTrueField(fields.get(key), '--cache-to')) {
      throw new UsageError(
        'USAGE_BAD_FLAG',
        `--cache-to ${text}: a cache of mille is an OCI image manifest, ${key}=false is not possible`,
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
  const place = type === 'inline' ? { type } : readPlace(type, fields, text, '--cache-to', shell)
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
): { readonly type: keyof typeof types; readonly fields: Fields } {
  const own = way === 'from' ? fromKeys : toKeys
  const all = Object.values(types).flatMap((type) => [...type.both, ...type[way]])
  const fields = readFields(text, flag, { ...own, ...Object.fromEntries(all.map((key) => [key, []])) })
  const type = fields.get('type')
  if (type === undefined || !isType(type)) {
    const isLater = type !== undefined && unsupportedTypes.includes(type)
    const unknown = isLater ? `has the type ${type}, which is not supported yet` : `has the unknown type "${type}"`
    const what = type === undefined ? 'has no type' : unknown
    throw new UsageError('USAGE_BAD_FLAG', `${flag} ${text} ${what}`, {
      hint: (type && didYouMean(type, Object.keys(types))) ?? `types are ${Object.keys(types).join(', ')}`,
    })
  }
  const allowed: readonly string[] = [...Object.keys(own), ...types[type].both, ...types[type][way]]
  const stranger = [...fields.keys()].find((key) => !allowed.includes(key))
  if (stranger !== undefined) throw new UsageError('USAGE_BAD_FLAG', `${flag} ${text}: the type ${type} has no "${stranger}"`)
  return { type, fields }
}

function isType(text: string): text is keyof typeof types {
  return Object.hasOwn(types, text)
}

function readPlace(
  type: Exclude<keyof typeof types, 'inline'>,
  fields: Fields,
  text: string,
  flag: string,
  shell: Shell,
): CachePlace {
  const need = (key: string): string => {
    const value = fields.get(key)
    if (value !== undefined && value !== '') return value
    throw new UsageError('USAGE_BAD_FLAG', `${flag} ${text} has no ${key}`)
  }
  switch (type) {
    case 'registry':
      return { type, ref: need('ref') }
    case 'local': {
      const path = need(flag === '--cache-from' ? 'src' : 'dest')
      const tag = fields.get('tag')
      return { type, path: isAbsolute(path) ? path : resolve(shell.cwd, path), ...(tag === undefined ? {} : { tag }) }
    }
  }
}

function readCompression(text: string | undefined, whole: string): 'none' | 'gzip' | 'zstd' | undefined {
  if (text === undefined || text === 'gzip' || text === 'zstd') return text
  if (text === 'uncompressed' || text === 'none') return 'none'
  throw new UsageError(
    'USAGE_BAD_FLAG',
    `--cache-to ${whole}: the compression "${text}" is not known, expected gzip, zstd or uncompressed`,
  )
}
