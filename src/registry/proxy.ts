/**
 * Which proxy a request takes, with the rules of the Go tools (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`), and the CONNECT
 * tunnel through it. This machine's own addresses are never proxied.
 */
import type { ClientRequestArgs } from 'node:http'
import type { Socket } from 'node:net'
import { RegistryError } from '../core/errors.js'

/** Proxy URLs for http and https targets, and the comma-separated list of hosts that need none. */
export interface ProxySettings {
  readonly http?: string | undefined
  readonly https?: string | undefined
  readonly noProxy?: string | undefined
}

/** The settings in environment variables; lower-case names win, as curl has it. */
export function proxyFromEnv(env: Readonly<Record<string, string | undefined>>): ProxySettings {
  const value = (name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined
  return { http: value('HTTP_PROXY'), https: value('HTTPS_PROXY'), noProxy: value('NO_PROXY') }
}

/** True for `localhost` and the addresses of the loopback interface. `hostname` as in `URL.hostname`. */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' || hostname.endsWith('.localhost') || /^127(\.\d{1,3}){3}$/.test(hostname) || hostname === '[::1]'
  )
}

/** The proxy for `url`, or undefined for a direct connection. */
export function proxyFor(url: URL, settings: ProxySettings): URL | undefined {
  const text = url.protocol === 'https:' ? settings.https : settings.http
  if (text === undefined || isLoopback(url.hostname) || isExcluded(url, settings.noProxy ?? '')) return undefined
  const proxy = parseUrl(text.includes('://') ? text : `http://${text}`)
  if (proxy === undefined || (proxy.protocol !== 'http:' && proxy.protocol !== 'https:')) {
    const shown = text.replace(/\/\/[^/@]*@/, '//')
    throw new RegistryError('REGISTRY_PROTOCOL', `the proxy "${shown}" is no http or https URL`, {
      hint: 'check HTTP_PROXY and HTTPS_PROXY',
    })
  }
  return proxy
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined
}

/** `example.com` covers its subdomains too, `.example.com` only those, `*` everything; a port must be equal when given. */
function isExcluded(url: URL, list: string): boolean {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  return list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => {
      if (entry === '') return false
      if (entry === '*') return true
      const [, name = '', entryPort] = /^(\[.*\]|[^:]*)(?::(\d+))?$/.exec(entry) ?? []
      if (entryPort !== undefined && entryPort !== port) return false
      if (name.includes('/')) return inNetwork(url.hostname, name)
      const host = name.replace(/^\*/, '')
      return host.startsWith('.') ? url.hostname.endsWith(host) : url.hostname === host || url.hostname.endsWith(`.${host}`)
    })
}

/** True when the IPv4 address `hostname` lies in `network` (`10.0.0.0/8`). */
function inNetwork(hostname: string, network: string): boolean {
  const [base = '', bits = ''] = network.split('/')
  const address = ipv4Number(hostname)
  const start = ipv4Number(base)
  if (address === undefined || start === undefined || !/^\d{1,2}$/.test(bits) || Number(bits) > 32) return false
  const size = 2 ** (32 - Number(bits))
  return Math.floor(address / size) === Math.floor(start / size)
}

function ipv4Number(text: string): number | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) return undefined
  return parts.reduce((number, part) => number * 256 + Number(part), 0)
}

/** The `Proxy-Authorization` of a proxy URL with a user in it. */
export function proxyAuthorization(proxy: URL): string | undefined {
  if (proxy.username === '') return undefined
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`
  return `Basic ${Buffer.from(pair).toString('base64')}`
}

/** How to reach the proxy itself: the options of `http.request`. */
export function proxyAddress(proxy: URL): ClientRequestArgs {
  const port = proxy.port || (proxy.protocol === 'https:' ? 443 : 80)
  return { protocol: proxy.protocol, hostname: proxy.hostname.replace(/^\[|\]$/g, ''), port }
}

/** Opens a tunnel to `host:port` through the proxy. The socket is plain: TLS to the target comes on top of it. */
export async function openTunnel(proxy: URL, target: string, timeoutMs: number): Promise<Socket> {
  const { request } = proxy.protocol === 'https:' ? await import('node:https') : await import('node:http')
  const authorization = proxyAuthorization(proxy)
  return new Promise((resolve, reject) => {
    const connect = request({
      ...proxyAddress(proxy),
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }) },
      agent: false,
      timeout: timeoutMs,
    })
    const refuse = (why: string, cause?: unknown): void => {
      connect.destroy()
      reject(new RegistryError('REGISTRY_UNREACHABLE', `the proxy ${proxy.host} gave no way to ${target}: ${why}`, { cause }))
    }
    connect.once('connect', (answer, socket) => {
      if (answer.statusCode === 200) return resolve(socket)
      socket.destroy()
      refuse(`it answered ${answer.statusCode}`)
    })
    connect.once('response', (answer) => refuse(`it answered ${answer.statusCode}`))
    connect.once('timeout', () => refuse('it does not answer'))
    connect.once('error', (error) => refuse(error.message, error))
    connect.end()
  })
}
