/**
 * The files that every container is given but no layer gets: /etc/resolv.conf, /etc/hosts, /etc/hostname.
 *
 * Pure text but for the mount points at the end. They are written to the container's state directory and bind-mounted, so a command may edit them and the
 * edits vanish with the container; with a read-only root filesystem they are read-only, too.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NetworkMode, SandboxPlan } from './plan.js'

/** Name servers for a container when this machine names none that can be reached from a network of its own. */
const publicNameServers: readonly string[] = ['8.8.8.8', '8.8.4.4', '2001:4860:4860::8888', '2001:4860:4860::8844']

/** The address of systemd-resolved's stub, which listens on the host's loopback only. */
const systemdStub = '127.0.0.53'

/** True when the host's resolv.conf names only systemd's stub: then the file behind it is the one to read. */
export function namesSystemdStub(resolvConf: string): boolean {
  const servers = nameServers(resolvConf)
  return servers.length > 0 && servers.every((server) => server === systemdStub)
}

/**
 * The container's resolv.conf, made of the host's.
 *
 * With the host's network it is the same file. Otherwise servers on loopback addresses are left out: in a network of its own
 * the container would ask itself. Where none is left, public ones take their place; with no network, none do.
 */
export function resolvConf(host: string, network: NetworkMode): string {
  if (network === 'host') return host
  const lines = host.split('\n').filter((line) => !isLoopback(serverOf(line)))
  const text = lines.join('\n')
  if (network === 'none' || nameServers(text).length > 0) return text
  const end = text === '' || text.endsWith('\n') ? text : `${text}\n`
  return `${end}${publicNameServers.map((server) => `nameserver ${server}\n`).join('')}`
}

function serverOf(line: string): string | undefined {
  return /^\s*nameserver\s+(\S+)/.exec(line)?.[1]
}

function nameServers(text: string): string[] {
  return text.split('\n').flatMap((line) => serverOf(line) ?? [])
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && (address.startsWith('127.') || address === '::1' || address.startsWith('::1%'))
}

/** The container's /etc/hosts: loopback names, its own host name, then the plan's extra lines. */
export function hostsFile(plan: Pick<SandboxPlan, 'hostname' | 'extraHosts'>): string {
  const lines = [
    `127.0.0.1\tlocalhost ${plan.hostname}`,
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'ff00::0\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...plan.extraHosts.map(({ name, address }) => `${address}\t${name}`),
  ]
  return `${lines.join('\n')}\n`
}

/** Directories that every container has something mounted on, whatever the plan says. */
export const systemDirectories: readonly string[] = ['/proc', '/dev', '/sys']

/** The files above, as paths in the container. */
const systemFiles: readonly string[] = ['/etc/resolv.conf', '/etc/hosts', '/etc/hostname']

/**
 * Makes a layer directory with nothing but the mount points that every container needs. It goes below all other layers, so
 * what an image lacks is there without a write to the upper directory (on a busy disk those cost more than the runtime).
 * They are mounted over while a command runs, so it cannot remove them, and no whiteout of them can get into its layer.
 */
export function makeSystemPoints(directory: string): void {
  for (const path of [...systemDirectories, '/etc']) mkdirSync(join(directory, path), { recursive: true, mode: 0o755 })
  for (const path of systemFiles) writeFileSync(join(directory, path), '', { mode: 0o644 })
}
