/** Reads the values of `mille run`'s flags that have a grammar of their own: volumes, mounts, hosts, environment files. */
import { readFileSync } from 'node:fs'
import { posix, resolve } from 'node:path'
import { hostGateway } from '../../sandbox/plan.js'
import type { ContainerMount } from '../container/options.js'
import { systemCode, UsageError } from '../core/errors.js'
import { parseBytes } from './args.js'
import { isTrueField, readFields } from './csv.js'

/** Options of `-v` that docker accepts and that change nothing here: labels of SELinux, hints for Docker Desktop. */
export const harmlessVolumeOptions = new Set(['rw', 'z', 'Z', 'cached', 'delegated', 'consistent', 'nocopy'])

/** Names that a volume can have. */
export const volumeName = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/

/** Reads `-v`: `/host:/container[:ro]`, `name:/container[:ro]`, `/container`. */
export function readVolume(text: string, cwd: string): ContainerMount {
  const parts = text.split(':')
  if (parts.length > 3) throw new UsageError('USAGE_BAD_FLAG', `-v ${text} has more than two colons`)
  if (parts.length === 1) return { kind: 'volume', name: undefined, target: targetOf(text, `-v ${text}`), readonly: false }
  const [source = '', target = '', options = ''] = parts
  let readonly = false
  for (const option of options.split(',').filter((word) => word !== '')) {
    if (option === 'ro' || option === 'readonly') readonly = true
    else if (!harmlessVolumeOptions.has(option))
      throw new UsageError('USAGE_BAD_FLAG', `-v ${text} has the unknown option "${option}"`)
  }
  return sourceMount(source, targetOf(target, `-v ${text}`), readonly, cwd, `-v ${text}`)
}

function sourceMount(source: string, target: string, readonly: boolean, cwd: string, flag: string): ContainerMount {
  if (/^[./~]/.test(source)) return { kind: 'bind', hostPath: resolve(cwd, source), target, readonly, create: true }
  if (volumeName.test(source)) return { kind: 'volume', name: source, target, readonly }
  throw new UsageError('USAGE_BAD_FLAG', `${flag}: "${source}" is neither a path nor a volume name`, {
    hint: 'start a path with / or ./',
  })
}

/** The absolute path of a mount in the container. @throws UsageError */
export function targetOf(text: string, flag: string): string {
  if (!text.startsWith('/')) {
    throw new UsageError('USAGE_BAD_FLAG', `${flag}: the path in the container is "${text}", expected an absolute one`)
  }
  const clean = posix.normalize(text).replace(/(.)\/$/, '$1')
  if (clean === '/') throw new UsageError('USAGE_BAD_FLAG', `${flag}: the path in the container cannot be /`)
  return clean
}

const mountKeys = {
  type: [],
  source: ['src'],
  target: ['destination', 'dst'],
  readonly: ['ro'],
  'tmpfs-size': [],
  'tmpfs-mode': [],
  'volume-nocopy': [],
  consistency: [],
} as const

/** Reads `--mount type=bind|volume|tmpfs,source=…,target=…[,readonly]`. */
export function readMount(text: string, cwd: string): ContainerMount {
  const flag = `--mount ${text}`
  const fields = readFields(text, '--mount', mountKeys)
  const type = fields.get('type') ?? 'volume'
  const target = targetOf(fields.get('target') ?? '', flag)
  const source = fields.get('source')
  const readonly = isTrueField(fields.get('readonly'), flag)
  switch (type) {
    case 'bind':
      if (source === undefined) throw new UsageError('USAGE_BAD_FLAG', `${flag} needs a source`)
      return { kind: 'bind', hostPath: resolve(cwd, source), target, readonly, create: false }
    case 'volume':
      if (source !== undefined && !volumeName.test(source)) {
        throw new UsageError('USAGE_BAD_FLAG', `${flag}: "${source}" is no volume name`, { hint: 'for a path write type=bind' })
      }
      return { kind: 'volume', name: source, target, readonly }
    case 'tmpfs':
      return tmpfs(target, fields.get('tmpfs-size'), fields.get('tmpfs-mode'), flag)
    default:
      throw new UsageError('USAGE_BAD_FLAG', `${flag}: the type "${type}" is not known, expected bind, volume or tmpfs`)
  }
}

function tmpfs(target: string, size: string | undefined, mode: string | undefined, flag: string): ContainerMount {
  if (mode !== undefined && !/^[0-7]{1,4}$/.test(mode)) {
    throw new UsageError('USAGE_BAD_FLAG', `${flag}: the mode "${mode}" is not octal`)
  }
  return {
    kind: 'tmpfs',
    target,
    ...(size === undefined ? {} : { sizeBytes: parseBytes(size, flag) }),
    ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
  }
}

/** Reads `--tmpfs /path[:size=64m,mode=1777]`. */
export function readTmpfs(text: string): ContainerMount {
  const [path = '', options = ''] = text.split(':')
  const flag = `--tmpfs ${text}`
  const harmless = new Set(['rw', 'nosuid', 'nodev', 'noexec'])
  const words = options.split(',').filter((word) => word !== '' && !harmless.has(word))
  const fields = words.length === 0 ? new Map<string, string>() : readFields(words.join(','), '--tmpfs', { size: [], mode: [] })
  return tmpfs(targetOf(path, flag), fields.get('size'), fields.get('mode'), flag)
}

/** Reads `--add-host name:address` (or `name=address`); the address can be `host-gateway`. */
export function readHost(text: string): { readonly name: string; readonly address: string } {
  const match = /^([^:=]+)[:=](.+)$/.exec(text)
  const address = match?.[2]?.replace(/^\[(.*)\]$/, '$1')
  if (match?.[1] === undefined || address === undefined) {
    throw new UsageError('USAGE_BAD_FLAG', `--add-host "${text}" has not the form name:address`)
  }
  if (address !== hostGateway && !isAddress(address)) {
    throw new UsageError('USAGE_BAD_FLAG', `--add-host "${text}": "${address}" is no IP address`)
  }
  return { name: match[1], address }
}

/** Loading node:net for its `isIP` takes 4 ms. */
function isAddress(text: string): boolean {
  const octet = '(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)'
  if (new RegExp(`^${octet}(?:\\.${octet}){3}$`).test(text)) return true
  return /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(text) && URL.canParse(`http://[${text}]/`)
}

/** `NAME=value` lines of an environment file, as docker reads it: `#` comments, no quotes, a bare name takes the caller's value. */
export function readEnvFile(path: string, env: Readonly<Record<string, string | undefined>>): string[] {
  return readEnvText(path)
    .split(/\r?\n/)
    .map((line) => line.trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .flatMap((line) => readEnv(line, env, `--env-file ${path}`))
}

function readEnvText(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    throw new UsageError('USAGE_BAD_FLAG', `--env-file ${path} cannot be read (${systemCode(error)})`, { cause: error })
  }
}

/** One `-e` word: `NAME=value`, or `NAME` for the caller's value (nothing when it has none). */
export function readEnv(word: string, env: Readonly<Record<string, string | undefined>>, flag: string): string[] {
  const at = word.indexOf('=')
  const name = at < 0 ? word : word.slice(0, at)
  if (name === '' || /\s/.test(name)) throw new UsageError('USAGE_BAD_FLAG', `${flag}: "${word}" has no valid name`)
  if (at >= 0) return [word]
  const value = env[name]
  return value === undefined ? [] : [`${name}=${value}`]
}

/** Reads `--network`. */
export function readNetwork(text: string): 'default' | 'host' | 'none' {
  if (text === 'default' || text === 'bridge') return 'default'
  if (text === 'host' || text === 'none') return text
  throw new UsageError('USAGE_BAD_FLAG', `--network is "${text}", expected default, host or none`, {
    hint: 'networks with names are not supported yet',
  })
}
