/** Proxies, time limits, chunked uploads that break, and the small parts: retries, errors, proxy rules. */
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import { mediaTypes } from '../../src/core/descriptor.js'
import { digestOf } from '../../src/core/digest.js'
import { BuildError } from '../../src/core/errors.js'
import { collect } from '../../src/io/stream.js'
import { createRegistryClient } from '../../src/registry/client.js'
import { networkError, parseRetryAfter, redactText, TransientRegistryError } from '../../src/registry/errors.js'
import { proxyFor, proxyFromEnv } from '../../src/registry/proxy.js'
import { readBlob } from '../../src/registry/pull.js'
import { headManifest } from '../../src/registry/resolve.js'
import { retrying } from '../../src/registry/retry.js'
import { uploadBlob } from '../../src/registry/upload.js'
import { failure } from '../helpers/failure.js'
import { registryMissing, startFake, startRegistry } from '../helpers/registry.js'
import { within } from '../helpers/within.js'

const quick = { tries: 4, firstDelayMs: 5, longestDelayMs: 20, totalDelayMs: 1000 }

interface Proxy extends AsyncDisposable {
  readonly url: string
  readonly seen: string[]
}

/** A proxy that wants a user, tunnels CONNECT, and answers everything sent through it in plain with 404. */
async function startProxy(): Promise<Proxy> {
  const seen: string[] = []
  const expected = `Basic ${Buffer.from('me:pass word').toString('base64')}`
  const sockets = new Set<Socket>()
  const allowed = (incoming: IncomingMessage): boolean => {
    seen.push(`${incoming.method} ${incoming.url} ${incoming.headers.authorization ?? ''}`.trim())
    return incoming.headers['proxy-authorization'] === expected
  }
  const server = createServer((incoming, response) => void response.writeHead(allowed(incoming) ? 404 : 407).end())
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.on('connect', (incoming: IncomingMessage, socket: Socket) => {
    if (!allowed(incoming)) return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
    const [host = '', port = ''] = (incoming.url ?? '').split(':')
    const onward = connect(Number(port), host, () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
    sockets.add(onward)
    onward.on('error', () => socket.destroy())
    socket.on('error', () => onward.destroy())
    onward.pipe(socket).pipe(onward)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://me:pass%20word@127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test('https goes through a tunnel of the proxy, verified end to end', async () => {
  const reason = registryMissing()
  const address = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .find((item) => item.family === 'IPv4' && !item.internal)?.address
  if (reason !== undefined || address === undefined) return console.log(`SKIP: ${reason ?? 'no address but loopback'}`)
  await using registry = await startRegistry({ tlsFor: address })
  await using proxy = await startProxy()
  const reference = { registry: registry.host, repository: 'app', tag: 'x' }
  await using client = createRegistryClient({
    retry: quick,
    proxy: { https: proxy.url },
    tls: { ca: [registry.certificate ?? ''] },
  })
  assert.is(await within(10_000, headManifest(client, reference, quietContext())), undefined)
  assert.equal(proxy.seen, [`CONNECT ${registry.host}`])
  await using distrustful = createRegistryClient({ retry: quick, proxy: { https: proxy.url } })
  assert.is((await failure(headManifest(distrustful, reference, quietContext()))).code, 'REGISTRY_TLS')
})

test('http goes to the proxy with the whole URL, and a proxy that refuses is named without its password', async () => {
  await using proxy = await startProxy()
  const insecureRegistries = ['plain.invalid']
  const reference = { registry: 'plain.invalid', repository: 'app', tag: 'x' }
  await using client = createRegistryClient({ retry: quick, proxy: { http: proxy.url }, insecureRegistries })
  assert.is(await within(10_000, headManifest(client, reference, quietContext())), undefined)
  assert.equal(proxy.seen, ['GET http://plain.invalid/v2/', 'HEAD http://plain.invalid/v2/app/manifests/x'])
  const wrong = proxy.url.replace('pass%20word', 'hush')
  await using refused = createRegistryClient({ retry: quick, proxy: { https: wrong } })
  const error = await failure(headManifest(refused, { ...reference, registry: 'tls.invalid' }, quietContext()))
  assert.is(error.code, 'REGISTRY_UNREACHABLE')
  assert.match(error.message, /407/)
  assert.not.match(error.message, /hush/)
})

test('NO_PROXY has names, suffixes, networks and ports; loopback never takes a proxy', () => {
  const env = { http_proxy: 'http://p:1', HTTPS_PROXY: 'q:2', NO_PROXY: 'a.example, .b.example,10.0.0.0/8,c.example:5000' }
  const uses = (url: string): string | undefined => proxyFor(new URL(url), proxyFromEnv(env))?.host
  assert.is(uses('https://other.example/'), 'q:2')
  assert.is(uses('http://other.example/'), 'p:1')
  assert.is(uses('https://a.example/'), undefined)
  assert.is(uses('https://x.a.example/'), undefined)
  assert.is(uses('https://xa.example/'), 'q:2')
  assert.is(uses('https://b.example/'), 'q:2')
  assert.is(uses('https://x.b.example/'), undefined)
  assert.is(uses('https://10.1.2.3/'), undefined)
  assert.is(uses('https://11.1.2.3/'), 'q:2')
  assert.is(uses('https://c.example:5000/'), undefined)
  assert.is(uses('https://c.example/'), 'q:2')
  assert.is(uses('http://127.0.0.1:5000/'), undefined)
  assert.is(uses('http://localhost/'), undefined)
  assert.is(proxyFor(new URL('https://x.example/'), proxyFromEnv({ https_proxy: 'http://p:1', no_proxy: '*' })), undefined)
})

test('a registry that takes the request and says nothing is given up after the time limit', async () => {
  await using server = await startFake((incoming, response) => void (incoming.url === '/v2/' && response.end()))
  await using client = createRegistryClient({ retry: { ...quick, tries: 2 }, idleTimeoutMs: 100 })
  const start = Date.now()
  const error = await failure(headManifest(client, { registry: server.host, repository: 'app', tag: 'x' }, quietContext()))
  assert.is(error.code, 'REGISTRY_UNREACHABLE')
  assert.ok(Date.now() - start < 3000)
  assert.is(server.seen.length, 2)
})

test('a chunk that was cut goes on where the registry got to', async () => {
  const body = Buffer.alloc(1_000_000, 'mille')
  const blob = { mediaType: mediaTypes.ociLayer, digest: digestOf(body), size: body.length }
  let have = Buffer.alloc(0)
  let cuts = 0
  const starts: string[] = []
  await using server = await startFake(
    async (incoming, response) => {
      const location = '/v2/app/blobs/uploads/1?state=x'
      if (incoming.method === 'HEAD') return void response.writeHead(404).end()
      if (incoming.method === 'POST') return void response.writeHead(202, { location }).end()
      if (incoming.method === 'GET') return void response.writeHead(204, { location, range: `0-${have.length - 1}` }).end()
      if (incoming.method === 'PUT') return void response.writeHead(digestOf(have) === blob.digest ? 201 : 400).end()
      starts.push(String(incoming.headers['content-range']))
      for await (const chunk of incoming) {
        have = Buffer.concat([have, chunk as Buffer])
        if (have.length > 450_000 && cuts === 0) {
          cuts += 1
          response.destroy()
          return
        }
      }
      response.writeHead(202, { location, range: `0-${have.length - 1}` }).end()
    },
    { streamed: true },
  )
  await using client = createRegistryClient({ retry: quick })
  const options = {
    openBlob: async function* () {
      for (let at = 0; at < body.length; at += 70_001) yield body.subarray(at, at + 70_001)
    },
    mountSources: [],
    chunks: { fromBytes: 1000, chunkBytes: 400_000 },
    progressId: 'push',
  }
  const outcome = await within(
    10_000,
    uploadBlob(client, { registry: server.host, repository: 'app' }, blob, options, quietContext()),
  )
  assert.is(outcome, 'uploaded')
  assert.is(cuts, 1)
  assert.equal(starts.slice(0, 2), ['0-399999', '400000-799999'])
  assert.match(starts[2] ?? '', /^4[5-9]\d{4}-/, 'what had arrived is not sent again')
})

/** A line to `host` that is cut once, after `bytes` bytes of one connection have gone towards it. */
async function startFlakyLine(host: string, bytes: number): Promise<{ readonly host: string; cuts(): number } & AsyncDisposable> {
  let cuts = 0
  const sockets = new Set<Socket>()
  const server = createTcpServer((socket) => {
    const [address = '', port = ''] = host.split(':')
    const onward = connect(Number(port), address)
    let passed = 0
    for (const each of [socket, onward]) sockets.add(each.on('error', () => undefined))
    socket.on('close', () => onward.destroy())
    onward.on('close', () => socket.destroy())
    onward.pipe(socket)
    socket.on('data', (chunk: Buffer) => {
      passed += chunk.length
      onward.write(chunk)
      if (passed < bytes || cuts > 0) return
      cuts += 1
      setTimeout(() => socket.resetAndDestroy(), 20)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cuts: () => cuts,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

for (const [way, chunkBytes] of [
  ['in one piece', 100_000_000],
  ['in chunks', 300_000],
] as const) {
  test(`an upload ${way} over a line that breaks arrives whole in docker-registry`, async () => {
    const reason = registryMissing()
    if (reason !== undefined) return console.log(`SKIP: ${reason}`)
    await using registry = await startRegistry()
    await using line = await startFlakyLine(registry.host, 500_000)
    const body = randomBytes(2_000_000)
    const blob = { mediaType: mediaTypes.ociLayer, digest: digestOf(body), size: body.length }
    await using client = createRegistryClient({ retry: quick })
    const options = {
      openBlob: async function* () {
        for (let at = 0; at < body.length; at += 50_000) yield body.subarray(at, at + 50_000)
      },
      mountSources: [],
      chunks: { fromBytes: chunkBytes, chunkBytes },
      progressId: 'push',
    }
    const outcome = await within(
      20_000,
      uploadBlob(client, { registry: line.host, repository: 'app' }, blob, options, quietContext()),
    )
    assert.is(outcome, 'uploaded')
    assert.is(line.cuts(), 1)
    const source = { registry: registry.host, repository: 'app' }
    assert.ok((await collect(readBlob(client, source, blob, quietContext()))).equals(body))
  })
}

test('a blob that is not as long as its descriptor says is an error, not a garbled upload', async () => {
  await using server = await startFake((incoming, response) => {
    const status = incoming.method === 'HEAD' ? 404 : incoming.method === 'POST' ? 202 : 201
    response.writeHead(status, { location: '/up' }).end()
  })
  await using client = createRegistryClient({ retry: quick })
  const blob = { mediaType: mediaTypes.ociLayer, digest: digestOf('x'), size: 5 }
  for (const text of ['four', 'sixsix']) {
    const options = {
      openBlob: async function* () {
        yield Buffer.from(text)
      },
      mountSources: [],
      chunks: { fromBytes: 1000, chunkBytes: 1000 },
      progressId: 'push',
    }
    const error = await failure(uploadBlob(client, { registry: server.host, repository: 'app' }, blob, options, quietContext()))
    assert.match(error.message, /its descriptor says 5/)
  }
})

test('retries stop at the limit of tries, and what does not pass is not tried again', async () => {
  const count = async (error: Error): Promise<number> => {
    let tries = 0
    await retrying(quick, quietContext(), async () => {
      tries += 1
      throw error
    }).catch((thrown: unknown) => assert.is(thrown, error))
    return tries
  }
  assert.is(await count(new TransientRegistryError('REGISTRY_UNREACHABLE', 'x')), 4)
  assert.is(await count(new BuildError('IMAGE_NOT_FOUND', 'x')), 1)
})

test('secrets are taken out of texts, and Retry-After is read in both forms', () => {
  assert.is(redactText('GET https://u:p@h.example/a?X-Sig=1 with Bearer abcdefgh'), 'GET https://h.example/a with Bearer ***')
  assert.is(parseRetryAfter('7', 0), 7000)
  assert.is(parseRetryAfter(new Date(5000).toUTCString(), 2000), 3000)
  assert.is(parseRetryAfter('soon', 0), undefined)
})

test('a refused connection passes only where the registry has answered before', () => {
  const asked = { method: 'GET', url: new URL('http://r.example/v2/'), registry: 'r.example', subject: 'x' }
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
  assert.not.instance(networkError(asked, refused, false), TransientRegistryError)
  assert.instance(networkError(asked, refused, true), TransientRegistryError)
})

test.run()
