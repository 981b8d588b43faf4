/** Connections: redirects, retries, aborts, hosts that are not there, certificates and plain http. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import { collect } from '../../src/io/stream.js'
import { createRegistryClient } from '../../src/registry/client.js'
import { readBlob } from '../../src/registry/pull.js'
import { headManifest } from '../../src/registry/resolve.js'
import { failure } from '../helpers/failure.js'
import { registryMissing, startFake, startRegistry } from '../helpers/registry.js'
import { within } from '../helpers/within.js'
import { blob, body, quick, readFrom } from './reading.js'

const basic = { credentials: async () => ({ kind: 'password' as const, username: 'tester', password: 'letmein' }) }

test('a redirect to another host is followed without the credentials', async () => {
  await using storage = await startFake((_, response) => void response.end(body))
  let tries = 0
  const bytes = await readFrom((incoming, response) => {
    tries += 1
    if (incoming.headers.authorization === undefined)
      return void response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    response.writeHead(307, { location: `http://${storage.host}/bucket/blob?signature=abc` }).end()
  }, basic)
  assert.ok(bytes.equals(body))
  assert.is(tries, 2)
  assert.equal(storage.seen, ['GET /bucket/blob?signature=abc'])
  assert.equal(storage.authorizations, [''])
})

test('redirects in a circle end, and a redirect to a file is refused', async () => {
  const circle = await failure(readFrom((incoming, response) => void response.writeHead(307, { location: incoming.url }).end()))
  assert.is(circle.code, 'REGISTRY_PROTOCOL')
  const file = await failure(readFrom((_, response) => void response.writeHead(307, { location: 'file:///etc/passwd' }).end()))
  assert.is(file.code, 'REGISTRY_PROTOCOL')
})

test('an error of storage does not show its signed URL', async () => {
  await using storage = await startFake(
    (_, response) => void response.writeHead(400).end('{"errors":[{"code":"X","message":"bad https://u:p@h/x?sig=hush"}]}'),
  )
  const error = await failure(
    readFrom((_, response) => void response.writeHead(307, { location: `http://${storage.host}/b?signature=hush` }).end()),
  )
  assert.not.match(`${error.message} ${JSON.stringify(error)}`, /hush|u:p@/)
})

test('errors that pass are tried again, and Retry-After is waited for', async () => {
  const times: number[] = []
  const bytes = await readFrom(
    (_, response) => {
      times.push(Date.now())
      if (times.length === 1) return void response.writeHead(500).end()
      if (times.length === 2) return void response.writeHead(429, { 'retry-after': '1' }).end()
      response.end(body)
    },
    { retry: { ...quick, totalDelayMs: 5000 } },
  )
  assert.ok(bytes.equals(body))
  assert.ok((times[2] ?? 0) - (times[1] ?? 0) >= 990)
})

test('a limit that lasts longer than our patience is REGISTRY_RATE_LIMITED at once', async () => {
  let tries = 0
  const error = await failure(
    readFrom((_, response) => {
      tries += 1
      response.writeHead(429, { 'retry-after': '3600' }).end()
    }),
  )
  assert.is(error.code, 'REGISTRY_RATE_LIMITED')
  assert.is(tries, 1)
  assert.ok(error.hint)
})

test('aborting ends a transfer and a wait at once', async () => {
  await using server = await startFake((incoming, response) => {
    if (incoming.url === '/v2/') return void response.end()
    if (incoming.url?.includes('/manifests/')) return void response.writeHead(503, { 'retry-after': '100' }).end()
    response.writeHead(200, { 'content-length': body.length }).write('x')
  })
  await using client = createRegistryClient()
  const source = { registry: server.host, repository: 'app' }
  for (const start of [
    (signal: AbortSignal) => collect(readBlob(client, source, blob, { ...quietContext(), signal })),
    (signal: AbortSignal) => headManifest(client, { ...source, tag: 'x' }, { ...quietContext(), signal }),
  ]) {
    const stop = new AbortController()
    setTimeout(() => stop.abort(new Error('enough')), 150)
    const message = await within(
      3000,
      start(stop.signal).then(
        () => 'done',
        (error: Error) => error.message,
      ),
    )
    assert.match(message, /enough|aborted/)
  }
})

test('a host that is not there and a port where nobody listens are REGISTRY_UNREACHABLE at once', async () => {
  await using client = createRegistryClient()
  for (const registry of ['127.0.0.1:1', 'registry.invalid']) {
    const error = await failure(headManifest(client, { registry, repository: 'app', tag: 'x' }, quietContext()))
    assert.is(error.code, 'REGISTRY_UNREACHABLE', error.message)
    assert.match(error.message, registry)
  }
})

test('a certificate nobody vouches for is REGISTRY_TLS; with its CA, or as insecure, the registry works', async () => {
  const reason = registryMissing()
  if (reason !== undefined) return console.log(`SKIP: ${reason}`)
  const address = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .find((item) => item.family === 'IPv4' && !item.internal)?.address
  if (address === undefined) return console.log('SKIP: this machine has no address but loopback')
  await using registry = await startRegistry({ tlsFor: address })
  const reference = { registry: registry.host, repository: 'app', tag: 'x' }
  await using strict = createRegistryClient({ retry: quick })
  const error = await failure(headManifest(strict, reference, quietContext()))
  assert.is(error.code, 'REGISTRY_TLS', error.message)
  assert.match(error.hint ?? '', `certs.d/${registry.host}/ca.crt`)
  await using trusting = createRegistryClient({ retry: quick, tls: { ca: [registry.certificate ?? ''] } })
  assert.is(await headManifest(trusting, reference, quietContext()), undefined)
  const directory = mkdtempSync(join(tmpdir(), 'mille-certs-'))
  mkdirSync(join(directory, registry.host))
  writeFileSync(join(directory, registry.host, 'ca.crt'), registry.certificate ?? '')
  await using configured = createRegistryClient({ retry: quick, tls: { certsDirectories: [directory] } })
  assert.is(await headManifest(configured, reference, quietContext()), undefined)
  rmSync(directory, { recursive: true })
  await using insecure = createRegistryClient({ retry: quick, insecureRegistries: [registry.host] })
  assert.is(await headManifest(insecure, reference, quietContext()), undefined)
})

test('a loopback registry is taken to speak http; one that speaks TLS is found out once, by several requests at a time', async () => {
  const reason = registryMissing()
  if (reason !== undefined) return console.log(`SKIP: ${reason}`)
  await using registry = await startRegistry({ tlsFor: '127.0.0.1' })
  await using client = createRegistryClient({ retry: quick })
  const tags = ['a', 'b', 'c']
  const head = (tag: string) =>
    within(20_000, headManifest(client, { registry: registry.host, repository: 'app', tag }, quietContext()))
  assert.equal(await Promise.all(tags.map(head)), [undefined, undefined, undefined])
  assert.is(await head('d'), undefined)
  const found = registry.requests().filter((line) => !line.endsWith(' 400'))
  assert.equal(found.map((line) => line.replace(/ \d+$/, '')).sort(), [
    'GET /v2/',
    ...[...tags, 'd'].map((tag) => `HEAD /v2/app/manifests/${tag}`),
  ])
})

test('plain http is not spoken to a registry elsewhere unless it is allowed', async () => {
  const address = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .find((item) => item.family === 'IPv4' && !item.internal)?.address
  if (address === undefined) return console.log('SKIP: this machine has no address but loopback')
  await using server = await startFake((_, response) => void response.writeHead(404).end(), {
    streamed: false,
    address: '0.0.0.0',
  })
  const registry = `${address}:${server.host.split(':')[1]}`
  await using strict = createRegistryClient({ retry: quick })
  const error = await failure(headManifest(strict, { registry, repository: 'app', tag: 'x' }, quietContext()))
  assert.is(error.code, 'REGISTRY_TLS', error.message)
  assert.equal(server.seen, [])
  await using lax = createRegistryClient({ retry: quick, insecureRegistries: [registry] })
  assert.is(await headManifest(lax, { registry, repository: 'app', tag: 'x' }, quietContext()), undefined)
})

test.run()
