/** Capabilities of this process by name, see capabilities(7). */
import { readFileSync } from 'node:fs'
import { readTextIfExists } from '../src/io/fs.js'

/** Names by bit number. */
const names: readonly string[] = `
  CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
  NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
  SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
  BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
`
  .trim()
  .split(/\s+/)
  .map((name) => `CAP_${name}`)

/** What this process has and may pass on: a container cannot be given more. */
export function ownCapabilities(): ReadonlySet<string> {
  const status = readFileSync('/proc/self/status', 'utf8')
  const mask = (field: string): bigint => BigInt(`0x${new RegExp(`^${field}:\\s*([0-9a-f]+)`, 'm').exec(status)?.[1] ?? '0'}`)
  const both = mask('CapBnd') & mask('CapPrm')
  return new Set(names.filter((_, bit) => (both >> BigInt(bit)) & 1n))
}

/** True where root is root of a namespace that a user made for himself: its 0 is that one user of the machine. */
export function isUsersNamespace(): boolean {
  const [inside, outside, count] = (readTextIfExists('/proc/self/uid_map') ?? '').trim().split(/\s+/)
  return inside === '0' && outside !== '0' && count === '1'
}
