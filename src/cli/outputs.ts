/** Reads `--output`: where a build's result goes. */
import { isAbsolute, resolve } from 'node:path'
import { UsageError } from '../core/errors.js'
import type { BuildOutput, CompressionOptions, SplitOptions } from '../engine/options.js'
import { isTrueField, readFields } from './csv.js'

const keys = {
  type: [],
  dest: ['destination'],
  tar: [],
  name: [],
  push: [],
  compression: [],
  'force-compression': [],
  'oci-mediatypes': [],
  'platform-split': [],
  'attestation-prefix': [],
  'oci-artifact': [],
} as const

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
      allow(text, fields, ['dest', 'platform-split', 'attestation-prefix'])
      return { type, dest: pathOf(text, fields, around), ...splitOf(text, fields) }
    case 'tar':
      allow(text, fields, ['dest', 'platform-split', 'attestation-prefix'])
      return { type, dest: placeOf(text, fields, around), ...splitOf(text, fields) }
    case 'oci':
    case 'docker':
      if (type === 'docker' && !fields.has('dest')) return { type: 'image', names, ...compressionOf(text, fields) }
      allow(text, fields, ['dest', 'tar', 'name', 'compression', 'force-compression', 'oci-mediatypes', 'oci-artifact'])
      return archive(type, text, fields, names, around)
    case 'image':
    case 'registry': {
      allow(text, fields, ['name', 'push', 'compression', 'force-compression', 'oci-mediatypes', 'oci-artifact'])
      const push = type === 'registry' || isTrueField(fields.get('push'), text)
      const media = fields.get('oci-mediatypes')
      const ociMediaTypes = media === undefined ? {} : { ociMediaTypes: isTrueField(media, text) }
      return { type: 'image', names, push, ...ociMediaTypes, ...artifactOf(text, fields), ...compressionOf(text, fields) }
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
  return { type, dest, tar, names, ...artifactOf(text, fields), ...compressionOf(text, fields) }
}

function allow(text: string, fields: ReadonlyMap<string, string>, allowed: readonly string[]): void {
  for (const key of fields.keys()) {
    if (key === 'type' || allowed.includes(key)) continue
    throw new UsageError('USAGE_BAD_FLAG', `--output ${text}: the type ${fields.get('type')} has no "${key}"`)
  }
}

function compressionOf(text: string, fields: ReadonlyMap<string, string>): CompressionOptions {
  const written = fields.get('compression')
  const forced = isTrueField(fields.get('force-compression'), text)
  if (written === undefined) return forced ? { forceCompression: true } : {}
  const compression = written === 'uncompressed' ? 'none' : written
  if (compression !== 'none' && compression !== 'gzip') {
    throw new UsageError('USAGE_BAD_FLAG', `--output ${text}: the compression "${written}" is not supported yet`, {
      hint: 'gzip and uncompressed are',
    })
  }
  return { compression, forceCompression: forced }
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
