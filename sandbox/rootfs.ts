/**
 * The files that every container is given but no layer gets: /etc/resolv.conf, /etc/hosts, /etc/hostname.
 *
 * Pure text. They are written to the container's state directory and bind-mounted, so a command may edit them and the
 * edits vanish with the container.
 */
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

/** Paths that every container has something mounted on, whatever the plan says, and that a root filesystem may lack. */
export const systemDirectories: readonly string[] = ['/proc', '/dev', '/sys']
