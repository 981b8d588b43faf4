/** The flags that limit and hold the commands of a build: docker's single ones, buildx's `--resource`, `--ulimit`, `--security-opt`. */

import type { ResourceLimits } from '../../sandbox/plan.js'
import { processLimitNames } from '../../sandbox/process-limits.js'
import { UsageError } from '../core/errors.js'
import { didYouMean } from '../core/suggest.js'
import type { Confinement } from '../graph/op.js'
import { type FlagTable, type FlagValues, parseBytes } from './args.js'
import { readFields } from './csv.js'
import { readSecurity, securityFlag } from './security-opt.js'

/** A part of the flags of `mille build`. */
export const limitFlags = {
  'cgroup-parent': { type: 'string', value: 'path', help: 'The cgroup below which RUN steps get theirs' },
  'cpu-period': { type: 'integer', value: 'µs', help: 'The period that --cpu-quota counts in', defaultText: '100000' },
  'cpu-quota': { type: 'integer', value: 'µs', help: 'CPU time that a RUN step has in each period' },
  'cpu-shares': { type: 'integer', short: 'c', value: 'number', help: 'Weight of a RUN step against others' },
  'cpuset-cpus': { type: 'string', value: 'list', help: 'The CPUs that RUN steps may use: 0-3, or 0,1' },
  'cpuset-mems': { type: 'string', value: 'list', help: 'The memory nodes that RUN steps may use' },
  isolation: { type: 'string', value: 'kind', help: 'Accepted as default or oci only: containers of an OCI runtime' },
  memory: { type: 'bytes', short: 'm', value: 'size', help: 'The memory that a RUN step may use' },
  'memory-swap': { type: 'bytes', unlimited: true, value: 'size', help: 'Memory and swap together; -1 for unlimited swap' },
  resource: { type: 'list', value: 'key=value,…', help: 'Several limits at once, as memory=1g,cpu-quota=50000' },
  'security-opt': securityFlag,
  ulimit: { type: 'list', value: 'name=soft[:hard]', help: 'A limit of processes in RUN steps, as nofile=1024:4096' },
} as const satisfies FlagTable

type Values = FlagValues<typeof limitFlags>

/** What these flags say. @throws UsageError */
export function readLimitFlags(
  values: Values,
  cwd: string,
): { readonly limits: ResourceLimits; readonly confinement: Confinement } {
  checkIsolation(values.isolation)
  const limits = Object.assign({}, limitsOf(values), ...values.resource.map(readResource)) as ResourceLimits
  checkLimits(limits)
  const ulimits = readUlimits(values.ulimit)
  const cgroupParent = values['cgroup-parent']
  return {
    limits,
    confinement: {
      ...(ulimits.length === 0 ? {} : { ulimits }),
      ...(cgroupParent === undefined || cgroupParent === '' ? {} : { cgroupParent: readCgroup(cgroupParent) }),
      ...readSecurity(values['security-opt'], cwd),
    },
  }
}

function checkIsolation(kind: string | undefined): void {
  if (kind === undefined || ['', 'default', 'oci'].includes(kind)) return
  throw new UsageError('USAGE_BAD_FLAG', `--isolation is "${kind}", mille knows default and oci`, {
    hint: 'leave it out: which ways there are on this machine says "mille doctor"',
  })
}

function limitsOf(values: Omit<Values, 'resource'>): ResourceLimits {
  const found: { readonly [K in keyof ResourceLimits]: ResourceLimits[K] | undefined } = {
    memoryBytes: values.memory,
    memorySwapBytes: values['memory-swap'],
    cpuShares: values['cpu-shares'],
    cpuPeriodUs: values['cpu-period'],
    cpuQuotaUs: values['cpu-quota'],
    cpusetCpus: values['cpuset-cpus'],
    cpusetMems: values['cpuset-mems'],
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined && value !== 0 && value !== ''))
}

const resourceKeys = {
  ...{ memory: [], 'memory-swap': [], 'cpu-shares': [], 'cpu-period': [], 'cpu-quota': [], 'cpuset-cpus': [], 'cpuset-mems': [] },
} as const

/** A list of CPUs has commas: it stands in quotes, or its parts follow without a key. */
function readResource(text: string): ResourceLimits {
  const joined = text.replace(/(cpuset-(?:cpus|mems)=)([\d-]+(?:,[\d-]+)+)/g, (_, key: string, list: string) => `"${key}${list}"`)
  const fields = readFields(joined, '--resource', resourceKeys)
  const number = (key: string): number | undefined => {
    const value = fields.get(key)
    if (value === undefined || /^-?\d+$/.test(value)) return value === undefined ? undefined : Number(value)
    throw new UsageError('USAGE_BAD_FLAG', `--resource ${text}: ${key} is "${value}", expected a whole number`)
  }
  const bytes = (key: string): number | undefined => {
    const value = fields.get(key)
    if (value === undefined || (key === 'memory-swap' && value === '-1')) return value === undefined ? undefined : -1
    return parseBytes(value, `--resource ${key}`)
  }
  return limitsOf({
    ...{ memory: bytes('memory'), 'memory-swap': bytes('memory-swap'), 'cpu-shares': number('cpu-shares') },
    ...{ 'cpu-period': number('cpu-period'), 'cpu-quota': number('cpu-quota') },
    ...{ 'cpuset-cpus': fields.get('cpuset-cpus'), 'cpuset-mems': fields.get('cpuset-mems') },
    ...{ 'cgroup-parent': undefined, isolation: undefined, 'security-opt': [], ulimit: [] },
  })
}

const leastMemory = 6 << 20

/**
 * docker's own bounds, and the kernel's: what a runtime would refuse with a sentence about a file of its cgroup.
 *
 * @throws UsageError
 */
export function checkLimits({ memoryBytes, memorySwapBytes, cpuPeriodUs, cpuQuotaUs, cpuShares, ...sets }: ResourceLimits): void {
  const bad = (message: string, hint?: string): UsageError =>
    new UsageError('USAGE_BAD_FLAG', message, hint === undefined ? {} : { hint })
  if (memoryBytes !== undefined && memoryBytes < leastMemory) throw bad(`--memory is ${memoryBytes} bytes, expected at least 6m`)
  if (memorySwapBytes !== undefined && memorySwapBytes !== -1) {
    if (memoryBytes === undefined) throw bad('--memory-swap needs --memory', 'it is the sum of both')
    if (memorySwapBytes < memoryBytes) throw bad('--memory-swap is less than --memory', 'it is the sum of memory and swap')
  }
  if (cpuPeriodUs !== undefined && (cpuPeriodUs < 1000 || cpuPeriodUs > 1_000_000)) {
    throw bad(`--cpu-period is ${cpuPeriodUs}, expected 1000 to 1000000`)
  }
  if (cpuQuotaUs !== undefined && cpuQuotaUs !== -1 && cpuQuotaUs < 1000) {
    throw bad(`--cpu-quota is ${cpuQuotaUs}, expected at least 1000`)
  }
  if (cpuShares !== undefined && (cpuShares < 2 || cpuShares > 262_144)) {
    throw bad(`--cpu-shares is ${cpuShares}, expected 2 to 262144`)
  }
  for (const [name, list] of [['cpuset-cpus', sets.cpusetCpus] as const, ['cpuset-mems', sets.cpusetMems] as const]) {
    if (list !== undefined && !/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(list)) {
      throw bad(`--${name} is "${list}", expected numbers and ranges such as 0-2,4`)
    }
  }
}

function readUlimits(texts: readonly string[]): { readonly name: string; readonly soft: number; readonly hard: number }[] {
  const byName = new Map(texts.map((text) => [text.split('=')[0], readUlimit(text)]))
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** crun needs 18 and runc 11 to set a container up. */
const leastOpenFiles = 20

/** Reads `name=soft[:hard]`; -1 and `unlimited` are no limit. */
export function readUlimit(text: string): { readonly name: string; readonly soft: number; readonly hard: number } {
  const match = /^([a-z]+)=(-1|\d+|unlimited)(?::(-1|\d+|unlimited))?$/.exec(text)
  if (match === null) {
    throw new UsageError('USAGE_BAD_FLAG', `--ulimit ${text} has not the form name=soft[:hard]`, {
      hint: 'for example nofile=1024:4096',
    })
  }
  const [, name = '', softText = '', hardText = softText] = match
  if (!processLimitNames.includes(name)) {
    throw new UsageError('USAGE_BAD_FLAG', `--ulimit ${text}: there is no limit "${name}"`, {
      hint: didYouMean(name, processLimitNames) ?? `the limits are ${processLimitNames.join(', ')}`,
    })
  }
  const [soft = 0, hard = 0] = [softText, hardText].map((word) => (word === 'unlimited' ? -1 : Number(word)))
  if (hard !== -1 && (soft === -1 || soft > hard)) {
    throw new UsageError('USAGE_BAD_FLAG', `--ulimit ${text}: the soft limit is above the hard one`)
  }
  if (name === 'nofile' && soft !== -1 && soft < leastOpenFiles) {
    throw new UsageError('USAGE_BAD_FLAG', `--ulimit ${text} is too low: the OCI runtime opens files within the limit itself`, {
      hint: `the least is nofile=${leastOpenFiles}`,
    })
  }
  return { name, soft, hard }
}

function readCgroup(path: string): string {
  if (!path.split('/').includes('..')) return path
  throw new UsageError('USAGE_BAD_FLAG', `--cgroup-parent ${path} leads upwards`)
}
