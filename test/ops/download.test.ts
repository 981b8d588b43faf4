/** ADD of URLs through a whole build: servers that break off, ask for secrets, send elsewhere, or lie. */
import { createHash } from 'node:crypto'
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BuildOptions } from '../../src/engine/options.js'
import { type Bench, makeBench } from '../helpers/engine.js'
import { failure } from '../helpers/failure.js'
import { serveFiles } from '../helpers/file-server.js'
import { rawTar } from '../helpers/raw-tar.js'
import { showTree } from '../helpers/tree.js'
import { within } from '../helpers/within.js'

const limitMs = 60_000

async function add(bench: Bench, lines: readonly string[], options: Partial<BuildOptions> = {}): Promise<string> {
  const dest = join(bench.directory, 'out')
  rmSync(dest, { recursive: true, force: true })
  bench.write({ Dockerfile: `FROM scratch\n${lines.join('\n')}\n` })
  await within(limitMs, bench.build({ ...options, outputs: [{ type: 'local', dest }] }))
  return dest
}

function sha256(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}

test('a transfer that breaks off goes on where it stopped, and starts again where the server cannot', async () => {
  using bench = await makeBench({ base: false })
  const body = 'abcdefghij'.repeat(10_000)
  await using server = await serveFiles({
    '/ranges': { body, breaksAfter: 40_000 },
    '/weak': { body, breaksAfter: 40_000, headers: { etag: 'W/"1"' } },
  })
  const out = await add(bench, [`ADD --checksum=${sha256(body)} ${server.url}/ranges /f`])
  assert.is(statSync(join(out, 'f')).size, body.length)
  // What had come and was not read yet when the connection broke may be lost, so how often is not sure.
  assert.ok(server.log.includes('GET /ranges 206'), server.log.join(', '))
  server.log.length = 0
  const error = await failure(add(bench, [`ADD ${server.url}/weak /f`]))
  assert.is(error.code, 'ADD_DOWNLOAD_FAILED')
  assert.equal(server.log, ['GET /weak 200', 'GET /weak 200', 'GET /weak 200'])
})

test('a busy server is asked again, redirects are followed, and what is final is one clear error', async () => {
  using bench = await makeBench({ base: false })
  await using server = await serveFiles({
    '/busy': { body: 'B', firstStatus: 503 },
    '/limited': { body: 'L', firstStatus: 429 },
    '/old': { body: '', redirect: '/new' },
    '/new': { body: 'N' },
    '/circle': { body: '', redirect: '/circle' },
    '/private': { body: '', authorization: 'Bearer t' },
  })
  const names = ['busy', 'limited', 'old']
  const out = await add(
    bench,
    names.map((name) => `ADD ${server.url}/${name} /`),
  )
  assert.equal(
    showTree(out).map((line) => line.replace(/\d+:\d+ /, '')),
    ['busy 600 B', 'limited 600 L', 'old 600 N'],
  )
  assert.match((await failure(add(bench, [`ADD ${server.url}/none /`]))).message, 'the server answered 404')
  assert.match((await failure(add(bench, [`ADD ${server.url}/circle /`]))).message, /redirect/)
  const denied = await failure(add(bench, [`ADD ${server.url}/private /`]))
  assert.match(denied.message, '401')
  assert.match(String(denied.hint), 'HTTP_AUTH_TOKEN_127.0.0.1')
})

test('secrets with the name of the host go into the Authorization header, not to another host, and into no message', async () => {
  using bench = await makeBench({ base: false })
  await using other = await serveFiles({ '/open': { body: 'O' }, '/closed': { body: 'C', authorization: 'Bearer t0ken' } })
  const elsewhere = other.url.replace('127.0.0.1', 'localhost')
  await using server = await serveFiles({
    '/token': { body: 'T', authorization: 'Bearer t0ken' },
    '/header': { body: 'H', authorization: 'Basic abc' },
    '/away': { body: '', redirect: `${elsewhere}/closed` },
  })
  const token = { 'HTTP_AUTH_TOKEN_127.0.0.1': { value: 't0ken\n' } }
  const out = await add(bench, [`ADD ${server.url}/token /`], { secrets: token })
  assert.ok(statSync(join(out, 'token')).size === 1)
  await add(bench, [`ADD ${server.url}/header /`], { secrets: { 'HTTP_AUTH_HEADER_127.0.0.1': { value: 'Basic abc' } } })
  const error = await failure(add(bench, [`ADD ${server.url}/away /`], { secrets: token }))
  assert.match(error.message, '401')
  assert.not.match(JSON.stringify([bench.events, error.message, error.hint]), 't0ken')
})

test('with a checksum nothing that is here is asked for, and a file known without one is compared too', async () => {
  using bench = await makeBench({ base: false })
  await using server = await serveFiles({ '/a': { body: 'A' }, '/copy': { body: 'A' } })
  const wrong = sha256('B')
  const first = [`ADD ${server.url}/a /plain`, `ADD --checksum=${wrong} ${server.url}/a /pinned`]
  assert.is((await failure(add(bench, first))).code, 'ADD_CHECKSUM_MISMATCH')
  server.log.length = 0
  await add(bench, [`ADD --checksum=${sha256('A')} ${server.url}/a /f`])
  await add(bench, [`ADD --checksum=${sha256('A')} ${server.url}/copy /g`])
  assert.equal(server.log, [])
  for (const checksum of ['sha512:00', 'md5:7e55db001d319a94b0b713529a756623', '0'.repeat(64)]) {
    assert.is((await failure(add(bench, [`ADD --checksum=${checksum} ${server.url}/a /f`]))).code, 'DOCKERFILE_BAD_FLAG')
  }
})

test('the time is that of Last-Modified, else 1970; --unpack opens an archive, and without it it stays one', async () => {
  using bench = await makeBench({ base: false })
  const tar = rawTar([{ name: 'inner', content: 'I' }])
  await using server = await serveFiles({
    '/dated': { body: 'D', headers: { 'last-modified': 'Thu, 01 Jan 2015 00:00:00 GMT' } },
    '/undated': { body: 'U' },
    '/a.tar': { body: tar },
    '/': { body: 'R' },
  })
  const lines = ['dated /', 'undated /', 'a.tar /', ' /'].map((rest) => `ADD ${server.url}/${rest}`)
  const out = await add(bench, [...lines, `ADD --unpack ${server.url}/a.tar /x/`])
  assert.equal(
    ['dated', 'undated'].map((name) => statSync(join(out, name)).mtimeMs),
    [1_420_070_400_000, 0],
  )
  assert.equal(
    showTree(out).map((line) => line.split(' ')[0]),
    ['__unnamed__', 'a.tar', 'dated', 'undated', 'x/', 'x/inner'],
  )
})

test.run()
