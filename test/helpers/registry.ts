/**
 * Registries for tests: Debian's real `docker-registry` on a free loopback port, and an HTTP server in this process that
 * misbehaves as a test tells it to.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** The user and password that `auth: 'basic'` accepts. */
export const testUser = { username: 'tester', password: 'letmein' } as const
/** bcrypt of the password: the only form that docker-registry reads. */
const htpasswd = `${testUser.username}:$2b$04$LYUZJWRgHgqvaFCbloqO0eCgzva37VPp5BydVwvB7hDMJsoprHH/i\n`

/** How the registry is started. */
export interface RegistryOptions {
  readonly auth?: 'basic'
  /** Serve https with a certificate of its own for this host name or address, on this address. */
  readonly tlsFor?: string
}

/** A running registry. */
export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string
  /** The certificate (PEM) when it serves https. */
  readonly certificate: string | undefined
  /** Where it keeps its files. */
  readonly directory: string
  /** The requests so far as `METHOD /path?query STATUS`, oldest first. */
  requests(): string[]
}

/** Why `startRegistry` cannot work here, or undefined. */
export function registryMissing(): string | undefined {
  return hasProgram('docker-registry') ? undefined : 'docker-registry is not installed'
}

/** True when a program is in the PATH. */
export function hasProgram(name: string): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v "$0"', name], { stdio: 'ignore' })
    return true
  } catch (error) {
    if (error instanceof Error && 'status' in error) return false
    throw error
  }
}

/** Starts a real registry with an empty store of its own and waits until it answers. */
export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const directory = mkdtempSync(join(tmpdir(), 'mille-registry-'))
  const address = options.tlsFor ?? '127.0.0.1'
  for (let attempt = 0; ; attempt += 1) {
    const host = `${address}:${await freePort(address)}`
    const certificate = options.tlsFor === undefined ? undefined : makeCertificate(directory, options.tlsFor)
    writeFileSync(join(directory, 'htpasswd'), htpasswd)
    writeFileSync(join(directory, 'config.yml'), configText(directory, host, options))
    const child = spawn('docker-registry', ['serve', join(directory, 'config.yml')], { stdio: ['ignore', 'pipe', 'pipe'] })
    const log: string[] = []
    child.stdout.on('data', (chunk: Buffer) => log.push(chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => log.push(chunk.toString()))
    if (await answers(host, options.tlsFor !== undefined, child)) {
      return {
        host,
        certificate,
        directory,
        requests: () => accessLog(log.join('')),
        [Symbol.asyncDispose]: async () => {
          await stop(child)
          rmSync(directory, { recursive: true, force: true })
        },
      }
    }
    await stop(child)
    if (attempt >= 3) throw new Error(`docker-registry does not start:\n${log.join('')}`)
  }
}

function configText(directory: string, host: string, options: RegistryOptions): string {
  const lines = [
    'version: 0.1',
    'log: { level: warn }',
    `storage: { filesystem: { rootdirectory: ${directory}/data }, delete: { enabled: true } }`,
    'http:',
    `  addr: ${host}`,
  ]
  if (options.tlsFor !== undefined) lines.push(`  tls: { certificate: ${directory}/tls.crt, key: ${directory}/tls.key }`)
  if (options.auth === 'basic') lines.push(`auth: { htpasswd: { realm: test, path: ${directory}/htpasswd } }`)
  return `${lines.join('\n')}\n`
}

/** A self-signed certificate for a name or address; returns its PEM. */
function makeCertificate(directory: string, name: string): string {
  const alternative = /^[\d.]+$/.test(name) ? `IP:${name}` : `DNS:${name}`
  const key = join(directory, 'tls.key')
  const crt = join(directory, 'tls.crt')
  const subject = ['-subj', '/CN=mille test', '-addext', `subjectAltName=${alternative}`]
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-keyout',
      key,
      '-out',
      crt,
      ...subject,
    ],
    {
      stdio: 'ignore',
    },
  )
  return execFileSync('cat', [crt], { encoding: 'utf8' })
}

/** The lines of the access log: `… "GET /v2/ HTTP/1.1" 200 …`. */
function accessLog(text: string): string[] {
  return [...text.matchAll(/"([A-Z]+) (\S+) HTTP\/[\d.]+" (\d{3})/g)].map(
    ([, method, path, status]) => `${method} ${path} ${status}`,
  )
}

async function freePort(address: string): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, address, resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Waits until something answers; plain HTTP at a TLS port is answered too, with 400. */
async function answers(host: string, tls: boolean, child: ChildProcess): Promise<boolean> {
  for (let tries = 0; tries < 200 && child.exitCode === null; tries += 1) {
    const status = await new Promise<number>((resolve) => {
      const get = request(`http://${host}/v2/`, { agent: false }, (answer) => resolve(answer.resume().statusCode ?? 0))
      get.once('error', () => resolve(0)).end()
    })
    if (status === 200 || status === 401 || (tls && status === 400)) return true
    await sleep(25)
  }
  return false
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = new Promise((resolve) => child.once('close', resolve))
  child.kill('SIGKILL')
  await closed
}

/** Answers one request; what it throws fails the request with status 599. */
export type FakeHandler = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void | Promise<void>

/** A server in this process. */
export interface FakeServer extends AsyncDisposable {
  readonly host: string
  /** `METHOD /path?query`, oldest first. */
  readonly seen: string[]
  /** The `Authorization` headers, one for each request, '' where there was none. */
  readonly authorizations: string[]
}

/** How a fake listens. */
export interface FakeOptions {
  /** The handler reads the body itself. */
  readonly streamed: boolean
  /** Loopback when it is not set. */
  readonly address?: string
}

/** Starts a server that answers as `handler` says. Bodies are read before it is called unless `streamed`. */
export async function startFake(handler: FakeHandler, options: FakeOptions = { streamed: false }): Promise<FakeServer> {
  const seen: string[] = []
  const authorizations: string[] = []
  const server: Server = createServer((incoming, response) => {
    seen.push(`${incoming.method} ${incoming.url}`)
    authorizations.push(incoming.headers.authorization ?? '')
    const chunks: Buffer[] = []
    const go = (): void => {
      Promise.resolve()
        .then(() => handler(incoming, response, Buffer.concat(chunks)))
        .catch((error: unknown) => {
          if (!response.headersSent) response.writeHead(599)
          response.end(String(error))
        })
    }
    if (options.streamed) return go()
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', go)
    incoming.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, options.address ?? '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    authorizations,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Hands a request on to a real registry: the rest of a fake that misbehaves only sometimes. */
export function forward(host: string, incoming: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { ...incoming.headers }
    const onward = request(
      `http://${host}${incoming.url}`,
      { method: incoming.method ?? 'GET', headers, agent: false },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
        answer.once('end', resolve)
      },
    )
    onward.once('error', reject)
    onward.end(body)
  })
}
