/** Authentication: a real registry with basic auth, and a token server that counts what it is asked. */
import { mkdtempSync, rmSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import { mediaTypes } from '../../src/core/descriptor.js'
import { digestOf } from '../../src/core/digest.js'
import { parseChallenges } from '../../src/registry/challenge.js'
import { createRegistryClient } from '../../src/registry/client.js'
import type { Credentials } from '../../src/registry/credentials.js'
import { checkLogin, saveLogin } from '../../src/registry/login.js'
import { pushManifest } from '../../src/registry/push.js'
import { headManifest, resolveImage } from '../../src/registry/resolve.js'
import { clientOptionsFrom } from '../../src/registry/settings.js'
import { failure } from '../helpers/failure.js'
import { type FakeServer, registryMissing, startFake, startRegistry, testUser } from '../helpers/registry.js'
import { within } from '../helpers/within.js'
import { imageOf, randomTar } from './image.js'

const amd64 = { os: 'linux', architecture: 'amd64' }
const quick = { tries: 3, firstDelayMs: 5, longestDelayMs: 20, totalDelayMs: 500 }
const right: Credentials = { kind: 'password', ...testUser }

test('challenges are read with quotes, commas and several schemes', () => {
  const header =
    'Basic realm="a, \\"b\\"", Bearer realm="https://auth.example/token",service="x y",scope="repository:a:pull,push"'
  assert.equal(parseChallenges(header), [
    { scheme: 'basic', parameters: { realm: 'a, "b"' } },
    { scheme: 'bearer', parameters: { realm: 'https://auth.example/token', service: 'x y', scope: 'repository:a:pull,push' } },
  ])
  assert.equal(parseChallenges('Negotiate'), [{ scheme: 'negotiate', parameters: {} }])
  assert.equal(parseChallenges(''), [])
})

test('basic auth: right credentials work, wrong and missing ones are refused with a hint and without the password', async () => {
  const reason = registryMissing()
  if (reason !== undefined) return console.log(`SKIP: ${reason}`)
  await using registry = await startRegistry({ auth: 'basic' })
  const reference = { registry: registry.host, repository: 'app', tag: 'latest' }
  await using good = createRegistryClient({ credentials: async () => right, retry: quick })
  assert.is(await headManifest(good, reference, quietContext()), undefined)
  await checkLogin(good, registry.host, right, quietContext())
  const wrong: Credentials = { kind: 'password', username: testUser.username, password: 'sesame-99' }
  const refused = await failure(checkLogin(good, registry.host, wrong, quietContext()))
  assert.is(refused.code, 'REGISTRY_UNAUTHORIZED')
  assert.not.match(JSON.stringify(refused) + refused.message, /sesame-99|c2VzYW1l/)
  await using anonymous = createRegistryClient({ retry: quick })
  const missing = await failure(headManifest(anonymous, reference, quietContext()))
  assert.is(missing.code, 'REGISTRY_UNAUTHORIZED')
  assert.match(missing.hint ?? '', `mille login ${registry.host}`)
})

/** A registry whose token server is itself: it has one image, and gives tokens named by their scopes. */
interface TokenRegistry {
  readonly server: FakeServer
  readonly asked: { readonly method: string; readonly query: URLSearchParams; readonly authorization: string }[]
  expire(): void
}

async function tokenRegistry(
  accepts: (query: URLSearchParams, authorization: string) => boolean,
  options = { get: true },
): Promise<TokenRegistry> {
  const image = imageOf([randomTar('a', 100)])
  const asked: TokenRegistry['asked'] = []
  let generation = 0
  const authorized = (incoming: IncomingMessage): boolean =>
    incoming.headers.authorization?.startsWith(`Bearer t${generation}-`) ?? false
  const server = await startFake((incoming, response, body) => {
    const url = new URL(incoming.url ?? '', `http://${incoming.headers.host}`)
    if (url.pathname === '/token') {
      if (incoming.method === 'GET' && !options.get) return void response.writeHead(405).end()
      const query = incoming.method === 'POST' ? new URLSearchParams(body.toString()) : url.searchParams
      const authorization = incoming.headers.authorization ?? ''
      asked.push({ method: incoming.method ?? '', query, authorization })
      if (!accepts(query, authorization)) return void response.writeHead(401).end('{"details":"incorrect"}')
      return void response.end(JSON.stringify({ access_token: `t${generation}-${asked.length}`, expires_in: 300 }))
    }
    if (!authorized(incoming)) {
      const challenge = `Bearer realm="http://${incoming.headers.host}/token",service="test registry"`
      return void response
        .writeHead(401, { 'www-authenticate': challenge })
        .end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
    }
    if (incoming.method === 'PUT') return void response.writeHead(201).end()
    const blob = [...image.blobs].find(([digest]) => url.pathname.endsWith(digest))?.[1]
    if (blob !== undefined) return void response.end(blob)
    if (!url.pathname.includes('/manifests/')) return void response.writeHead(200).end('{}')
    const headers = {
      'content-type': mediaTypes.ociManifest,
      'docker-content-digest': digestOf(image.manifest),
      'content-length': image.manifest.length,
    }
    response.writeHead(200, headers).end(incoming.method === 'HEAD' ? undefined : image.manifest)
  })
  return { server, asked, expire: () => (generation += 1) }
}

test('a login that was saved is what the options of a machine find', async () => {
  const reason = registryMissing()
  if (reason !== undefined) return console.log(`SKIP: ${reason}`)
  await using registry = await startRegistry({ auth: 'basic' })
  const home = mkdtempSync(join(tmpdir(), 'mille-home-'))
  try {
    const settings = { env: { PATH: process.env.PATH }, home }
    await saveLogin(registry.host, { kind: 'password', ...testUser }, settings, new AbortController().signal)
    await using client = createRegistryClient({ ...clientOptionsFrom(settings), retry: quick })
    assert.is(await headManifest(client, { registry: registry.host, repository: 'app', tag: 'x' }, quietContext()), undefined)
  } finally {
    rmSync(home, { recursive: true })
  }
})

test('an anonymous token is asked for once and serves all requests of its scope', async () => {
  const { server, asked } = await tokenRegistry(() => true)
  await using _ = server
  await using client = createRegistryClient({ retry: quick })
  const reference = { registry: server.host, repository: 'team/app', tag: '1' }
  await Promise.all(
    [1, 2, 3].map(() =>
      within(
        20_000,
        resolveImage(client, reference, amd64, async () => undefined, quietContext()),
      ),
    ),
  )
  assert.is(asked.length, 1)
  assert.equal(asked[0]?.query.getAll('scope'), ['repository:team/app:pull'])
  assert.is(asked[0]?.query.get('service'), 'test registry')
  assert.is(asked[0]?.authorization, '')
})

test('pulling and pushing are different scopes, and an expired token is renewed', async () => {
  const registry = await tokenRegistry(() => true)
  await using server = registry.server
  await using client = createRegistryClient({ retry: quick })
  const reference = { registry: server.host, repository: 'app', tag: '1' }
  await headManifest(client, reference, quietContext())
  const manifest = { mediaType: mediaTypes.ociManifest, bytes: Buffer.from('{}') }
  await pushManifest(client, reference, [], manifest, quietContext())
  assert.equal(
    registry.asked.map(({ query }) => query.get('scope')),
    ['repository:app:pull', 'repository:app:pull,push'],
  )
  registry.expire()
  await within(20_000, pushManifest(client, reference, [], manifest, quietContext()))
  assert.is(registry.asked.length, 3)
})

test('a password goes to the token server as Basic, and as a form where that is the only way', async () => {
  const basic = `Basic ${Buffer.from(`${testUser.username}:${testUser.password}`).toString('base64')}`
  const first = await tokenRegistry((_, authorization) => authorization === basic)
  await using server = first.server
  await using client = createRegistryClient({ credentials: async () => right, retry: quick })
  await headManifest(client, { registry: server.host, repository: 'app', tag: '1' }, quietContext())
  assert.is(first.asked[0]?.query.get('account'), testUser.username)
  const second = await tokenRegistry(
    (query) => query.get('password') === testUser.password && query.get('grant_type') === 'password',
    { get: false },
  )
  await using other = second.server
  await headManifest(client, { registry: other.host, repository: 'app', tag: '1' }, quietContext())
  assert.is(second.asked[0]?.method, 'POST')
})

test('an identity token is exchanged by POST', async () => {
  const registry = await tokenRegistry(
    (query) => query.get('grant_type') === 'refresh_token' && query.get('refresh_token') === 'r-1',
  )
  await using server = registry.server
  await using client = createRegistryClient({ credentials: async () => ({ kind: 'identity', token: 'r-1' }), retry: quick })
  assert.ok(await headManifest(client, { registry: server.host, repository: 'app', tag: '1' }, quietContext()))
  assert.is(registry.asked[0]?.query.get('scope'), 'repository:app:pull')
})

test('refused credentials are REGISTRY_UNAUTHORIZED after one question', async () => {
  const registry = await tokenRegistry(() => false)
  await using server = registry.server
  await using client = createRegistryClient({ credentials: async () => right, retry: quick })
  const error = await failure(headManifest(client, { registry: server.host, repository: 'app', tag: '1' }, quietContext()))
  assert.is(error.code, 'REGISTRY_UNAUTHORIZED')
  assert.is(registry.asked.length, 1)
})

test('a token that the registry does not accept ends in an error, not in a loop', async () => {
  await using liar = await startFake((incoming, response) => {
    if (incoming.url?.startsWith('/token')) return void response.end('{"token":"never-good"}')
    response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${incoming.headers.host}/token"` }).end()
  })
  await using client = createRegistryClient({ retry: quick })
  const error = await failure(headManifest(client, { registry: liar.host, repository: 'app', tag: '1' }, quietContext()))
  assert.is(error.code, 'REGISTRY_UNAUTHORIZED')
  assert.ok(liar.seen.length <= 5, liar.seen.join())
  assert.not.match(error.message, /never-good/)
})

test.run()
