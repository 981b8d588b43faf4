import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type BuildEvent, quietContext } from '../../src/core/context.js'
import { type DiffID, digestFromHex } from '../../src/core/digest.js'
import type { HttpOp, MkdirOp, Op, Vertex } from '../../src/graph/op.js'
import { layerStack } from '../../src/layer/stack.js'
import { createContextRunner } from '../../src/ops/context.js'
import { createHttpRunner } from '../../src/ops/http.js'
import { createInlineRunner } from '../../src/ops/inline.js'
import { createMkdirRunner } from '../../src/ops/mkdir.js'
import type { OpResult } from '../../src/solver/ports.js'
import { noClaims } from '../../src/store/claims.js'
import type { Blobs } from '../../src/store/types.js'
import { openBench } from '../helpers/copying.js'
import { failure } from '../helpers/failure.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeTree, showTree } from '../helpers/tree.js'
import { within } from '../helpers/within.js'

const ctx = quietContext()

function vertex(op: Op): Vertex {
  return { id: 'v' as Vertex['id'], op, inputs: [], name: 'ADD', ignoreCache: false }
}

function viewOf(result: OpResult): Extract<OpResult, { kind: 'files' }>['view'] {
  if (result.kind !== 'files') throw new Error(`a result of kind ${result.kind}`)
  return result.view
}

function scratchIn(directory: string): () => string {
  return () => mkdtempSync(join(directory, 'scratch-'))
}

test('heredocs are files with their mode', async () => {
  await using temp = await tempDirectory()
  const runner = createInlineRunner({ scratch: scratchIn(temp.path), nowMs: () => 1_700_000_000_000 })
  const op = { kind: 'inline' as const, files: [{ name: 'EOF', content: 'text\n', mode: 0o644 }] }
  const view = viewOf(await runner.run(op, [], vertex(op), ctx))
  assert.equal(view.readdir('/'), ['EOF'])
  const entry = view.lstat('/EOF')
  assert.is(entry?.mode, 0o644)
  assert.is(readFileSync(entry?.hostPath ?? '', 'utf8'), 'text\n')
})

test('an unknown named context is an error with a near name', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const directories = new Map([['context', () => ({ path: temp.path })]])
  const runner = createContextRunner({ directories, memoDirectory: temp.path, pool: bench.pool, nowMs: Date.now })
  const op = { kind: 'context' as const, name: 'contxt', ignore: [] }
  const error = await failure(runner.run(op, [], vertex(op), ctx))
  assert.is(error.code, 'CONTEXT_NOT_FOUND')
  assert.is(error.hint, 'did you mean context?')
})

test('WORKDIR makes missing directories inside the rootfs, and an empty layer when all is there', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const base = makeTree(join(temp.path, 'base'), { 'etc/passwd': 'app:x:10:20::/:\n', 'srv/www/': '', link: '-> /srv' })
  const run = async (op: Partial<MkdirOp>): Promise<string[]> => {
    let upper = ''
    const runner = createMkdirRunner({
      layers: {
        ...bench.layers,
        directoriesOf: async () => [base],
        async finish(layer, known, context) {
          const result = await bench.layers.finish(layer, known, context)
          upper = `${layer.upper}.done`
          return result
        },
      },
      pool: bench.pool,
      viewOf: layerStack,
      nowMs: () => 0,
    })
    const full: MkdirOp = { kind: 'mkdir', base: 0, path: '/', mode: 0o755, ...op }
    await runner.run(full, [{ kind: 'layers', diffIds: ['x' as DiffID] }], vertex(full), ctx)
    return showTree(upper)
  }
  assert.equal(await run({ path: '/srv/www' }), [])
  assert.equal(await run({ path: '/link/new/deep', owner: { user: 'app' } }), [
    'srv/ 755 0:0',
    'srv/new/ 755 10:20',
    'srv/new/deep/ 755 10:20',
  ])
  assert.equal(await run({ path: '/x', owner: { user: 'nobody-knows' } }), ['x/ 755 0:0'])
  assert.is((await failure(run({ path: '/etc/passwd/x' }))).code, 'COPY_DESTINATION_CONFLICT')
})

/** Blobs in a plain directory, enough for downloads. */
function plainBlobs(directory: string): Pick<Blobs, 'has' | 'pathOf' | 'write'> {
  mkdirSync(directory, { recursive: true })
  const stored = new Map<string, Buffer>()
  const pathOf: Blobs['pathOf'] = (digest) => join(directory, digest.replace(':', '-'))
  return {
    has: (digest) => stored.has(digest),
    pathOf,
    async write(bytes) {
      const chunks: Uint8Array[] = []
      for await (const chunk of bytes) chunks.push(chunk)
      const all = Buffer.concat(chunks)
      const digest = digestFromHex(createHash('sha256').update(all).digest('hex'))
      stored.set(digest, all)
      return { digest, size: all.length }
    },
  }
}

async function serve(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer(handle).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const findSecret = async (): Promise<undefined> => undefined

function httpOp(url: string, checksum?: string): HttpOp {
  return { kind: 'http', url, filename: 'file.txt', ...(checksum === undefined ? {} : { checksum }) }
}

test('a download has mode 0600 and the time of Last-Modified, and is asked for again only by its ETag', async () => {
  await using temp = await tempDirectory()
  const seen: (string | undefined)[] = []
  await using server = await serve((request, response) => {
    seen.push(request.headers['if-none-match'])
    response.setHeader('etag', '"1"')
    response.setHeader('last-modified', 'Thu, 01 Jan 2015 00:00:00 GMT')
    if (request.headers['if-none-match'] === '"1"') response.writeHead(304).end()
    else response.end('content')
  })
  const blobs = plainBlobs(join(temp.path, 'blobs'))
  const make = () => createHttpRunner({ blobs, memoDirectory: temp.path, claims: noClaims, env: {}, findSecret })
  const op = httpOp(`${server.url}/file.txt`)
  const first = make()
  const key = await within(20_000, first.key?.(op, [], vertex(op), ctx) ?? Promise.reject())
  const view = viewOf(await first.run(op, [], vertex(op), ctx))
  assert.equal(view.readdir('/'), ['file.txt'])
  const entry = view.lstat('/file.txt')
  assert.equal([entry?.mode, entry?.size, entry?.mtimeNs], [0o600, 7, 1_420_070_400_000_000_000n])
  assert.equal(await make().key?.(op, [], vertex(op), ctx), key)
  assert.equal(seen, [undefined, '"1"'])
})

test('a checksum that does not fit, a missing file and a server that is not there are one clear error each', async () => {
  await using temp = await tempDirectory()
  await using server = await serve((request, response) => {
    if (request.url === '/file') response.end('content')
    else response.writeHead(404).end()
  })
  const runner = createHttpRunner({
    blobs: plainBlobs(join(temp.path, 'b')),
    memoDirectory: temp.path,
    claims: noClaims,
    env: {},
    findSecret,
  })
  const run = (op: HttpOp): Promise<unknown> => within(20_000, runner.run(op, [], vertex(op), ctx))
  const wrong = await failure(run(httpOp(`${server.url}/file`, `sha256:${'0'.repeat(64)}`)))
  assert.is(wrong.code, 'ADD_CHECKSUM_MISMATCH')
  const bad = await failure(run(httpOp(`${server.url}/file?`, 'md5:1')))
  assert.is(bad.code, 'DOCKERFILE_BAD_FLAG')
  const missing = await failure(run(httpOp(`${server.url.replace('//', '//user:secret@')}/none`)))
  assert.is(missing.code, 'ADD_DOWNLOAD_FAILED')
  assert.match(missing.message, '404')
  assert.not.match(missing.message, 'secret')
  const gone = await failure(run(httpOp('http://127.0.0.1:9/x')))
  assert.is(gone.code, 'ADD_DOWNLOAD_FAILED')
})

test('a user that WORKDIR does not find is a warning', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const events: BuildEvent[] = []
  const runner = createMkdirRunner({ layers: bench.layers, pool: bench.pool, viewOf: layerStack, nowMs: () => 0 })
  const op: MkdirOp = { kind: 'mkdir', path: '/x', mode: 0o755, owner: { user: 'who' } }
  await runner.run(op, [], vertex(op), { ...ctx, emit: (event) => events.push(event) })
  assert.equal(
    events.map((event) => event.type),
    ['warning'],
  )
})

test.run()
