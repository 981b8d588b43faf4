/** Reads `--output`: where a build's result goes. */
import { isAbsolute, resolve } from 'node:path'
import { UsageError } from '../core/errors.js'
import type { BuildOutput, CompressionOptions, SplitOptions, TimestampOptions } from '../engine/options.js'
import { isTrueField, readFields } from './csv.js'

const keys = {
  type: [],
  dest: ['destination'],
  tar: [],
  name: [],
  push: [],
  compression: [],
  'compression-level': [],
  'force-compression': [],
  'oci-mediatypes': [],
  'platform-split': [],
  'attestation-prefix': [],
  'oci-artifact': [],
  'rewrite-timestamp': [],
  'source-date-epoch': [],
} as const

const timeKeys = ['source-date-epoch', 'rewrite-timestamp'] as const
const fileKeys = ['dest', 'platform-split', 'attestation-prefix'] as const
const compressionKeys = ['compression', 'compression-level', 'force-compression'] as const

/** Where relative paths start, and what `-` is. */
export interface OutputSurroundings {
  readonly cwd: string
  readonly stdout: () => NodeJS.WritableStream
  readonly stdoutIsTerminal: boolean
}

/** Reads one `--output`: `type=…,dest=…`, a directory, or `-` for a tar on stdout. */
export function readOutput(text: string, around: OutputSurroundings): BuildOutput {
  if (text === '-') return { type: 'tar', dest: streamTo(around) }
  if (!text.includes('=')) return { type: 'local', dest: resolve(around.cwd, text) }
  const fields = readFields(text, '--output', keys)
  const type = fields.get('type')
  const names = (fields.get('name') ?? '').split(',').filter((name) => name !== '')
  switch (type) {
    case 'local':
      allow(text, fields, [...fileKeys, ...timeKeys])
      return { type, dest: pathOf(text, fields, around), ...splitOf(text, fields), ...timesOf(text, fields) }
    case 'tar':
      allow(text, fields, [...fileKeys, ...timeKeys])
      return { type, dest: placeOf(text, fields, around), ...splitOf(text, fields), ...timesOf(text, fields) }
    case 'oci':
    case 'docker':
      if (type === 'docker' && !fields.has('dest'))
        return { type: 'image', names, ...compressionOf(text, fields), ...timesOf(text, fields) }
      allow(text, fields, ['dest', 'tar', 'name', 'oci-mediatypes', 'oci-artifact', ...compressionKeys, ...timeKeys])
      return archive(type, text, fields, names, around)
    case 'image':
    case 'registry': {
      allow(text, fields, ['name', 'push', 'oci-mediatypes', 'oci-artifact', ...compressionKeys, ...timeKeys])
      const push = type === 'registry' || isTrueField(fields.get('push'), text)
      const media = fields.get('oci-mediatypes')
      const ociMediaTypes = media === undefined ? {} : { ociMediaTypes: isTrueField(media, text) }
      const more = { ...ociMediaTypes, ...artifactOf(text, fields), ...compressionOf(text, fields), ...timesOf(text, fields) }
      return { type: 'image', names, push, ...more }
    }
    default:
      throw new UsageError(
        'USAGE_BAD_FLAG',
        `--output ${text} has ${type === undefined ? 'no type' : `the unknown type "${type}"`}`,
        {
          hint: 'types are local, tar, oci, docker, image, registry',
        },
      )
  }
}

function archive(
  type: 'oci' | 'docker',
  text: string,
  fields: ReadonlyMap<string, string>,
  names: readonly string[],
  around: OutputSurroundings,
): BuildOutput {
  const tar = !fields.has('tar') || isTrueField(fields.get('tar'), text)
  const dest = tar ? placeOf(text, fields, around) : pathOf(text, fields, around)
  return { type, dest, tar, names, ...artifactOf(text, fields), ...compressionOf(text, fields), ...timesOf(text, fields) }
}

function allow(text: string, fields: ReadonlyMap<string, string>, allowed: readonly string[]): void {
  for (const key of fields.keys()) {
    if (key === 'type' || allowed.includes(key)) continue
    throw new UsageError('USAGE_BAD_FLAG', `--output ${text}: the type ${fields.get('type')} has no "${key}"`)
  }
}

const levels = { none: undefined, gzip: [0, 9], zstd: [1, 22] } as const

function compressionOf(text: string, fields: ReadonlyMap<string, string>): CompressionOptions {
  const written = fields.get('compression')
  const compression = written === 'uncompressed' ? 'none' : written
  if (compression !== undefined && compression !== 'none' && compression !== 'gzip' && compression !== 'zstd') {
    throw new UsageError('USAGE_BAD_FLAG', `--output ${text}: the compression "${written}" is not supported`, {
      hint: 'gzip, zstd and uncompressed are',
    })
  }
  const level = levelOf(compression ?? 'gzip', text, fields.get('compression-level'))
  return {
    ...(compression === undefined ? {} : { compression }),
    ...(level === undefined ? {} : { compressionLevel: level }),
    ...(fields.has('force-compression') ? { forceCompression: isTrueField(fields.get('force-compression'), text) } : {}),
  }
}

function levelOf(compression: keyof typeof levels, text: string, written: string | undefined): number | undefined {
  if (written === undefined || written === '') return undefined
  const range = levels[compression]
  if (range === undefined) throw new UsageError('USAGE_BAD_FLAG', `--output ${text}: what is not compressed has no level`)
  const level = /^\d{1,2}$/.test(written) ? Number(written) : -1
  if (level >= range[0] && level <= range[1]) return level
  throw new UsageError(
    'USAGE_BAD_FLAG',
    `--output ${text}: the level is "${written}", ${compression} has ${range[0]} to ${range[1]}`,
  )
}

/** An empty epoch is that of the build. */
function timesOf(text: string, fields: ReadonlyMap<string, string>): TimestampOptions {
  const [epoch, rewrite] = timeKeys.map((key) => fields.get(key))
  if (epoch && !/^\d{1,12}$/.test(epoch)) {
    throw new UsageError('USAGE_BAD_FLAG', `--output ${text}: source-date-epoch is "${epoch}", expected seconds since 1970`)
  }
  return {
    ...(epoch ? { sourceDateEpoch: Number(epoch) } : {}),
    ...(rewrite === undefined ? {} : { rewriteTimestamp: isTrueField(rewrite, text) }),
  }
}

function splitOf(text: string, fields: ReadonlyMap<string, string>): SplitOptions {
  const written = fields.get('platform-split')
  const prefix = fields.get('attestation-prefix')
  return {
    ...(written === undefined ? {} : { platformSplit: isTrueField(written, text) }),
    ...(prefix === undefined ? {} : { attestationPrefix: prefix }),
  }
}

/** `oci-artifact`: attestation manifests are artifacts. */
function artifactOf(text: string, fields: ReadonlyMap<string, string>): { readonly ociArtifact?: boolean } {
  const written = fields.get('oci-artifact')
  return written === undefined ? {} : { ociArtifact: isTrueField(written, text) }
}

function placeOf(
  text: string,
  fields: ReadonlyMap<string, string>,
  around: OutputSurroundings,
): string | { readonly stream: NodeJS.WritableStream } {
  const dest = fields.get('dest') ?? '-'
  return dest === '-' ? streamTo(around) : pathOf(text, fields, around)
}

function pathOf(text: string, fields: ReadonlyMap<string, string>, around: OutputSurroundings): string {
  const dest = fields.get('dest')
  if (dest === undefined || dest === '' || dest === '-') {
    throw new UsageError('USAGE_BAD_FLAG', `--output ${text} needs dest=PATH`)
  }
  return isAbsolute(dest) ? dest : resolve(around.cwd, dest)
}

function streamTo(around: OutputSurroundings): { readonly stream: NodeJS.WritableStream } {
  if (around.stdoutIsTerminal) {
    throw new UsageError('USAGE_BAD_FLAG', 'the output is an archive and stdout is a terminal', {
      hint: 'redirect stdout, or give dest=FILE',
    })
  }
  return { stream: around.stdout() }
}
