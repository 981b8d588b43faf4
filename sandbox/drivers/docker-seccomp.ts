/**
 * Docker's form of a seccomp profile, as `--security-opt seccomp=FILE` takes it: the runtime's, with rules that hold only with
 * certain capabilities, processors or kernels, and processors with those that they can also run. Pure.
 *
 * What a profile says and is not known is an error: to pass over a part of it would let something through, or keep something out.
 */
import { SandboxError } from '../../src/core/errors.js'
import type { SeccompProfile, SeccompRule } from './seccomp.js'

/** A profile that was read. */
export interface DockerProfile {
  /** Undefined, and no rules: nothing is filtered. */
  readonly defaultAction: string | undefined
  readonly defaultErrnoRet: number | undefined
  readonly flags: readonly string[]
  readonly architectures: readonly string[]
  readonly archMap: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] }[]
  readonly syscalls: readonly DockerRule[]
}

interface DockerRule extends SeccompRule {
  readonly includes: RuleFilter
  readonly excludes: RuleFilter
}

/** When a rule holds: empty lists say nothing. */
interface RuleFilter {
  readonly caps: readonly string[]
  readonly arches: readonly string[]
  readonly minKernel: readonly [number, number] | undefined
}

/** What decides which rules hold. */
export interface ProfileHost {
  /** Node's name of the processor. */
  readonly architecture: string
  /** Those of the container. */
  readonly capabilities: readonly string[]
  /** `6.1.0-13-amd64`. */
  readonly kernelRelease: string
}

/** Reads a profile. @throws SandboxError SANDBOX_BAD_PROFILE with the place in it */
export function readSeccompProfile(text: string): DockerProfile {
  const top = new Fields(parse(text), '')
  const profile = {
    defaultAction: top.choice('defaultAction', actions),
    defaultErrnoRet: top.number('defaultErrnoRet'),
    flags: top.texts('flags'),
    architectures: top.texts('architectures'),
    archMap: top.objects('archMap').map(readProcessor),
    syscalls: top.objects('syscalls').map(readRule),
  }
  // `defaultErrno` is podman's name of the number in `defaultErrnoRet`.
  top.end(profile.defaultErrnoRet === undefined ? [] : ['defaultErrno'])
  if (profile.architectures.length > 0 && profile.archMap.length > 0) throw top.bad('has both architectures and archMap')
  if (profile.defaultAction === undefined && profile.syscalls.length > 0) throw top.bad('has rules and no defaultAction')
  return profile
}

function readProcessor(entry: Fields): DockerProfile['archMap'][number] {
  const read = { architecture: entry.text('architecture') ?? '', subArchitectures: entry.texts('subArchitectures') }
  entry.end()
  return read
}

function readRule(rule: Fields): DockerRule {
  const single = rule.text('name')
  const several = rule.texts('names')
  if ((single === undefined) === (several.length === 0)) throw rule.bad('needs one of name and names')
  const action = rule.choice('action', actions)
  if (action === undefined) throw rule.bad('has no action')
  const errnoRet = rule.number('errnoRet')
  const args = rule.objects('args').map(readArgument)
  const [includes, excludes] = [readFilter(rule.object('includes')), readFilter(rule.object('excludes'))]
  // `errno` is podman's name of the number in `errnoRet`.
  rule.end(errnoRet === undefined ? ['comment'] : ['comment', 'errno'])
  return {
    ...{ names: single === undefined ? several : [single], action, includes, excludes },
    ...(errnoRet === undefined ? {} : { errnoRet }),
    ...(args.length === 0 ? {} : { args }),
  }
}

function readArgument(argument: Fields): NonNullable<SeccompRule['args']>[number] {
  const op = argument.choice('op', comparisons)
  if (op === undefined) throw argument.bad('has no op')
  const valueTwo = argument.number('valueTwo')
  const read = { index: argument.number('index') ?? 0, value: argument.number('value') ?? 0, op }
  argument.end()
  return valueTwo === undefined ? read : { ...read, valueTwo }
}

function readFilter(filter: Fields | undefined): RuleFilter {
  if (filter === undefined) return { caps: [], arches: [], minKernel: undefined }
  const version = filter.text('minKernel')
  const minKernel = version === undefined ? undefined : kernelVersion(version)
  if (version !== undefined && minKernel === undefined)
    throw filter.bad(`has the minKernel "${version}", expected one such as 4.8`)
  const read = { caps: filter.texts('caps'), arches: filter.texts('arches'), minKernel }
  filter.end()
  return read
}

/** The runtime's profile for one container; undefined where nothing is filtered. */
export function convertProfile(profile: DockerProfile, host: ProfileHost): SeccompProfile | undefined {
  const { defaultAction, defaultErrnoRet, flags, archMap, syscalls } = profile
  if (defaultAction === undefined) return undefined
  const own = processors[host.architecture]
  const mapped = archMap.find(({ architecture }) => architecture === own?.seccomp)
  const fromMap = mapped === undefined ? [] : [mapped.architecture, ...mapped.subArchitectures]
  const rules = syscalls.filter((rule) => isFor(rule, own?.name ?? host.architecture, host))
  return {
    defaultAction,
    ...(defaultErrnoRet === undefined ? {} : { defaultErrnoRet }),
    ...(flags.length === 0 ? {} : { flags }),
    architectures: archMap.length === 0 ? profile.architectures : fromMap,
    syscalls: rules.map(({ includes: _, excludes: __, ...rule }) => rule),
  }
}

/** Of what a rule excludes one thing is enough; what it includes must all be there, but for processors, of which one must. */
function isFor({ includes, excludes }: DockerRule, processor: string, { capabilities, kernelRelease }: ProfileHost): boolean {
  const has = (name: string): boolean => capabilities.includes(name)
  const reaches = (least: RuleFilter['minKernel']): boolean => least !== undefined && isAtLeast(kernelRelease, least)
  if (excludes.arches.includes(processor) || excludes.caps.some(has) || reaches(excludes.minKernel)) return false
  if (includes.arches.length > 0 && !includes.arches.includes(processor)) return false
  return includes.caps.every(has) && (includes.minKernel === undefined || reaches(includes.minKernel))
}

function kernelVersion(text: string): readonly [number, number] | undefined {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(text) ?? []
  return major === undefined ? undefined : [Number(major), Number(minor)]
}

function isAtLeast(release: string, [major, minor]: readonly [number, number]): boolean {
  const [ownMajor = 0, ownMinor = 0] = kernelVersion(release) ?? []
  return ownMajor > major || (ownMajor === major && ownMinor >= minor)
}

/** What filters of rules call a processor, and what the runtime does. */
const processors: Readonly<Record<string, { readonly name: string; readonly seccomp: string }>> = {
  x64: { name: 'amd64', seccomp: 'SCMP_ARCH_X86_64' },
  ia32: { name: 'x86', seccomp: 'SCMP_ARCH_X86' },
  arm64: { name: 'arm64', seccomp: 'SCMP_ARCH_AARCH64' },
  arm: { name: 'arm', seccomp: 'SCMP_ARCH_ARM' },
  ppc64: { name: 'ppc64le', seccomp: 'SCMP_ARCH_PPC64LE' },
  s390x: { name: 's390x', seccomp: 'SCMP_ARCH_S390X' },
  riscv64: { name: 'riscv64', seccomp: 'SCMP_ARCH_RISCV64' },
  loong64: { name: 'loongarch64', seccomp: 'SCMP_ARCH_LOONGARCH64' },
}

/** All but SCMP_ACT_NOTIFY, which needs a program that answers. */
const actions: readonly string[] = ['ALLOW', 'ERRNO', 'KILL', 'KILL_PROCESS', 'KILL_THREAD', 'LOG', 'TRACE', 'TRAP'].map(
  (name) => `SCMP_ACT_${name}`,
)

const comparisons: readonly string[] = ['NE', 'LT', 'LE', 'EQ', 'GE', 'GT', 'MASKED_EQ'].map((name) => `SCMP_CMP_${name}`)

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new SandboxError('SANDBOX_BAD_PROFILE', `the seccomp profile is no JSON: ${error.message}`, { cause: error })
  }
}

/** The fields of one object of a profile. `end` refuses those that nobody asked for. */
class Fields {
  readonly #fields: ReadonlyMap<string, unknown>
  readonly #asked = new Set<string>()
  readonly #place: string

  constructor(value: unknown, place: string) {
    this.#place = place
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.bad('is no object')
    // null stands for a field that is not there.
    this.#fields = new Map(Object.entries(value).filter(([, each]) => each !== null))
  }

  bad(problem: string): SandboxError {
    const place = this.#place === '' ? '' : `: ${this.#place}`
    return new SandboxError('SANDBOX_BAD_PROFILE', `the seccomp profile${place} ${problem}`)
  }

  text(field: string): string | undefined {
    const value = this.#get(field)
    if (value === undefined || typeof value === 'string') return value
    throw this.bad(`has a ${field} that is no text`)
  }

  /** Numbers above 2^53 would be others when they are written again. */
  number(field: string): number | undefined {
    const value = this.#get(field)
    if (value === undefined || (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0)) return value
    throw this.bad(`has a ${field} that is no whole number from 0 to 2^53`)
  }

  choice(field: string, known: readonly string[]): string | undefined {
    const value = this.text(field)
    if (value === undefined || known.includes(value)) return value
    throw this.bad(`has the ${field} "${value}", expected one of ${known.join(', ')}`)
  }

  texts(field: string): readonly string[] {
    const value = this.#get(field) ?? []
    if (Array.isArray(value) && value.every((item): item is string => typeof item === 'string')) return value
    throw this.bad(`has ${field} that are no list of texts`)
  }

  object(field: string): Fields | undefined {
    const value = this.#get(field)
    return value === undefined ? undefined : new Fields(value, this.#at(field))
  }

  objects(field: string): readonly Fields[] {
    const value = this.#get(field) ?? []
    if (!Array.isArray(value)) throw this.bad(`has ${field} that are no list`)
    return value.map((item: unknown, index) => new Fields(item, this.#at(`${field}[${index}]`)))
  }

  end(ignored: readonly string[] = []): void {
    const other = [...this.#fields.keys()].find((field) => !this.#asked.has(field) && !ignored.includes(field))
    if (other !== undefined) throw this.bad(`has the field "${other}", which is not known`)
  }

  #get(field: string): unknown {
    this.#asked.add(field)
    return this.#fields.get(field)
  }

  #at(field: string): string {
    return this.#place === '' ? field : `${this.#place}.${field}`
  }
}
