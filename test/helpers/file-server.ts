/** A real http server with files in memory: ETags, ranges, secrets, redirects, and a record of what it was asked. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One file. */
export interface ServedFile {
  readonly body: string | Buffer
  readonly headers?: Readonly<Record<string, string>>
  /** The Authorization header that must come. */
  readonly authorization?: string
  /** The connection breaks off after so many bytes of an answer. */
  readonly breaksAfter?: number
  /** Sends to another address. */
  readonly redirect?: string
  /** Answers this the first time. */
  readonly firstStatus?: number
}

/** A running server. */
export interface FileServer extends AsyncDisposable {
  readonly url: string
  /** Files by path, with the leading `/`; may be changed. */
  readonly files: Map<string, ServedFile>
  /** `GET /path 200` for each answer. */
  readonly log: string[]
}

/** Starts a server on a free port of the loopback interface. */
export async function serveFiles(files: Readonly<Record<string, ServedFile>>): Promise<FileServer> {
  const served = new Map(Object.entries(files))
  const log: string[] = []
  const asked = new Set<string>()
  const server = createServer((request, response) => {
    response.on('close', () => log.push(`${request.method} ${request.url} ${response.statusCode}`))
    const path = request.url ?? ''
    const file = served.get(path)
    if (file?.firstStatus !== undefined && !asked.has(path)) response.writeHead(file.firstStatus).end()
    else answer(file, request, response)
    asked.add(path)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files: served,
    log,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function answer(file: ServedFile | undefined, request: IncomingMessage, response: ServerResponse): void {
  if (file === undefined) return void response.writeHead(404).end()
  if (file.redirect !== undefined) return void response.writeHead(302, { location: file.redirect }).end()
  if (file.authorization !== undefined && request.headers.authorization !== file.authorization) {
    return void response.writeHead(401).end()
  }
  const body = Buffer.from(file.body)
  const etag = `"${createHash('sha256').update(body).digest('hex').slice(0, 16)}"`
  const headers = { etag, 'accept-ranges': 'bytes', ...file.headers }
  if (request.headers['if-none-match'] === etag) return void response.writeHead(304, headers).end()
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
  const part = body.subarray(from)
  const range = { 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` }
  response.writeHead(from > 0 ? 206 : 200, { ...headers, ...(from > 0 ? range : {}), 'content-length': part.length })
  const { breaksAfter } = file
  if (breaksAfter === undefined || part.length <= breaksAfter) return void response.end(part)
  // As TCP has it: what was written arrives, then nothing.
  response.write(part.subarray(0, breaksAfter), () => setTimeout(() => response.destroy(), 300))
}
