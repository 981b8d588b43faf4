/**
 * The asserts that the integration cases keep as text, as far as they speak of pushed images and their attestations: Go
 * expressions over what `testutil.ReadImages` reads from a registry.
 *
 * An assert that stands for a loop (`[*]`), or that its conversion broke, is not judged.
 */
import { recordOf } from './frame.js'

/** An image of a registry as BuildKit's test helper has it. */
interface ReadImage {
  readonly Desc: Readonly<Record<string, unknown>>
  readonly LayersRaw: readonly string[]
}

/** Values that expressions may name. */
export interface AssertWorld {
  readonly resolve: (text: string) => string
  readonly dockerfileVersion: string
}

/** Judges an assert: what is wrong, or undefined. */
export async function judgeAssertText(text: string, world: AssertWorld): Promise<string | undefined> {
  if (!canJudge(text)) return undefined
  const images = new Map<string, readonly ReadImage[]>()
  for (const [, reference = ''] of text.matchAll(/contentutil\.ProviderFromRef\("([^"]*)"\)/g)) {
    if (!images.has(reference)) images.set(reference, await readImages(world.resolve(reference)))
  }
  const value = new Expression(text, images, world).call()
  return value === true ? undefined : `${shorten(text)}: ${String(value)}`
}

/** Loops, sums that stand for a loop, and the size of a map that a loop fills. */
function canJudge(text: string): boolean {
  return !/\[\*\]|\) - 1\)|^Equal\(1, len\(.*BuildConfig\.Definition\)\)$/.test(text)
}

function shorten(text: string): string {
  return text.replaceAll(/testutil\.ReadImages\(ctx, contentutil\.ProviderFromRef\("([^"]*)"\)\.1.*?\)\.0\)\.0/g, 'images($1)')
}

const accept = [
  'oci.image.index.v1',
  'oci.image.manifest.v1',
  'docker.distribution.manifest.v2',
  'docker.distribution.manifest.list.v2',
]
  .map((type) => `application/vnd.${type}+json`)
  .join(', ')

/** All images that a name stands for, with their layers as text: those of attestations are statements. */
async function readImages(reference: string): Promise<ReadImage[]> {
  const [, host, repository, tag = ''] = /^([^/]+)\/(.+):([^:/]+)$/.exec(reference) ?? []
  const get = async (path: string): Promise<string> => {
    const answer = await fetch(`http://${host}/v2/${repository}/${path}`, { headers: { accept } })
    if (!answer.ok) throw new Error(`${reference}: ${path} gives ${answer.status}`)
    return answer.text()
  }
  type Manifest = { readonly layers?: readonly { readonly digest: string; readonly mediaType: string }[] }
  const read = async (desc: Readonly<Record<string, unknown>>): Promise<ReadImage> => {
    const { layers = [] } = JSON.parse(await get(`manifests/${String(desc.digest)}`)) as Manifest
    const texts = layers.map(async ({ digest, mediaType }) =>
      mediaType.includes('in-toto') ? get(`blobs/${digest}`) : mediaType,
    )
    return { Desc: desc, LayersRaw: await Promise.all(texts) }
  }
  const top = JSON.parse(await get(`manifests/${tag}`)) as { readonly manifests?: readonly Readonly<Record<string, unknown>>[] }
  return Promise.all((top.manifests ?? [{ digest: tag }]).map(read))
}

function platformOf({ Desc }: ReadImage): string {
  const { os, architecture, variant } = recordOf(Desc.platform ?? {})
  return [os, architecture, variant].filter((part) => part !== undefined).join('/')
}

type Value = unknown

/** A recursive reader of the expressions: strings, numbers, JSON, calls, fields, indexes. */
class Expression {
  #at = 0
  readonly #text: string
  readonly #images: ReadonlyMap<string, readonly ReadImage[]>
  readonly #world: AssertWorld

  constructor(text: string, images: ReadonlyMap<string, readonly ReadImage[]>, world: AssertWorld) {
    this.#text = text
    this.#images = images
    this.#world = world
  }

  /** The whole text: `Name(values…)`. */
  call(): true | string {
    const name = this.#take(/\w+(?=\()/y)
    const values = this.#arguments()
    return assertions[name]?.(values) ?? `the assertion ${name} is not known to the runner`
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    if (found === undefined) throw new Error(`cannot read the assert at "${this.#text.slice(this.#at, this.#at + 60)}"`)
    this.#at += found.length
    return found
  }

  #has(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #arguments(): Value[] {
    const values: Value[] = []
    this.#take(/\(/y)
    while (!this.#has(')')) {
      values.push(this.#value())
      this.#take(/,\s*|(?=\))/y)
    }
    return values
  }

  #value(): Value {
    let value = this.#primary()
    for (;;) {
      if (this.#has('[')) {
        const key = this.#value()
        this.#take(/\]/y)
        value = Array.isArray(value) ? value[Number(key)] : fieldOf(value, String(key), true)
      } else if (this.#has('.')) {
        const name = this.#take(/\w+/y)
        value = this.#text[this.#at] === '(' ? this.#method(value, name, this.#arguments()) : fieldOf(value, name, false)
      } else return value
    }
  }

  #primary(): Value {
    const next = this.#text[this.#at] ?? ''
    if (next === '"') return this.#world.resolve(this.#literal())
    if (next === '{') return JSON.parse(this.#take(/\{[^}]*\}/y))
    if (/\d/.test(next)) return Number(this.#take(/[\d.]*\d/y))
    const name = this.#take(/(?:cmd#\d+\.out)|[\w#]+(?:\.[A-Za-z_]\w*)?/y)
    if (name.startsWith('cmd#')) return this.#world.resolve(`{{strings.TrimSpace(${name})}}`)
    if (name === 'intoto.StatementInTotoV1') return 'https://in-toto.io/Statement/v1'
    if (name === 'ctx') return undefined
    return this.#text[this.#at] === '(' ? this.#function(name, this.#arguments()) : undefined
  }

  #literal(): string {
    const text = this.#take(/"(?:[^"\\]|\\.)*"/y)
    const known = JSON.parse(text) as string
    return known.replaceAll(
      '{{url.PathEscape(platforms.Format(platforms.Normalize(platforms.DefaultSpec())))}}',
      encodeURIComponent(hostPlatform),
    )
  }

  #function(name: string, values: readonly Value[]): Value {
    const [first] = values
    switch (name) {
      case 'contentutil.ProviderFromRef':
        return { 0: this.#images.get(String(first)) ?? this.#images.get(this.#written(String(first))), 1: first }
      case 'testutil.ReadImages':
        return { 0: { Images: values[2] } }
      case 'platforms.Format':
      case 'platforms.Normalize':
      case 'platforms.DefaultSpec':
        return hostPlatform
      case 'client.Info':
        return { 0: { BuildkitVersion: { DockerfileVersion: this.#world.dockerfileVersion } } }
      case 'json':
        return JSON.parse(String(first))
      case 'len':
        return lengthOf(first)
      case 'url.PathEscape':
        return encodeURIComponent(String(first))
      case 'strings.TrimSpace':
        return String(first).trim()
      case 'time.Since':
        return (Date.now() - Date.parse(String(first))) * 1e6
      default:
        throw new Error(`the function ${name} is not known to the runner`)
    }
  }

  /** The reference before its placeholders were replaced. */
  #written(resolved: string): string {
    return [...this.#images.keys()].find((reference) => this.#world.resolve(reference) === resolved) ?? ''
  }

  #method(value: Value, name: string, values: readonly Value[]): Value {
    const images = (value as { readonly Images?: readonly ReadImage[] }).Images ?? []
    const image = images.find((each) => platformOf(each) === values[0])
    if (name === 'Find') return image
    if (name === 'Before') return Date.parse(String(value)) < Date.parse(String(values[0]))
    if (name !== 'FindAttestation') throw new Error(`the method ${name} is not known to the runner`)
    return images.find(({ Desc }) => recordOf(Desc.annotations ?? {})['vnd.docker.reference.digest'] === image?.Desc.digest)
  }
}

const hostPlatform = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`

/** Go's names of what is called otherwise in JSON. */
const jsonNames: Readonly<Record<string, string>> = { Definition: 'llbDefinition', Type: '_type', EntryPoint: 'entryPoint' }

function fieldOf(value: Value, name: string, exact: boolean): Value {
  if (typeof value !== 'object' || value === null) return undefined
  const record = value as Readonly<Record<string, unknown>>
  if (exact || name in record) return record[name]
  if (name === 'ProvenanceCustomEnv') return customEnvironment(record)
  const wanted = (jsonNames[name] ?? name).toLowerCase()
  const plain = (key: string): string =>
    key.replace('https://mobyproject.org/buildkit@v1#', 'buildkit').toLowerCase().replaceAll('_', '')
  const found = Object.keys(record).find((key) => [wanted.replaceAll('_', ''), `buildkit${wanted}`].includes(plain(key)))
  const member = found === undefined ? undefined : record[found]
  // Bytes are base64 in JSON.
  return name === 'Data' && typeof member === 'string' ? Buffer.from(member, 'base64').toString() : member
}

function customEnvironment(record: Readonly<Record<string, unknown>>): object {
  const known = ['buildConfig', 'builderPlatform', 'platform', 'dockerfileVersion']
  return Object.fromEntries(Object.entries(record).filter(([key]) => !known.includes(key)))
}

function lengthOf(value: Value): number {
  if (typeof value === 'string' || Array.isArray(value)) return value.length
  return typeof value === 'object' && value !== null ? Object.keys(value).length : 0
}

function shown(value: Value): string {
  return JSON.stringify(value)?.slice(0, 400) ?? 'nothing'
}

/** Go's zero values stand for fields that JSON leaves out. */
function isEqual(wanted: Value, actual: Value): boolean {
  const zero = typeof wanted === 'string' ? '' : typeof wanted === 'number' ? 0 : typeof wanted === 'boolean' ? false : undefined
  return JSON.stringify(wanted) === JSON.stringify(actual ?? zero)
}

function isEmpty(value: Value): boolean {
  return (
    value === undefined ||
    value === null ||
    value === '' ||
    value === 0 ||
    value === false ||
    (typeof value === 'object' && lengthOf(value) === 0)
  )
}

function contains(value: Value, part: Value): boolean {
  if (typeof value === 'string') return value.includes(String(part))
  if (Array.isArray(value)) return value.includes(part)
  return typeof value === 'object' && value !== null && String(part) in value
}

function claimed(isTrue: boolean, ...values: readonly Value[]): true | string {
  return isTrue || values.map(shown).join(' and ')
}

const assertions: Readonly<Record<string, (values: readonly Value[]) => true | string>> = {
  Equal: ([wanted, actual]) => claimed(isEqual(wanted, actual), wanted, actual),
  NotNil: ([value]) => claimed(value !== undefined && value !== null, value),
  Nil: ([value]) => claimed(value === undefined || value === null, value),
  NotEmpty: ([value]) => claimed(!isEmpty(value), value),
  Empty: ([value]) => claimed(isEmpty(value), value),
  True: ([value]) => claimed(value === true, value),
  False: ([value]) => claimed(value === undefined || value === false, value),
  Len: ([value, count]) => claimed(lengthOf(value) === count, value, count),
  Contains: ([value, part]) => claimed(contains(value, part), value, part),
  NotContains: ([value, part]) => claimed(!contains(value, part), value, part),
  Less: ([value, limit]) => claimed(Number(value) < Number(limit), value, limit),
  Subset: ([value, part]) =>
    claimed(
      Object.entries(recordOf(part)).every(([key, each]) => isEqual(each, recordOf(value)[key])),
      value,
      part,
    ),
}
