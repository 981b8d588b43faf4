/** Reads `--attest`, `--provenance` and `--sbom`: what is to be said about the image. */
import {
  type AttestationOptions,
  defaultProvenance,
  defaultSbom,
  type ProvenanceOptions,
  type SbomOptions,
} from '../attest/options.js'
import { UsageError } from '../core/errors.js'
import { isTrueField, splitCsv } from './csv.js'

/** What the three flags say. */
export interface AttestValues {
  readonly attest: readonly string[]
  readonly provenance: string | undefined
  readonly sbom: string | undefined
}

/** Undefined when nothing is asked for: then nothing is made, and a push stays a plain manifest. */
export function readAttestations({ attest, provenance, sbom }: AttestValues): AttestationOptions | undefined {
  let storage: AttestationOptions['storage'] | undefined
  const wanted = new Map<string, { readonly text: string; readonly fields: ReadonlyMap<string, string> }>()
  for (const text of attest) {
    if (text === 'index' || text === 'referrers') storage = text
    else {
      const fields = readAttest(text, `--attest ${text}`)
      wanted.set(typeOf(fields, text), { text: `--attest ${text}`, fields })
    }
  }
  if (provenance !== undefined) wanted.set('provenance', shorthand('provenance', provenance))
  if (sbom !== undefined) wanted.set('sbom', shorthand('sbom', sbom))
  const made: { provenance?: ProvenanceOptions | undefined; sbom?: SbomOptions | undefined } = {}
  for (const [type, { text, fields }] of wanted) {
    if (type === 'provenance') made.provenance = readProvenance(fields, text)
    else made.sbom = readSbom(fields, text)
  }
  // Alone it says where, not what: then what buildx makes of every image.
  if (storage !== undefined && wanted.size === 0) made.provenance = { ...defaultProvenance, mode: 'min', inlineOnly: true }
  if (made.provenance === undefined && made.sbom === undefined) return undefined
  return { ...made, storage: storage ?? 'index' }
}

/** `true`, `false`, or the parameters themselves. */
function shorthand(
  name: 'provenance' | 'sbom',
  value: string,
): { readonly text: string; readonly fields: ReadonlyMap<string, string> } {
  const text = `--${name}=${value}`
  if (/^(1|t|true)$/i.test(value)) return { text, fields: new Map() }
  if (/^(0|f|false)$/i.test(value)) return { text, fields: new Map([['disabled', 'true']]) }
  return { text, fields: readAttest(value, text) }
}

function readAttest(text: string, flag: string): Map<string, string> {
  return new Map(
    splitCsv(text, flag).map((field) => {
      const at = field.indexOf('=')
      if (at < 1) throw new UsageError('USAGE_BAD_FLAG', `${flag}: "${field}" has not the form key=value`)
      return [field.slice(0, at).trim().toLowerCase(), field.slice(at + 1)]
    }),
  )
}

function typeOf(fields: ReadonlyMap<string, string>, text: string): 'provenance' | 'sbom' {
  const type = fields.get('type')
  if (type === 'provenance' || type === 'sbom') return type
  const problem = type === undefined ? 'has no type' : `has the unknown type "${type}"`
  throw new UsageError('USAGE_BAD_FLAG', `--attest ${text} ${problem}`, {
    hint: 'write type=provenance or type=sbom; index or referrers alone says how attestations are kept',
  })
}

function readProvenance(fields: ReadonlyMap<string, string>, flag: string): ProvenanceOptions | undefined {
  if (isDisabled(fields, flag)) return undefined
  const known = ['type', 'disabled', 'mode', 'version', 'builder-id', 'reproducible', 'inline-only', 'filename']
  for (const key of fields.keys()) {
    if (known.includes(key)) continue
    throw new UsageError('USAGE_BAD_FLAG', `${flag}: provenance has no parameter "${key}"`, {
      hint: `parameters are ${known.slice(2).join(', ')}`,
    })
  }
  return {
    mode: oneOf(fields, 'mode', ['max', 'min'], flag),
    version: oneOf(fields, 'version', ['v1', 'v0.2'], flag),
    builderId: fields.get('builder-id') ?? '',
    reproducible: isTrueField(fields.get('reproducible'), flag),
    inlineOnly: isTrueField(fields.get('inline-only'), flag),
    fileName: readFileName(fields.get('filename') ?? defaultProvenance.fileName, flag),
  }
}

/** The first is the default. */
function oneOf<T extends string>(
  fields: ReadonlyMap<string, string>,
  key: string,
  values: readonly [T, ...T[]],
  flag: string,
): T {
  const text = fields.get(key) ?? values[0]
  const found = values.find((value) => value === text)
  if (found !== undefined) return found
  throw new UsageError('USAGE_BAD_FLAG', `${flag}: ${key} is "${text}", expected ${values.join(' or ')}`)
}

function readFileName(name: string, flag: string): string {
  if (name !== '' && !name.includes('/') && name !== '.' && name !== '..') return name
  throw new UsageError('USAGE_BAD_FLAG', `${flag}: filename is "${name}", expected a name without slashes`)
}

function readSbom(fields: ReadonlyMap<string, string>, flag: string): SbomOptions | undefined {
  if (isDisabled(fields, flag)) return undefined
  const own = ['type', 'disabled', 'generator', 'inline-only']
  const generator = fields.get('generator')
  const parameters = Object.fromEntries(
    [...fields].filter(([key]) => !own.includes(key)).map(([key, value]) => [key.toUpperCase().replaceAll('-', '_'), value]),
  )
  const [first] = Object.keys(parameters)
  if (generator === undefined && first !== undefined) {
    throw new UsageError('USAGE_BAD_FLAG', `${flag}: the parameter ${first} is for a generator, and none is named`, {
      hint: 'name its image with generator=IMAGE',
    })
  }
  return {
    ...defaultSbom,
    generator: generator || undefined,
    parameters,
    inlineOnly: isTrueField(fields.get('inline-only'), flag),
  }
}

function isDisabled(fields: ReadonlyMap<string, string>, flag: string): boolean {
  return isTrueField(fields.get('disabled'), flag)
}
