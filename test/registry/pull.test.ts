/** Pulling blobs from registries that lie, stop or break: each ends in one clear error, or in the right bytes. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import type { Descriptor } from '../../src/core/descriptor.js'
import { digestOf } from '../../src/core/digest.js'
import { collect } from '../../src/io/stream.js'
import { createRegistryClient } from '../../src/registry/client.js'
import { fetchBlob, pullBlobs } from '../../src/registry/pull.js'
import { failure } from '../helpers/failure.js'
import { startFake } from '../helpers/registry.js'
import { blob, body, quick, readFrom } from './reading.js'

function rangeStart(incoming: IncomingMessage): number {
  return Number(/^bytes=(\d+)-$/.exec(incoming.headers.range ?? '')?.[1] ?? 0)
}

/** Sends a part of the blob from where it was asked for, then cuts the connection. */
function sendAndCut(incoming: IncomingMessage, response: ServerResponse, length: number): void {
  const start = rangeStart(incoming)
  const headers = { 'content-length': body.length - start, 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` }
  response.writeHead(start === 0 ? 200 : 206, headers)
  response.write(body.subarray(start, start + length), () => setTimeout(() => response.destroy(), 20))
}

test('a blob whose connection is cut again and again is put together from its parts', async () => {
  const starts: number[] = []
  const bytes = await readFrom((incoming, response) => {
    starts.push(rangeStart(incoming))
    sendAndCut(incoming, response, 60_000)
  })
  assert.ok(bytes.equals(body))
  assert.ok(starts.length > quick.tries, 'each part that arrives gives new patience')
  assert.ok(
    starts.every((start, index) => index === 0 || start > (starts[index - 1] ?? 0)),
    starts.join(),
  )
})

test('a registry without ranges sends the blob again, and the known part is skipped', async () => {
  let tries = 0
  const bytes = await readFrom((_, response) => {
    tries += 1
    response.writeHead(200, { 'content-length': body.length })
    if (tries === 1) response.write(body.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 20))
    else response.end(body)
  })
  assert.ok(bytes.equals(body))
  assert.is(tries, 2)
})

test('a registry that goes on elsewhere than asked is refused', async () => {
  const error = await failure(
    readFrom((incoming, response) => {
      if (rangeStart(incoming) === 0) return sendAndCut(incoming, response, 1000)
      response.writeHead(206, { 'content-range': `bytes 0-${body.length - 1}/${body.length}` }).end(body)
    }),
  )
  assert.is(error.code, 'REGISTRY_PROTOCOL')
})

test('a connection that always dies before the first byte ends after the allowed tries', async () => {
  let tries = 0
  const error = await failure(
    readFrom((_, response) => {
      tries += 1
      response.destroy()
    }),
  )
  assert.is(error.code, 'REGISTRY_UNREACHABLE')
  assert.is(tries, quick.tries)
})

test('wrong bytes of the right size are REGISTRY_DIGEST_MISMATCH and are not asked for again', async () => {
  let tries = 0
  const error = await failure(
    readFrom((_, response) => {
      tries += 1
      response.end(Buffer.alloc(body.length))
    }),
  )
  assert.is(error.code, 'REGISTRY_DIGEST_MISMATCH')
  assert.match(error.message, blob.digest)
  assert.is(tries, 1)
})

test('a wrong Content-Length is refused before the body is read', async () => {
  const error = await failure(
    readFrom(
      (_, response) => void response.writeHead(200, { 'content-length': body.length + 1 }).end(Buffer.alloc(body.length + 1)),
    ),
  )
  assert.is(error.code, 'REGISTRY_DIGEST_MISMATCH')
})

test('an endless body is stopped at the promised size', async () => {
  let sent = 0
  const error = await failure(
    readFrom(async (_, response) => {
      response.writeHead(200)
      const chunk = Buffer.alloc(65_536)
      while (!response.destroyed && sent < 1e9) {
        sent += chunk.length
        if (!response.write(chunk)) await new Promise((done) => setTimeout(done, 2))
      }
    }),
  )
  assert.is(error.code, 'REGISTRY_DIGEST_MISMATCH')
  assert.match(error.message, 'more than 300000')
  assert.ok(sent < 50_000_000, `${sent} bytes were sent`)
})

test('one blob that fails stops the others, and nothing is running any more', async () => {
  let running = 0
  await using server = await startFake((incoming, response) => {
    if (incoming.url === '/v2/') return void response.end()
    if (incoming.url?.endsWith(blob.digest)) return void setTimeout(() => response.writeHead(404).end(), 100)
    response.writeHead(200).write('x')
  })
  await using client = createRegistryClient({ retry: quick })
  const slow = [1, 2].map((n): Descriptor => ({ ...blob, digest: digestOf(`${n}`) }))
  const ports = {
    hasBlob: () => false,
    writeBlob: async (bytes: AsyncIterable<Uint8Array>) => {
      running += 1
      await collect(bytes).finally(() => (running -= 1))
    },
  }
  const error = await failure(
    pullBlobs(client, { registry: server.host, repository: 'app' }, [...slow, blob], ports, 'pull', quietContext()),
  )
  assert.is(error.code, 'REGISTRY_NOT_FOUND')
  assert.is(running, 0)
})

test('wrong bytes that only the store notices are told as the registry’s', async () => {
  const { StoreError } = await import('../../src/core/errors.js')
  await using server = await startFake((_, response) => void response.end(Buffer.alloc(body.length)))
  await using client = createRegistryClient({ retry: quick })
  const write = async (bytes: AsyncIterable<Uint8Array>): Promise<void> => {
    await collect(bytes)
    throw new StoreError('STORE_DIGEST_MISMATCH', 'the bytes have another digest')
  }
  const error = await failure(
    fetchBlob(client, { registry: server.host, repository: 'app' }, blob, write, 'pull', quietContext()),
  )
  assert.is(error.code, 'REGISTRY_DIGEST_MISMATCH')
})

test.run()

test.run()
