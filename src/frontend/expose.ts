/** Ports of EXPOSE: `[[ip:]hostPort:]port[-port][/protocol]` (semantics.md 57). */

/** What is wrong with a port; a sentence. */
export interface PortProblem {
  readonly problem: string
}

/** The ports of all specs, as `80/tcp`, in the order given. Host addresses and host ports are checked and dropped. */
export function parsePorts(specs: readonly string[]): readonly string[] | PortProblem {
  const ports: string[] = []
  for (const spec of specs) {
    const found = parsePort(spec)
    if ('problem' in found) return found
    ports.push(...found.ports)
  }
  return ports
}

/** True for a spec that names more than a container port: `8080:80`, `127.0.0.1:80:80`. */
export function hasHostPart(spec: string): boolean {
  return spec.includes(':')
}

function parsePort(spec: string): { readonly ports: readonly string[] } | PortProblem {
  const parts = spec.split(':')
  const [container = '', protocolText = ''] = splitOnce(parts.at(-1) ?? '', '/')
  const hostPort = parts.at(-2) ?? ''
  const address = parts.slice(0, -2).join(':')
  if (container === '') return { problem: `invalid port: ${JSON.stringify(spec)}: no port specified` }
  const protocol = protocolText === '' ? 'tcp' : protocolText.toLowerCase()
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) {
    return { problem: `invalid port: "${spec}": "${protocolText}" is no protocol, expected tcp, udp or sctp` }
  }
  const range = parseRange(container)
  if (range === undefined) return { problem: `invalid port: "${spec}": "${container}" is no port or range of ports up to 65535` }
  if (hostPort !== '') {
    const host = parseRange(hostPort)
    if (host === undefined) return { problem: `invalid port: "${spec}": "${hostPort}" is no port or range of ports up to 65535` }
    const lengthsDiffer = host.last - host.first !== range.last - range.first
    if (lengthsDiffer && range.first !== range.last)
      return { problem: `invalid port: "${spec}": the two ranges differ in length` }
  }
  if (address !== '' && !isAddress(address)) return { problem: `invalid port: "${spec}": "${address}" is no IP address` }
  return { ports: Array.from({ length: range.last - range.first + 1 }, (_, n) => `${range.first + n}/${protocol}`) }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function parseRange(text: string): { readonly first: number; readonly last: number } | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text)
  if (match === null) return undefined
  const first = Number(match[1])
  const last = match[2] === undefined ? first : Number(match[2])
  return first <= last && last <= 65535 ? { first, last } : undefined
}

function isAddress(text: string): boolean {
  const address = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text
  return isIpv4(address) || isIpv6(address)
}

function isIpv4(text: string): boolean {
  return /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/.test(text)
}

function isIpv6(text: string): boolean {
  if (!/^[0-9a-fA-F:.]+$/.test(text)) return false
  const halves = text.split('::')
  if (halves.length > 2) return false
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')))
  const last = groups.at(-1)
  const embedded = last?.includes('.') === true && isIpv4(last)
  const plain = embedded ? groups.slice(0, -1) : groups
  if (!plain.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return false
  const count = plain.length + (embedded ? 2 : 0)
  return halves.length === 2 ? count < 8 : count === 8
}
