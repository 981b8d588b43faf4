/** The machine-checkable part of an integration case: files, archives, image configs, answers, error lines. */
import { lstatSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { openStore } from '../../src/store/store.js'
import type { BuildBench } from './bench.js'
import { claim, type Outcome, passed, recordOf, same, textOf } from './frame.js'
import type { BuildRequest } from './integration-build.js'
import type { World } from './integration-world.js'
import { readTar, type TarEntry } from './tars.js'

/** What the steps left behind, by their ids. */
export interface CaseResults {
  readonly builds: Map<string, { readonly request: BuildRequest; readonly stderr: string; readonly imageId?: string }>
  /** Answers to subrequests. */
  readonly answers: Map<string, string>
}

interface Scope {
  readonly world: World
  readonly bench: BuildBench
  readonly results: CaseResults
}

type Check = Readonly<Record<string, unknown>>

/** The first check that does not hold. */
export async function judgeChecks(
  checks: readonly Check[],
  world: World,
  bench: BuildBench,
  results: CaseResults,
): Promise<Outcome> {
  const scope = { world, bench, results }
  for (const check of checks) {
    const type = textOf(check, 'type')
    const judge = judges[type]
    if (judge === undefined) throw new Error(`the check ${type} is not known to the runner`)
    const outcome = await judge(check, scope)
    if (outcome.status === 'failed')
      return { status: 'failed', detail: `${type} ${String(check.path ?? check.field ?? '')}: ${outcome.detail}` }
  }
  return passed
}

const judges: Readonly<Record<string, (check: Check, scope: Scope) => Outcome | Promise<Outcome>>> = {
  file: (check, scope) => judgeText(check, readFileSync(outputPath(check, scope)), scope),
  exists: (check, scope) => claim(lexists(outputPath(check, scope)), 'it is not there'),
  missing: (check, scope) => claim(!lexists(outputPath(check, scope)), 'it is there'),
  symlink: (check, scope) => same(readlinkSync(outputPath(check, scope)), check.target ?? check.equals, 'the target'),
  stat: judgeStat,
  filesEqual: (check, scope) => compareFiles(check, scope, true),
  filesDiffer: (check, scope) => compareFiles(check, scope, false),
  tarEntryPresent: async (check, scope) =>
    claim(
      (await tarOf(check, scope)).has(textOf(check, 'path')) === (check.value ?? true),
      `present is not ${String(check.value)}`,
    ),
  tarEntry: async (check, scope) => judgeEntry(check, (await tarOf(check, scope)).get(textOf(check, 'path'))),
  layerEntry: async (check, scope) => {
    const outcomes: Outcome[] = []
    for (const architecture of architecturesOf(check)) {
      outcomes.push(judgeEntry(check, (await layerOf(check, architecture, scope)).get(textOf(check, 'path'))))
    }
    return outcomes.find(({ status }) => status === 'passed') ?? outcomes[0] ?? passed
  },
  imageConfig: async (check, scope) =>
    judgeValue(check, fieldOf(await configOf(textOf(check, 'from'), scope), textOf(check, 'field')), scope),
  resultJson: (check, scope) =>
    judgeValue(
      check,
      fieldOf(JSON.parse(scope.results.answers.get(String(check.build)) ?? 'null'), textOf(check, 'field')),
      scope,
    ),
  errorLines: judgeErrorLines,
}

function lexists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

function outputOf(build: unknown, { world, results }: Scope, types: readonly string[]): string {
  const { request } = results.builds.get(String(build)) ?? { request: undefined }
  const place = request?.exports.find(({ type, place }) => types.includes(type) && place !== undefined)?.place
  if (place === undefined) throw new Error(`build ${String(build)} has no output of type ${types.join(' or ')}`)
  return world.resolve(place)
}

function outputPath(check: Check, scope: Scope): string {
  return join(outputOf(check.build, scope, ['local', 'oci']), scope.world.resolve(textOf(check, 'path')))
}

function judgeText(check: Check, bytes: Buffer, { world }: Scope): Outcome {
  const text = check.trimSpace === true ? bytes.toString().trim() : bytes.toString()
  if (typeof check.equals === 'string' && !(check.equals === '' && isPacked(check)))
    return same(text, world.resolve(check.equals), 'the content')
  if (typeof check.contains === 'string')
    return claim(
      text.includes(world.resolve(check.contains)),
      `the content is ${JSON.stringify(text)}, expected "${check.contains}" in it`,
    )
  if (typeof check.notContains === 'string')
    return claim(!text.includes(check.notContains), `the content has "${check.notContains}"`)
  if (typeof check.matches === 'string')
    return claim(new RegExp(check.matches).test(text), `${JSON.stringify(text)} does not match ${check.matches}`)
  if (check.nonEmpty === true) return claim(text.length >= Number(check.minLength ?? 1), 'it is empty')
  return passed
}

/** The case lost the bytes of its archives, so it cannot say what they are. */
function isPacked({ path }: Check): boolean {
  return /\.(tar|gz|tgz|bz2|xz|zst)$/.test(String(path))
}

function judgeStat(check: Check, scope: Scope): Outcome {
  const stats = statSync(outputPath(check, scope))
  const field = textOf(check, 'field')
  if (field.startsWith('ModTime()')) {
    const wanted = scope.world.timeOf(check.value)
    return same(Math.floor(stats.mtimeMs / 1000), wanted, 'the time')
  }
  const values: Readonly<Record<string, unknown>> = {
    'Mode().IsRegular()': stats.isFile(),
    'IsDir()': stats.isDirectory(),
    'Mode().IsDir()': stats.isDirectory(),
    'Size()': stats.size,
    'Mode()': stats.mode & 0o7777,
    'Mode().Perm()': stats.mode & 0o777,
  }
  if (!(field in values)) throw new Error(`the field ${field} of a stat is not known to the runner`)
  return judgeValue(check, values[field], scope)
}

function compareFiles(check: Check, scope: Scope, equal: boolean): Outcome {
  const [a, b] = ['a', 'b'].map((side) => {
    const { build, exporter, path } = recordOf(check[side])
    return readFileSync(join(outputOf(build, scope, [String(exporter ?? 'local')]), String(path)))
  })
  if (a === undefined || b === undefined) throw new Error('the check names no two files')
  return claim(a.equals(b) === equal, equal ? 'the files differ' : 'the files are equal')
}

async function tarOf(check: Check, { world }: Scope): Promise<ReadonlyMap<string, TarEntry>> {
  return readTar(readFileSync(world.resolve(textOf(check, 'tar'))))
}

function judgeEntry(check: Check, entry: TarEntry | undefined): Outcome {
  if (entry === undefined) return claim(check.assert === 'Nil', 'there is no such entry')
  const { header, data } = entry
  const values: Readonly<Record<string, unknown>> = {
    Data: data.toString(),
    'Header.Uid': header.uid,
    'Header.Gid': header.gid,
    'Header.Mode': header.mode,
    'Header.Name': header.name,
    'Header.Linkname': header.linkname,
    'Header.ModTime.Unix()': Math.floor((header.mtime?.getTime() ?? 0) / 1000),
    'Header.FileInfo().IsDir()': header.type === 'directory',
  }
  const field = textOf(check, 'field')
  if (!(field in values)) throw new Error(`the field ${field} of an entry is not known to the runner`)
  return judgeAssert(String(check.assert), values[field], check.value)
}

/** The config of the image that an expression of the case comes to. */
async function configOf(from: string, scope: Scope): Promise<unknown> {
  const tar = /tar\((?:file|buffer)\("(@[^"]+)"\)\)/.exec(from.replaceAll('\\', ''))?.[1]
  if (tar !== undefined) return configInTar(await readTar(readFileSync(scope.world.resolve(tar))))
  const name = /ProviderFromRef\("([^"]+)"\)/.exec(from)?.[1] ?? /"([\w.@/-]+:[\w.-]+)"/.exec(from)?.[1]
  const only = [...scope.results.builds.values()].at(-1)
  await using store = await openStore(scope.bench.options.root)
  const found = name === undefined ? undefined : store.images.find(fullName(scope.world.resolve(name)))
  const id = found?.id ?? only?.imageId?.trim()
  if (id === undefined) throw new Error(`there is no image for ${from}`)
  return JSON.parse(
    String(await store.blobs.read({ digest: id as `sha256:${string}` & NonNullable<typeof found>['id'] }, 1 << 20)),
  )
}

function fullName(name: string): string {
  return name.includes(':', name.lastIndexOf('/')) ? name : `${name}:latest`
}

function configInTar(entries: ReadonlyMap<string, TarEntry>): unknown {
  const blob = (digest: string): unknown => jsonOf(entries, `blobs/${digest.replace(':', '/')}`)
  const index = jsonOf(entries, 'index.json') as { manifests: { digest: string }[] }
  const manifest = blob(index.manifests[0]?.digest ?? '') as { config?: { digest: string }; manifests?: { digest: string }[] }
  const inner =
    manifest.config === undefined ? (blob(manifest.manifests?.[0]?.digest ?? '') as { config: { digest: string } }) : manifest
  return blob(inner.config?.digest ?? '')
}

function jsonOf(entries: ReadonlyMap<string, TarEntry>, name: string): unknown {
  return JSON.parse(entries.get(name)?.data.toString() ?? 'null')
}

/** Which image of an index is looked at; several where the case lost the end of the platform's name. */
function architecturesOf(check: Check): readonly string[] {
  const from = textOf(check, 'from')
  return from.endsWith('.Find("linux') ? ['amd64', 'arm64'] : [/linux\/(\w+)/.exec(from)?.[1] ?? 'amd64']
}

/** The entries of a layer of a pushed image. */
async function layerOf(check: Check, architecture: string, { world }: Scope): Promise<ReadonlyMap<string, TarEntry>> {
  const name = world.resolve(/ProviderFromRef\("([^"]+)"\)/.exec(textOf(check, 'from'))?.[1] ?? '')
  const [, host, repository, tag] = /^([^/]+)\/(.+):([^:/]+)$/.exec(name) ?? []
  const accept = [
    'oci.image.index.v1',
    'oci.image.manifest.v1',
    'docker.distribution.manifest.v2',
    'docker.distribution.manifest.list.v2',
  ]
  const headers = { accept: accept.map((type) => `application/vnd.${type}+json`).join(', ') }
  const get = async (path: string): Promise<Response> => fetch(`http://${host}/v2/${repository}/${path}`, { headers })
  type Manifest = { layers?: { digest: string }[]; manifests?: { digest: string; platform?: { architecture: string } }[] }
  let manifest = (await (await get(`manifests/${tag}`)).json()) as Manifest
  if (manifest.manifests !== undefined) {
    const chosen = manifest.manifests.find(({ platform }) => platform?.architecture === architecture)
    manifest = (await (await get(`manifests/${chosen?.digest}`)).json()) as Manifest
  }
  const digest = manifest.layers?.[Number(check.layer)]?.digest
  const bytes = Buffer.from(await (await get(`blobs/${digest}`)).arrayBuffer())
  return readTar(bytes[0] === 0x1f ? gunzipSync(bytes) : bytes)
}

/** A Go field path in JSON: names are compared without case and `_`. */
function fieldOf(value: unknown, path: string): unknown {
  let current = value
  for (const [, name, index, key] of path.matchAll(/(\w+)|\[(\d+)\]|\["([^"]*)"\]/g)) {
    if (typeof current !== 'object' || current === null) return undefined
    if (index !== undefined) current = (current as readonly unknown[])[Number(index)]
    else if (key !== undefined) current = recordOf(current)[key]
    else current = lookUp(recordOf(current), name ?? '')
  }
  return current
}

function lookUp(record: Readonly<Record<string, unknown>>, name: string): unknown {
  const plain = (text: string): string => text.toLowerCase().replaceAll('_', '')
  return Object.entries(record).find(([key]) => plain(key) === plain(name))?.[1]
}

function judgeValue(check: Check, value: unknown, { world }: Scope): Outcome {
  if (check.assert === 'Less' && /^Created$/.test(String(check.field))) {
    return claim(Date.now() - Date.parse(String(value)) < Number(check.value) / 1e6, `${String(value)} is too long ago`)
  }
  const wanted = typeof check.value === 'string' ? world.resolve(check.value) : check.value
  const isSource = /^Sources\[\d+\]$/.test(String(check.field)) && typeof value === 'string'
  return judgeAssert(String(check.assert), isSource ? Buffer.from(value, 'base64').toString() : value, wanted)
}

function judgeAssert(assert: string, value: unknown, wanted: unknown): Outcome {
  switch (assert) {
    case 'Equal':
      return same(value ?? zeroOf(wanted), wanted, 'the value')
    case 'NotEqual':
      return claim(same(value ?? zeroOf(wanted), wanted).status === 'failed', `the value is ${JSON.stringify(value)}`)
    case 'Contains':
      return claim(contains(value, wanted), `the value is ${JSON.stringify(value)}, expected ${JSON.stringify(wanted)} in it`)
    case 'NotContains':
      return claim(!contains(value, wanted), `the value is ${JSON.stringify(value)}`)
    case 'Len':
      return same(lengthOf(value), wanted, 'the length')
    case 'NotNil':
    case 'has':
      return claim((value !== undefined && value !== null) === (wanted ?? true), `the value is ${JSON.stringify(value)}`)
    case 'Nil':
    case 'Empty':
      return claim(value === undefined || value === null || lengthOf(value) === 0, `the value is ${JSON.stringify(value)}`)
    case 'NotEmpty':
      return claim(lengthOf(value) > 0, 'the value is empty')
    case 'True':
    case 'False':
      return same(value ?? false, assert === 'True', 'the value')
    case 'KeysEqual':
      return same(Object.keys(recordOf(value)).sort(), Array.isArray(wanted) ? wanted.map(String).sort() : wanted, 'the keys')
    default:
      throw new Error(`the assertion ${assert} is not known to the runner`)
  }
}

/** Go's zero value: JSON leaves such a field out. */
function zeroOf(wanted: unknown): unknown {
  if (typeof wanted === 'string') return ''
  if (typeof wanted === 'number') return 0
  if (typeof wanted === 'boolean') return false
  return wanted === null ? null : undefined
}

function contains(value: unknown, wanted: unknown): boolean {
  return Array.isArray(value) ? value.includes(wanted) : String(value).includes(String(wanted))
}

function lengthOf(value: unknown): number {
  if (typeof value === 'string' || Array.isArray(value)) return value.length
  return typeof value === 'object' && value !== null ? Object.keys(value).length : 0
}

/** The error must point at the first of the lines. */
function judgeErrorLines(check: Check, { results }: Scope): Outcome {
  const stderr = results.builds.get(String(check.build))?.stderr ?? ''
  const line = Number(/^\S*ockerfile\S*:(\d+):\d+: error/m.exec(stderr)?.[1])
  const lines = Array.isArray(check.lines) ? check.lines.map(Number) : []
  return claim(lines.includes(line), `the error is at line ${line}, expected ${lines.join(' to ')}`)
}
