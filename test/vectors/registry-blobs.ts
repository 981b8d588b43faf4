/** Judges the blob checks of the suite `registry`: uploads, mounts, ranges, what is missing, what is wrong. */
import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import * as assert from 'uvu/assert'
import type { Descriptor } from '../../src/core/descriptor.js'
import type { Digest } from '../../src/core/digest.js'
import { collect } from '../../src/io/stream.js'
import { readBlob } from '../../src/registry/pull.js'
import { hasBlob } from '../../src/registry/upload.js'
import type { Interference, RegistryTraits } from '../helpers/spec-registry.js'
import { type Outcome, passed, skip, textOf, type VectorCase } from './frame.js'
import { ctx, errorOf, type Meeting, meet, pullInto, repository, requests, upload } from './registry-client.js'
import type { Algorithm } from './registry-content.js'

interface Blob {
  readonly descriptor: Descriptor
  readonly bytes: Buffer
}

/** Answers that every upload must live with. */
const uploadTraits: readonly Partial<RegistryTraits>[] = [{}, { locations: 'url', digestHeader: false }, { locations: 'query' }]
const chunkBytes = 1000
const inChunks = { chunks: { fromBytes: 0, chunkBytes } }
const uploads = /\/blobs\/uploads\//

function blobOf(algorithm: Algorithm, content: number | string): Blob {
  const bytes = typeof content === 'string' ? Buffer.from(content) : bytesOf(content)
  const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest
  return { descriptor: { mediaType: 'application/octet-stream', digest, size: bytes.length }, bytes }
}

/** The same bytes in every run, none like its neighbours. */
function bytesOf(size: number): Buffer {
  const parts = Array.from({ length: Math.ceil(size / 32) }, (_, n) => createHash('sha256').update(`part ${n}`).digest())
  return Buffer.concat(parts).subarray(0, size)
}

function algorithmOf(vector: VectorCase): Algorithm {
  return /sha512/.test(textOf(vector, 'group')) ? 'sha512' : 'sha256'
}

function stored({ registry }: Meeting, { descriptor }: Blob, name = repository): Buffer | undefined {
  return registry.blobs.get(`${name} ${descriptor.digest}`)
}

function give({ registry }: Meeting, { descriptor, bytes }: Blob, name = repository): void {
  registry.blobs.set(`${name} ${descriptor.digest}`, bytes)
}

/** Pushes the blob and reads it back. */
async function pushAndRead(meeting: Meeting, blob: Blob, options: Parameters<typeof upload>[3] = {}): Promise<void> {
  assert.is(await upload(meeting, blob.descriptor, blob.bytes, options), 'uploaded')
  assert.ok(stored(meeting, blob)?.equals(blob.bytes), 'the registry has other bytes')
  assert.ok(await hasBlob(meeting.client, meeting.place, blob.descriptor, ctx))
  const bytes = await collect(readBlob(meeting.client, meeting.place, blob.descriptor, ctx))
  assert.ok(bytes.equals(blob.bytes), 'other bytes were read')
}

/** The PUT that ends an upload: the digest beside the query that the Location had. */
function assertPut({ registry }: Meeting, { descriptor }: Blob, bodySize: number, traits: Partial<RegistryTraits>): void {
  const [put, ...more] = requests(registry, 'PUT', uploads)
  assert.is(more.length, 0)
  if (put === undefined) throw new Error('the upload was not ended')
  assert.is(put.query.get('digest'), descriptor.digest)
  assert.is(put.query.get('_state'), traits.locations === 'query' ? 'a/b=' : null)
  assert.is(put.headers['content-length'], String(bodySize))
  assert.is(put.body.length, bodySize)
  if (bodySize > 0) assert.is(put.headers['content-type'], 'application/octet-stream')
}

/** POST without a body, PUT with the blob. */
async function judgeWhole(vector: VectorCase, content: number | string): Promise<Outcome> {
  const blob = blobOf(algorithmOf(vector), content)
  for (const traits of uploadTraits) {
    await meet(traits, async (meeting) => {
      await pushAndRead(meeting, blob)
      const posts = requests(meeting.registry, 'POST', uploads)
      assert.equal(
        posts.map(({ path, query, headers }) => [path, query.size, headers['content-length']]),
        [[`/v2/${repository}/blobs/uploads/`, 0, '0']],
      )
      assertPut(meeting, blob, blob.bytes.length, traits)
      assert.is(requests(meeting.registry, 'PATCH', /./).length, 0)
    })
  }
  return passed
}

/** PATCHes that name their parts, and a PUT without a body. */
async function judgeChunks(vector: VectorCase): Promise<Outcome> {
  const count = /single|one chunk/i.test(textOf(vector, 'request')) ? 1 : 3
  const blob = blobOf(algorithmOf(vector), count * chunkBytes - 5)
  for (const traits of uploadTraits) {
    await meet(traits, async (meeting) => {
      await pushAndRead(meeting, blob, inChunks)
      const patches = requests(meeting.registry, 'PATCH', uploads)
      assert.equal(
        patches.map(({ headers }) => headers['content-range']),
        Array.from({ length: count }, (_, n) => `${n * chunkBytes}-${Math.min((n + 1) * chunkBytes, blob.bytes.length) - 1}`),
      )
      for (const { headers, body } of patches) {
        assert.is(headers['content-length'], String(body.length))
        assert.is(headers['content-type'], 'application/octet-stream')
      }
      assertPut(meeting, blob, 0, traits)
    })
  }
  return passed
}

/** A registry that has kept less than was sent says 416; it is asked how far it came, and the upload goes on from there. */
async function judgeLostPart(vector: VectorCase): Promise<Outcome> {
  const blob = blobOf(algorithmOf(vector), 3 * chunkBytes - 5)
  const atEnd = textOf(vector, 'method') === 'PUT'
  for (const traits of uploadTraits) {
    let patches = 0
    let refused = 0
    const interfere: Interference = (seen, response) => {
      if (seen.method === 'PATCH') patches += 1
      // The registry keeps only a part of this one, and says so only when it is asked.
      if (seen.method === 'PATCH' && patches === (atEnd ? 3 : 1)) seen.body = seen.body.subarray(0, 400)
      if (!atEnd || seen.method !== 'PUT' || refused > 0) return false
      refused += 1
      response.writeHead(416).end()
      return true
    }
    await meet(
      traits,
      async (meeting) => {
        await pushAndRead(meeting, blob, inChunks)
        const { seen } = meeting.registry
        const at = seen.findIndex(({ status }) => status === 416)
        assert.is(seen[at]?.method, atEnd ? 'PUT' : 'PATCH', 'nothing was refused with 416')
        const [asked, next] = seen.slice(at + 1)
        assert.is(`${asked?.method} ${asked?.status}`, 'GET 204')
        assert.match(asked?.path ?? '', uploads)
        const start = atEnd ? 2 * chunkBytes + 400 : 400
        assert.match(`${next?.method} ${next?.headers['content-range']} ${next?.status}`, new RegExp(`^PATCH ${start}-\\d+ 202$`))
        assert.is(requests(meeting.registry, 'POST', uploads).length, 1, 'the upload was begun anew')
      },
      interfere,
    )
  }
  return passed
}

/** The registry has the right digest in mind and gets other bytes: one clear error, whichever way they came. */
async function judgeWrongBytes(vector: VectorCase): Promise<Outcome> {
  const blob = blobOf(algorithmOf(vector), 2500)
  const other = Buffer.alloc(2500, 'x')
  for (const options of [{}, inChunks]) {
    await meet({}, async (meeting) => {
      const error = await errorOf(upload(meeting, blob.descriptor, other, options))
      assert.is(error.code, 'REGISTRY_PROTOCOL')
      assert.match(error.message, 'status 400')
      assert.match(error.message, 'DIGEST_INVALID')
      assert.is(stored(meeting, blob), undefined)
      assert.ok(requests(meeting.registry, 'PUT', uploads).length <= 2, 'it was sent again and again')
    })
  }
  return passed
}

/** Taken from a neighbour, or opened as an upload in the same answer, or refused and uploaded. */
async function judgeMount(vector: VectorCase): Promise<Outcome> {
  const blob = blobOf(algorithmOf(vector), 512)
  const isMissing = /not exist|missing|absent|unknown/i.test(`${textOf(vector, 'request')} ${textOf(vector, 'note')}`)
  for (const traits of uploadTraits) {
    for (const mounts of ['yes', 'no', 401, 403, 404, 405] as const) {
      await meet({ ...traits, mounts }, async (meeting) => {
        if (!isMissing) give(meeting, blob, 'other')
        const options = { mountSources: [`${meeting.registry.host}/other`] }
        const outcome = await upload(meeting, blob.descriptor, blob.bytes, options)
        assert.is(outcome, mounts === 'yes' && !isMissing ? 'mounted' : 'uploaded')
        assert.ok(stored(meeting, blob)?.equals(blob.bytes))
        const [first, second] = requests(meeting.registry, 'POST', uploads)
        assert.equal(
          [...(first?.query ?? [])],
          [
            ['mount', blob.descriptor.digest],
            ['from', 'other'],
          ],
        )
        assert.is(first?.headers['content-length'], '0')
        assert.is(second === undefined, typeof mounts === 'string', 'a 202 is an upload already')
        assert.is(requests(meeting.registry, 'PUT', uploads).length, outcome === 'mounted' ? 0 : 1)
      })
    }
  }
  return passed
}

/** One question, and no upload of what is there. */
async function judgeHead(vector: VectorCase): Promise<Outcome> {
  const blob = blobOf(algorithmOf(vector), 2048)
  for (const digestHeader of [true, false]) {
    await meet({ digestHeader }, async (meeting) => {
      const isThere = (): Promise<boolean> => hasBlob(meeting.client, meeting.place, blob.descriptor, ctx)
      assert.not(await isThere())
      give(meeting, blob)
      assert.ok(await isThere())
      assert.is(await upload(meeting, blob.descriptor, blob.bytes), 'existed')
      const paths = new Set(requests(meeting.registry, 'HEAD', /./).map(({ path }) => path))
      assert.equal([...paths], [`/v2/${repository}/blobs/${blob.descriptor.digest}`])
      assert.is(requests(meeting.registry, 'POST', /./).length, 0)
    })
  }
  return passed
}

/** The whole blob, with or without the headers that may be missing; wrong bytes are refused. */
async function judgeGet(vector: VectorCase): Promise<Outcome> {
  const blob = blobOf(algorithmOf(vector), 2048)
  const read = (meeting: Meeting): Promise<Buffer> => collect(readBlob(meeting.client, meeting.place, blob.descriptor, ctx))
  for (const traits of [{}, { digestHeader: false }, { ranges: 'none' } as const]) {
    await meet(traits, async (meeting) => {
      give(meeting, blob)
      assert.ok((await read(meeting)).equals(blob.bytes))
      assert.ok((await pullInto(meeting, [blob.descriptor])).get(blob.descriptor.digest)?.equals(blob.bytes))
      assert.is(requests(meeting.registry, 'GET', /\/blobs\//)[0]?.headers.range, undefined)
      give(meeting, { ...blob, bytes: Buffer.alloc(2048) })
      assert.is((await errorOf(read(meeting))).code, 'REGISTRY_DIGEST_MISMATCH')
    })
  }
  return passed
}

/** Asked for once, then a clear error that names it. */
async function judgeMissing(vector: VectorCase): Promise<Outcome> {
  const blob = blobOf(algorithmOf(vector), 512)
  const html: Interference = ({ path }, response) => {
    if (path === '/v2/') return false
    response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>Not Found</h1>')
    return true
  }
  for (const interfere of [undefined, html]) {
    await meet(
      {},
      async (meeting) => {
        const error = await errorOf(pullInto(meeting, [blob.descriptor]))
        assert.is(error.code, 'REGISTRY_NOT_FOUND')
        assert.match(error.message, blob.descriptor.digest)
        assert.is(requests(meeting.registry, 'GET', /\/blobs\//).length, 1)
      },
      interfere,
    )
  }
  return passed
}

interface Range {
  readonly from: number
  readonly to: number
  readonly size: number
  /** True when it reads `bytes=N-`. */
  readonly isRest: boolean
}

function rangeOf(text: string): Range | undefined {
  const [, from, to] = /bytes=(\d*)-(\d*)/.exec(text) ?? []
  if (from === undefined || to === undefined) return undefined
  const size = Number(/(\d+)-byte/.exec(text)?.[1] ?? 2048)
  const start = from === '' ? size - Number(to) : Number(from)
  const end = from === '' || to === '' ? size - 1 : Number(to)
  return { from: start, to: Math.min(end, size - 1), size, isRest: from !== '' && to === '' }
}

/**
 * mille asks for ranges after a connection was cut: then for the rest. The cut comes where the range of the check begins, and the
 * rest is answered in each way that the check allows, a part that ends early among them.
 */
async function judgeRange(vector: VectorCase, range: Range): Promise<readonly Outcome[]> {
  const blob = blobOf(algorithmOf(vector), range.size)
  const expected = textOf(vector, 'expect')
  const cutAt = range.from > 0 && range.from < range.size ? range.from : Math.floor(range.size / 2)
  const answers = [...(/\b206\b/.test(expected) ? ['sized', 'star'] : []), ...(/\b200\b/.test(expected) ? ['none'] : [])]
  for (const ranges of answers as readonly RegistryTraits['ranges'][]) {
    await meet({ ranges }, (meeting) => readOverCut(meeting, blob, cutAt), cutting(blob, cutAt, range))
  }
  if (/\b416\b/.test(expected)) {
    const refusing = cutting(blob, cutAt, range, 416)
    const error = await meet({}, (meeting) => errorOf(readOverCut(meeting, blob, cutAt)), refusing)
    assert.is(error.code, 'REGISTRY_PROTOCOL')
    assert.match(error.message, blob.descriptor.digest)
  }
  return range.isRest ? [passed] : [passed, skip('mille asks for the rest of a blob, never for another range')]
}

async function readOverCut(meeting: Meeting, blob: Blob, cutAt: number): Promise<void> {
  give(meeting, blob)
  const bytes = await collect(readBlob(meeting.client, meeting.place, blob.descriptor, ctx))
  assert.ok(bytes.equals(blob.bytes), 'the parts do not make the blob')
  const asked = requests(meeting.registry, 'GET', /\/blobs\//).map(({ headers }) => headers.range)
  assert.equal(asked.slice(0, 2), [undefined, `bytes=${cutAt}-`])
}

/** The first answer ends at `cutAt`; the next is no longer than the check's range, or has the status `refuse`. */
function cutting({ bytes }: Blob, cutAt: number, range: Range, refuse?: number): Interference {
  let gets = 0
  return (seen, response) => {
    if (seen.method !== 'GET' || !/\/blobs\//.test(seen.path)) return false
    gets += 1
    if (gets === 1) sendAndCut(response, bytes, cutAt)
    else if (gets === 2 && refuse !== undefined) response.writeHead(refuse).end()
    else {
      if (gets === 2 && range.to >= cutAt) seen.headers = { ...seen.headers, range: `bytes=${cutAt}-${range.to}` }
      return false
    }
    return true
  }
}

function sendAndCut(response: ServerResponse, bytes: Buffer, length: number): void {
  response.writeHead(200, { 'content-length': bytes.length })
  response.write(bytes.subarray(0, length), () => setTimeout(() => response.destroy(), 10))
}

/** mille deletes nothing; what another has deleted is missed, and comes back with the next push. */
async function judgeDeleted(vector: VectorCase): Promise<readonly Outcome[]> {
  const blob = blobOf(algorithmOf(vector), 512)
  await meet({}, async (meeting) => {
    await pushAndRead(meeting, blob)
    meeting.registry.blobs.delete(`${repository} ${blob.descriptor.digest}`)
    assert.is((await errorOf(pullInto(meeting, [blob.descriptor]))).code, 'REGISTRY_NOT_FOUND')
    await pushAndRead(meeting, blob)
  })
  return [passed, skip('mille deletes nothing from a registry')]
}

/** Judges a check whose path is about blobs or uploads; undefined for one that the runner does not know. */
export async function judgeBlobs(vector: VectorCase): Promise<Outcome | readonly Outcome[] | undefined> {
  const [method, path, request] = [textOf(vector, 'method'), textOf(vector, 'path'), textOf(vector, 'request')]
  if (/does not hash|mismatch/i.test(request) || /digest= of other/.test(path)) return judgeWrongBytes(vector)
  if (method.includes('DELETE')) {
    return path === '<Location>' ? skip('mille cancels no upload: a registry forgets it by itself') : judgeDeleted(vector)
  }
  if (/[?&]mount=/.test(path)) {
    return /[?&]from=/.test(path) ? judgeMount(vector) : skip('mille mounts from a repository that it names, or not at all')
  }
  if (/uploads\/\?digest=/.test(path)) return skip('mille opens an upload before it sends a blob')
  if (method.includes('PATCH') && path !== '<Location>') {
    if (/without Content-Range/i.test(request)) return skip('mille knows the size of what it sends and says it')
    return /in the PUT/i.test(request) ? skip('mille sends the last chunk as it sends the others') : judgeChunks(vector)
  }
  if ((method === 'PATCH' || method === 'PUT') && path.startsWith('<Location>')) return judgeLostPart(vector)
  if (/zero-byte|"\{\}"/.test(request)) return judgeWhole(vector, request.includes('{}') ? '{}' : '')
  if (method.startsWith('POST')) return judgeWhole(vector, 2048)
  if (!/\/blobs\/<[^>]*digest>$/.test(path)) return undefined
  if (method === 'HEAD') return judgeHead(vector)
  const range = rangeOf(request)
  if (range !== undefined) return judgeRange(vector, range)
  return /\b404\b/.test(textOf(vector, 'expect')) ? judgeMissing(vector) : judgeGet(vector)
}
