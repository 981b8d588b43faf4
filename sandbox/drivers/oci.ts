/**
 * A `SandboxPlan` as the `config.json` of an OCI runtime. Pure: what it needs to know of this machine is an argument.
 *
 * Spec: OCI runtime-spec config.md, config-linux.md. The restrictions are those of `docker build`: fourteen capabilities,
 * a seccomp list, masked and read-only paths, no devices but the harmless ones. no_new_privs stays off, as there: `su` and
 * other setuid programs must work in a RUN.
 */
import type { Mount } from '../../src/core/mount.js'
import type { ResourceLimits, SandboxPlan } from '../plan.js'
import { type SeccompProfile, seccompProfile } from './seccomp.js'

/** What the config needs to know of this machine and of what was prepared for the container. */
export interface OciHost {
  /** Where the root filesystem is mounted. */
  readonly rootPath: string
  /** The plan's mounts and mille's own files, their sources and destinations resolved, in mount order. */
  readonly mounts: readonly Mount[]
  /** A network namespace to join; undefined: a new one with loopback alone, or the host's, as the plan's mode says. */
  readonly networkPath?: string
  /** Undefined when no cgroup can be made here. */
  readonly cgroupsPath?: string
  /** Version 1 needs a dozen mounts to show the cgroups, so there they are shown only to containers with limits. */
  readonly cgroupVersion: 1 | 2
  /** Names of the capabilities this process may pass on. */
  readonly capabilities: ReadonlySet<string>
  /** Node's name of the processor: `x64`, `arm64`. */
  readonly architecture: string
  /** The seccomp profile in compiled form, base64, for crun: compiling takes it more time than all the rest. */
  readonly seccompProgram?: string
  /** The size of the container's terminal. */
  readonly terminalSize?: { readonly rows: number; readonly columns: number }
}

/** The parts of config.json that mille writes. */
export interface OciConfig {
  readonly ociVersion: '1.0.2'
  readonly process: {
    readonly terminal: boolean
    readonly consoleSize?: { readonly height: number; readonly width: number }
    readonly user: { readonly uid: number; readonly gid: number; readonly additionalGids: readonly number[] }
    readonly args: readonly string[]
    readonly env: readonly string[]
    readonly cwd: string
    readonly capabilities: Readonly<Record<'bounding' | 'effective' | 'permitted', readonly string[]>>
    readonly noNewPrivileges: boolean
    readonly rlimits?: readonly { readonly type: string; readonly hard: number; readonly soft: number }[]
  }
  readonly root: { readonly path: string; readonly readonly: boolean }
  readonly hostname: string
  readonly mounts: readonly Mount[]
  readonly linux: {
    readonly namespaces: readonly { readonly type: string; readonly path?: string }[]
    readonly maskedPaths: readonly string[]
    readonly readonlyPaths: readonly string[]
    readonly resources?: Resources
    readonly cgroupsPath?: string
    readonly seccomp?: SeccompProfile
  }
  readonly annotations?: Readonly<Record<string, string>>
}

/** `linux.resources` of the runtime-spec. */
export interface Resources {
  readonly devices: readonly DeviceRule[]
  readonly memory?: { readonly limit?: number; readonly swap?: number }
  readonly cpu?: {
    readonly quota?: number
    readonly period?: number
    readonly shares?: number
    readonly cpus?: string
    readonly mems?: string
  }
  readonly pids?: { readonly limit: number }
}

interface DeviceRule {
  readonly allow: boolean
  readonly type?: 'a' | 'b' | 'c'
  readonly major?: number
  readonly minor?: number
  readonly access: string
}

/** The config of one container. */
export function ociConfig(plan: SandboxPlan, host: OciHost): OciConfig {
  const confined = plan.security === 'sandbox'
  const filtered = confined && plan.seccompUnconfined !== true
  const capabilities = capabilitiesOf(plan, host)
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: plan.terminal,
      ...consoleSizeOf(host),
      user: withPrimaryGroup(plan.user),
      args: plan.argv,
      env: plan.env,
      cwd: plan.cwd,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: plan.noNewPrivileges ?? false,
      ...rlimitsOf(plan),
    },
    root: { path: host.rootPath, readonly: plan.readonlyRootfs },
    hostname: plan.hostname,
    mounts: [...systemMounts(plan, host), ...host.mounts],
    linux: {
      namespaces: namespacesOf(plan, host),
      maskedPaths: confined ? maskedPaths : [],
      readonlyPaths: confined ? readonlyPaths : [],
      ...(host.cgroupsPath === undefined
        ? {}
        : { cgroupsPath: host.cgroupsPath, resources: { devices: deviceRules(confined), ...limitsOf(plan.limits) } }),
      ...(filtered ? { seccomp: seccompProfile(host.architecture) } : {}),
    },
    ...(filtered && host.seccompProgram !== undefined
      ? { annotations: { 'run.oci.seccomp_bpf_data': host.seccompProgram } }
      : {}),
  }
}

function consoleSizeOf({ terminalSize: size }: OciHost): Pick<OciConfig['process'], 'consoleSize'> {
  return size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } }
}

/**
 * The bytes of `config.json`. "Unlimited" is 2^64 - 1 there, which a double cannot hold: the limits of processes are put into
 * the text of the rest.
 */
export function ociConfigText(config: OciConfig): string {
  const { rlimits, ...process } = config.process
  const text = JSON.stringify({ ...config, process })
  if (rlimits === undefined) return text
  const numberText = (limit: number): string => (limit < 0 ? '18446744073709551615' : String(limit))
  const entries = rlimits.map(
    ({ type, hard, soft }) => `{"type":${JSON.stringify(type)},"hard":${numberText(hard)},"soft":${numberText(soft)}}`,
  )
  // The first "process" is the field: what is before it is the version.
  return text.replace('"process":{', () => `"process":{"rlimits":[${entries.join(',')}],`)
}

/** What a root of a container may do: docker's list, in its own words "a whitelist of harmless ones". */
const defaultCapabilities: readonly string[] = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
]

function capabilitiesOf(plan: SandboxPlan, host: OciHost): readonly string[] {
  if (plan.security === 'insecure') return [...host.capabilities].sort()
  // Without a cgroup nothing keeps a container away from devices, so there it may not make any.
  return defaultCapabilities.filter(
    (name) => host.capabilities.has(name) && (name !== 'CAP_MKNOD' || host.cgroupsPath !== undefined),
  )
}

function namespacesOf(plan: SandboxPlan, host: OciHost): OciConfig['linux']['namespaces'] {
  const own = ['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type }))
  if (host.networkPath !== undefined) return [...own, { type: 'network', path: host.networkPath }]
  return plan.network === 'host' ? own : [...own, { type: 'network' }]
}

function systemMounts(plan: SandboxPlan, host: OciHost): Mount[] {
  const insecure = plan.security === 'insecure'
  const guarded = ['nosuid', 'noexec', 'nodev']
  const mounts = [
    mountOf('/proc', 'proc', 'proc', guarded),
    mountOf('/dev', 'tmpfs', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mountOf('/dev/pts', 'devpts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']),
    mountOf('/dev/shm', 'tmpfs', 'shm', [...guarded, 'mode=1777', `size=${plan.shmSizeBytes ?? 64 * 1024 * 1024}`]),
    mountOf('/dev/mqueue', 'mqueue', 'mqueue', guarded),
    mountOf('/sys', 'sysfs', 'sysfs', insecure ? guarded : [...guarded, 'ro']),
  ]
  const showsCgroups = host.cgroupsPath !== undefined && (host.cgroupVersion === 2 || Object.keys(plan.limits).length > 0)
  const access = insecure ? 'rw' : 'ro'
  return showsCgroups ? [...mounts, mountOf('/sys/fs/cgroup', 'cgroup', 'cgroup', [...guarded, 'relatime', access])] : mounts
}

function mountOf(destination: string, type: string, source: string, options: readonly string[]): Mount {
  return { destination, type, source, options }
}

/** Files of /proc and /sys that tell or change what belongs to the whole machine. */
const maskedPaths: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]

const readonlyPaths: readonly string[] = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

/** Any device node may be made, few may be opened: null, zero, full, random, urandom, tty, console, ptmx, pseudo-terminals. */
function deviceRules(confined: boolean): readonly DeviceRule[] {
  if (!confined) return [{ allow: true, access: 'rwm' }]
  const open = (major: number, minor?: number): DeviceRule => ({
    allow: true,
    type: 'c',
    major,
    ...(minor === undefined ? {} : { minor }),
    access: 'rwm',
  })
  return [
    { allow: false, access: 'rwm' },
    { allow: true, type: 'c', access: 'm' },
    { allow: true, type: 'b', access: 'm' },
    ...[3, 5, 7, 8, 9].map((minor) => open(1, minor)),
    ...[0, 1, 2].map((minor) => open(5, minor)),
    open(136),
  ]
}

const cpuPeriodUs = 100_000

function limitsOf(limits: ResourceLimits): Omit<Resources, 'devices'> {
  const memory = {
    ...(limits.memoryBytes === undefined ? {} : { limit: limits.memoryBytes }),
    ...(limits.memorySwapBytes === undefined ? {} : { swap: limits.memorySwapBytes }),
  }
  const cpu = {
    ...(limits.cpus === undefined ? {} : { quota: Math.round(limits.cpus * cpuPeriodUs), period: cpuPeriodUs }),
    ...(limits.cpuQuotaUs === undefined ? {} : { quota: limits.cpuQuotaUs }),
    ...(limits.cpuPeriodUs === undefined ? {} : { period: limits.cpuPeriodUs }),
    ...(limits.cpuShares === undefined ? {} : { shares: limits.cpuShares }),
    ...(limits.cpusetCpus === undefined ? {} : { cpus: limits.cpusetCpus }),
    ...(limits.cpusetMems === undefined ? {} : { mems: limits.cpusetMems }),
  }
  return {
    ...(Object.keys(memory).length === 0 ? {} : { memory }),
    ...(Object.keys(cpu).length === 0 ? {} : { cpu }),
    ...(limits.pids === undefined ? {} : { pids: { limit: limits.pids } }),
  }
}

function rlimitsOf({ rlimits = [] }: SandboxPlan): Pick<OciConfig['process'], 'rlimits'> {
  if (rlimits.length === 0) return {}
  return { rlimits: rlimits.map(({ name, soft, hard }) => ({ type: `RLIMIT_${name.toUpperCase()}`, hard, soft })) }
}

/**
 * The primary group is among the further groups, too: a file that bars its group must stay barred for a process that has
 * given up the primary one.
 */
function withPrimaryGroup({ uid, gid, additionalGids }: SandboxPlan['user']): SandboxPlan['user'] {
  return { uid, gid, additionalGids: [gid, ...additionalGids.filter((id) => id !== gid)] }
}
