/**
 * Blobs behind signed addresses of Azure's Blob service: written once, as one request or as blocks and their list, and read
 * from any byte on. Spec: Azure Storage REST API, "Put Blob", "Put Block", "Put Block List", "Get Blob".
 */
import type { Context } from '../core/context.js'
import { BuildError } from '../core/errors.js'
import { type RetryPolicy, retrying } from '../registry/retry.js'
import { blocksOf, skipBytes } from './blocks.js'
import { answerBytes, type PlaceHttp, type PlaceRequest } from './place-http.js'

const common = { 'x-ms-version': '2021-12-02', 'user-agent': 'mille' }
const answerLimitBytes = 64 << 10

/** How much is in memory at once, and sent again when it fails. */
export const defaultBlockBytes = 16 << 20
/** The service takes no more blocks. */
const mostBlocks = 50_000

/** Writes `size` bytes. Each piece is tried again by itself, so that a cut costs one. */
export async function writeAzureBlob(
  http: PlaceHttp,
  url: URL,
  size: number,
  bytes: AsyncIterable<Uint8Array>,
  options: { readonly blockBytes: number; readonly retry: RetryPolicy; readonly subject: string },
  ctx: Context,
): Promise<void> {
  const { retry, subject } = options
  const blockBytes = Math.max(options.blockBytes, Math.ceil(size / mostBlocks))
  const put = async (to: URL, body: Buffer, headers: Readonly<Record<string, string>>): Promise<void> => {
    const open = async function* (): AsyncGenerator<Uint8Array, void, void> {
      yield body
    }
    const request: PlaceRequest = {
      method: 'PUT',
      url: to,
      headers: { ...common, ...headers },
      body: { size: body.length, open },
      accept: [201],
      subject,
    }
    await retrying(retry, ctx, () => http.ask(request, answerLimitBytes, ctx))
  }
  const ids: string[] = []
  let sent = 0
  for await (const block of blocksOf(bytes, blockBytes)) {
    sent += block.length
    if (sent > size) break
    if (ids.length === 0 && block.length === size) return put(url, block, { 'x-ms-blob-type': 'BlockBlob' })
    // All ids of a blob have one length.
    const id = Buffer.from(String(ids.length).padStart(6, '0')).toString('base64')
    await put(withQuery(url, { comp: 'block', blockid: id }), block, {})
    ids.push(id)
  }
  if (sent !== size) throw new BuildError('CACHE_EXPORT_FAILED', `${subject} has ${sent} bytes here, not ${size}`)
  const list = `<?xml version="1.0" encoding="utf-8"?><BlockList>${ids.map((id) => `<Latest>${id}</Latest>`).join('')}</BlockList>`
  await put(withQuery(url, { comp: 'blocklist' }), Buffer.from(list), { 'content-type': 'application/xml' })
}

/** Reads from byte `from` on; a connection that is cut while bytes come is the reader's to open again. */
export async function readAzureBlob(
  http: PlaceHttp,
  url: URL,
  from: number,
  options: { readonly retry: RetryPolicy; readonly subject: string },
  ctx: Context,
): Promise<AsyncIterable<Uint8Array>> {
  const headers = { ...common, ...(from === 0 ? {} : { range: `bytes=${from}-` }) }
  const request: PlaceRequest = { method: 'GET', url, headers, accept: [200, 206], subject: options.subject }
  const answer = await retrying(options.retry, ctx, () => http.send(request, ctx))
  const bytes = answerBytes(answer, request, ctx)
  return from > 0 && answer.status === 200 ? skipBytes(bytes, from) : bytes
}

function withQuery(url: URL, fields: Readonly<Record<string, string>>): URL {
  const made = new URL(url)
  for (const [name, value] of Object.entries(fields)) made.searchParams.set(name, value)
  return made
}
