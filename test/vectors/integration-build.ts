/** From a `build` or `buildctl` step of a case to the command line of `mille build`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { recordOf } from './frame.js'
import type { World } from './integration-world.js'

/** What a step asks for, whatever its form. */
export interface BuildRequest {
  readonly attrs: Readonly<Record<string, string>>
  readonly mounts: Readonly<Record<string, string>>
  readonly exports: readonly ExportRequest[]
  readonly allow: readonly string[]
  readonly cacheTo: readonly string[]
  readonly secrets: readonly string[]
  readonly ssh: readonly string[]
  readonly ociStores: Readonly<Record<string, string>>
}

/** One output: `place` is the file or directory it goes to. */
export interface ExportRequest {
  readonly type: string
  readonly attrs: Readonly<Record<string, string>>
  readonly place: string | undefined
}

/** A reason why a step has no meaning without BuildKit itself. */
export class NotOurs extends Error {}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(recordOf(value ?? {})).map(([name, each]) => [name, typeof each === 'string' ? each : symbolOf(each)]),
  )
}

function symbolOf(value: unknown): string {
  const symbol = typeof value === 'object' && value !== null ? recordOf(value).$sym : undefined
  if (typeof symbol !== 'string') return String(value)
  // The dashes of a subtest's name were split at each letter when the cases were made.
  if (symbol === 'strings.Join(nil, ",")') return ''
  const platform = /^platforms\.FormatAll\(ocispecs\.Platform\{OS: "(.*)", OSVersion: "(.*)", Architecture: "(.*)"\}\)$/.exec(
    symbol,
  )
  if (platform !== null) return `${platform[1]}(${platform[2]})/${platform[3]}`
  throw new NotOurs(`the value ${symbol} is only known inside BuildKit's test`)
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** Reads the options of a `build` step. */
export function readOptions(options: Readonly<Record<string, unknown>>, world: World): BuildRequest {
  if (options.frontendInputs !== undefined) throw new NotOurs("needs an input in BuildKit's own graph format")
  return {
    attrs: textsOf(options.frontendAttrs),
    mounts: textsOf(options.localMounts),
    exports: listOf(options.exports).map((each) => readExport(recordOf(each))),
    allow: listOf(options.allowedEntitlements).map((each) => entitlement(JSON.stringify(each))),
    cacheTo: listOf(options.cacheExports).map((each) => {
      const { Type, Attrs } = recordOf(each)
      return fields({ type: String(Type), ...textsOf(Attrs) })
    }),
    ...readSession(listOf(options.session), world),
    ociStores: Object.fromEntries(
      Object.entries(recordOf(options.oCIStores ?? {})).map(([name, value]) => [
        name,
        /"(@\w+)"/.exec(JSON.stringify(value).replaceAll('\\"', '"'))?.[1] ?? '',
      ]),
    ),
  }
}

function entitlement(text: string): string {
  return text.includes('NetworkHost') || text.includes('network.host') ? 'network.host' : 'security.insecure'
}

function readExport(value: Readonly<Record<string, unknown>>): ExportRequest {
  const place = value.outputDir ?? value.output
  return { type: String(value.type), attrs: textsOf(value.attrs), place: typeof place === 'string' ? place : undefined }
}

function readSession(session: readonly unknown[], world: World): Pick<BuildRequest, 'secrets' | 'ssh'> {
  const text = session.map((each) => String(recordOf(each).$sym)).join(' ')
  const secrets = [...text.matchAll(/"([\w-]+)":\s*(?:\[\]byte\()?"((?:[^"\\]|\\.)*)"/g)].map(([, id = '', value = '']) => {
    world.set(`secret:${id}`, JSON.parse(`"${value}"`) as string)
    return id
  })
  const keys = [...text.matchAll(/Paths: \["(@[^"]+)"\]/g)].map(([, path = '']) => world.resolve(path))
  return { secrets: text.includes('secretsprovider') ? secrets : [], ssh: keys.map((path) => `default=${path}`) }
}

function fields(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => (/[,"]/.test(value) ? `"${name}=${value.replaceAll('"', '""')}"` : `${name}=${value}`))
    .join(',')
}

/** Reads a `buildctl build …` command line. */
export function readBuildctl(words: readonly string[]): BuildRequest {
  const options: { attrs: Record<string, string>; mounts: Record<string, string>; exports: ExportRequest[]; allow: string[] } = {
    attrs: {},
    mounts: {},
    exports: [],
    allow: [],
  }
  const take = (text: string): [string, string] => {
    const at = text.indexOf('=')
    return [text.slice(0, at), text.slice(at + 1)]
  }
  for (const [i, word] of words.entries()) {
    const value = words[i + 1] ?? ''
    if (word === '--local') Object.assign(options.mounts, Object.fromEntries([take(value)]))
    if (word === '--opt') Object.assign(options.attrs, Object.fromEntries([take(value)]))
    if (word === '--allow') options.allow.push(value)
    if (word === '--output') {
      const { type = 'local', dest, ...attrs } = Object.fromEntries(value.split(',').map(take))
      options.exports.push({ type, attrs, place: dest })
    }
    if (word === '--no-cache') options.attrs['no-cache'] = ''
  }
  return { ...options, cacheTo: [], ssh: [], secrets: [], ociStores: {} }
}

/** The arguments after `mille build`; `denied`: no right is given, whatever is asked. */
export function buildArguments(request: BuildRequest, world: World, denied: boolean): readonly string[] {
  const { attrs, mounts, exports, allow } = request
  const args: string[] = ['--progress=plain']
  for (const [name, value] of Object.entries(attrs)) args.push(...attributeArguments(name, world.resolve(value), request, world))
  if (!denied) for (const right of allow) args.push('--allow', right)
  for (const cache of request.cacheTo) args.push('--cache-to', world.resolve(cache))
  for (const id of request.secrets) args.push('--secret', `id=${id},env=VECTOR_SECRET_${id}`)
  for (const key of request.ssh) args.push('--ssh', key)
  for (const each of exports) args.push(...exportArguments(each, world))
  return [...args, ...contextArguments(attrs, mounts, world)]
}

function contextArguments(attrs: BuildRequest['attrs'], mounts: BuildRequest['mounts'], world: World): readonly string[] {
  const { filename } = attrs
  if (attrs.context !== undefined && attrs.context !== '') {
    return [...(filename === undefined ? [] : ['-f', filename]), world.resolve(attrs.context)]
  }
  const files = mounts.dockerfile ?? mounts.context
  const context = mounts.context ?? files
  if (files === undefined || context === undefined) throw new NotOurs('has no Dockerfile of its own')
  const folder = world.resolve(files)
  if (filename !== undefined) return ['-f', join(folder, filename), world.resolve(context)]
  if (files === context) return [world.resolve(context)]
  const lower = !existsSync(join(folder, 'Dockerfile')) && existsSync(join(folder, 'dockerfile'))
  return ['-f', join(folder, lower ? 'dockerfile' : 'Dockerfile'), world.resolve(context)]
}

/** Attributes that say something to BuildKit's front end loader or to provenance only. */
const ignored = new Set(['source', 'cmdline', 'filename', 'context', 'frontend.caps', 'requestid', 'input-metadata'])

function attributeArguments(name: string, value: string, request: BuildRequest, world: World): readonly string[] {
  const [head = '', rest] = [name.split(':')[0], name.slice(name.indexOf(':') + 1)]
  if (ignored.has(head) && name === head) return []
  switch (head) {
    case 'build-arg':
      return ['--build-arg', `${rest}=${value}`]
    case 'label':
      return ['--label', `${rest}=${value}`]
    case 'context':
      return ['--build-context', `${rest}=${contextValue(value, request, world)}`]
    case 'target':
    case 'platform':
    case 'shm-size':
    case 'cgroup-parent':
      return [`--${head}`, value]
    case 'cache-from':
    case 'ulimit':
      return value.split(',').flatMap((each) => [`--${head}`, each])
    case 'no-cache':
      return value === '' ? ['--no-cache'] : ['--no-cache-filter', value]
    case 'add-hosts':
      return value.split(',').flatMap((each) => ['--add-host', each.replace('=', ':')])
    case 'force-network-mode':
      return ['--network', value]
    case 'hostname':
      return request.attrs['build-arg:BUILDKIT_SANDBOX_HOSTNAME'] === undefined
        ? ['--build-arg', `BUILDKIT_SANDBOX_HOSTNAME=${value}`]
        : []
    case 'attest':
      return ['--attest', [`type=${rest}`, parametersOf(value)].filter((part) => part !== '').join(',')]
    case 'vcs':
      return []
    default:
      throw new Error(`the attribute ${name} is not known to the runner`)
  }
}

/** The parameters were split at each letter when the cases were made. */
function parametersOf(value: string): string {
  const text = /^(?:.,)*.$/.test(value) ? value.replaceAll(',', '') : value
  return text.replace(/(?<=.)(?<!,)(?=mode=)/, ',')
}

function contextValue(value: string, { mounts, ociStores }: BuildRequest, world: World): string {
  const local = /^local:(.*)$/.exec(value)?.[1]
  if (local !== undefined) return world.resolve(mounts[local] ?? '')
  const layout = /^oci-layout:(?:\/\/)?([^@:]+)(.*)$/.exec(value)
  if (layout !== null) return `oci-layout://${world.resolve(ociStores[layout[1] ?? ''] ?? '')}${layout[2]}`
  if (value.startsWith('input:')) throw new NotOurs("needs an input in BuildKit's own graph format")
  return value
}

function exportArguments({ type, attrs, place }: ExportRequest, world: World): readonly string[] {
  const known = Object.fromEntries(Object.entries(attrs).map(([name, value]) => [name, world.resolve(value)]))
  const dest = place === undefined ? {} : { dest: world.resolve(place) }
  return ['--output', fields({ type, ...known, ...dest })]
}
