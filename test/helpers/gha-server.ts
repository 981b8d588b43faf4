/**
 * A stand-in for the cache service of GitHub Actions, version 2, and for the blob store behind it. It refuses what the real
 * ones refuse: unknown fields, foreign tokens, changed entries, wrong sizes, addresses that are not signed for this.
 */
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** An entry, reserved or finished. */
interface Entry {
  readonly id: number
  readonly scope: string
  readonly key: string
  readonly version: string
  readonly blocks: Map<string, Buffer>
  content: Buffer | undefined
  finished: boolean
}

/** A running service. */
export interface TestGha extends AsyncDisposable {
  readonly url: string
  /** A token of a job that writes in the first scope and reads in all. */
  token(...scopes: readonly string[]): string
  /** What was asked: `METHOD NAME STATUS`, where NAME is a call with its key, or `blob` with the key and what is done. */
  readonly requests: string[]
  /** Why requests were refused with 400: each is a mistake of the client. */
  readonly mistakes: string[]
  readonly entries: readonly Entry[]
}

/** Answers a request in the service's place by returning true. */
export type MeddleGha = (request: IncomingMessage, response: ServerResponse, body: Buffer) => boolean

const prefix = '/twirp/github.actions.results.api.v1.CacheService/'
/** Read and write, as in the claim `ac`. */
const readWrite = 3

/** Starts it. `meddle` sees each request first. */
export async function startGha(meddle: MeddleGha = () => false): Promise<TestGha> {
  const service = new Service()
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('error', () => undefined)
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      if (!meddle(request, response, body)) service.handle(request, response, body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  service.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: `${service.origin}/`,
    token: (...scopes) => service.issue(scopes),
    requests: service.requests,
    mistakes: service.mistakes,
    entries: service.entries,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** An answer that is an error of Twirp. */
class Refusal extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

const mistake = (message: string): Refusal => new Refusal(400, 'malformed', message)

class Service {
  origin = ''
  readonly requests: string[] = []
  readonly mistakes: string[] = []
  readonly entries: Entry[] = []
  readonly #tokens = new Map<string, readonly string[]>()
  readonly #secret = randomBytes(8).toString('hex')

  /** A JWT as the runner has it, unsigned: who knows it may use it. */
  issue(scopes: readonly string[]): string {
    const ac = JSON.stringify(scopes.map((Scope, i) => ({ Scope, Permission: i === 0 ? readWrite : 1 })))
    const parts = [{ alg: 'none' }, { ac, nonce: randomBytes(4).toString('hex') }].map((part) =>
      Buffer.from(JSON.stringify(part)).toString('base64url'),
    )
    const token = `${parts.join('.')}.x`
    this.#tokens.set(token, scopes)
    return token
  }

  handle(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const url = new URL(request.url ?? '/', this.origin)
    const isCall = url.pathname.startsWith(prefix)
    try {
      if (isCall) this.#call(url.pathname.slice(prefix.length), request, response, body)
      else this.#blob(url, request, response, body)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (error.status === 400) this.mistakes.push(error.message)
      this.requests.push(`${request.method} ${isCall ? url.pathname.slice(prefix.length) : 'blob'} ${error.status}`)
      response.writeHead(error.status, { 'content-type': isCall ? 'application/json' : 'application/xml' })
      response.end(
        isCall
          ? JSON.stringify({ code: error.code, msg: error.message })
          : `<?xml version="1.0"?><Error><Code>${error.code}</Code><Message>${error.message}</Message></Error>`,
      )
    }
  }

  #call(method: string, request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    if (request.method !== 'POST') throw new Refusal(405, 'bad_route', `${request.method} is no call`)
    if (request.headers['content-type'] !== 'application/json') throw mistake('the content type is not application/json')
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? ''
    const scopes = this.#tokens.get(token)
    if (scopes === undefined) throw new Refusal(401, 'unauthenticated', 'the token is not known')
    const fields = readJson(body)
    const key = readKey(fields.key)
    if (typeof fields.version !== 'string' || !/^[0-9a-f]{64}$/.test(fields.version)) throw mistake('version is no sha256')
    const answer = this.#answer(method, { ...fields, key, version: fields.version }, scopes)
    this.requests.push(`POST ${method} ${key} 200`)
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  }

  #answer(method: string, fields: Fields, scopes: readonly string[]): object {
    switch (method) {
      case 'CreateCacheEntry':
        onlyFields(fields, ['key', 'version', 'metadata'])
        return { ok: true, signed_upload_url: this.#create(fields, scopes[0] ?? '') }
      case 'FinalizeCacheEntryUpload':
        onlyFields(fields, ['key', 'version', 'metadata', 'size_bytes'])
        return { ok: true, entry_id: String(this.#finish(fields, scopes[0] ?? '')) }
      case 'GetCacheEntryDownloadURL': {
        onlyFields(fields, ['key', 'version', 'metadata', 'restore_keys'])
        const entry = this.#find(fields, scopes)
        if (entry === undefined) return { ok: false, signed_download_url: '', matched_key: '' }
        return { ok: true, signed_download_url: this.#sign(entry, 'r'), matched_key: entry.key }
      }
      default:
        throw new Refusal(404, 'bad_route', `there is no ${method}`)
    }
  }

  #create({ key, version }: Fields, scope: string): string {
    if (this.entries.some((entry) => entry.scope === scope && entry.key === key && entry.version === version))
      throw new Refusal(409, 'already_exists', `the entry ${key} is there`)
    const entry = { id: this.entries.length + 1, scope, key, version, blocks: new Map(), content: undefined, finished: false }
    this.entries.push(entry)
    return this.#sign(entry, 'cw')
  }

  #finish({ key, version, size_bytes: size }: Fields, scope: string): number {
    const entry = this.entries.find((each) => each.scope === scope && each.key === key && each.version === version)
    if (entry === undefined || entry.finished) throw new Refusal(404, 'not_found', `nothing is reserved for ${key}`)
    if (typeof size !== 'string' || !/^\d+$/.test(size)) throw mistake('size_bytes is no 64-bit number as text')
    if (entry.content?.length !== Number(size)) throw mistake(`${key} has ${entry.content?.length} bytes, not ${size}`)
    entry.finished = true
    return entry.id
  }

  /** In the job's own scope first; in each the key itself, then the beginnings in their order, of each the newest entry. */
  #find({ key, version, restore_keys: beginnings = [] }: Fields, scopes: readonly string[]): Entry | undefined {
    if (!Array.isArray(beginnings)) throw mistake('restore_keys is no list')
    if (beginnings.length > 9) throw mistake('there are more than 10 keys')
    for (const scope of scopes) {
      const own = this.entries.filter((entry) => entry.scope === scope && entry.version === version && entry.finished)
      const exact = own.find((entry) => entry.key === key)
      if (exact !== undefined) return exact
      for (const beginning of beginnings.map(readKey)) {
        const newest = own.findLast((entry) => entry.key.startsWith(beginning))
        if (newest !== undefined) return newest
      }
    }
    return undefined
  }

  #sign({ id }: Entry, permission: string): string {
    return `${this.origin}/account/actions-cache/${id}?sp=${permission}&sig=${this.#signature(id, permission)}`
  }

  #signature(id: number, permission: string): string {
    return createHash('sha256').update(`${this.#secret} ${id} ${permission}`).digest('hex')
  }

  #blob(url: URL, request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const id = Number(/^\/account\/actions-cache\/(\d+)$/.exec(url.pathname)?.[1] ?? 0)
    const entry = this.entries[id - 1]
    const permission = url.searchParams.get('sp') ?? ''
    const needed = request.method === 'PUT' ? 'w' : 'r'
    if (
      entry === undefined ||
      !permission.includes(needed) ||
      url.searchParams.get('sig') !== this.#signature(id, permission) ||
      request.headers.authorization !== undefined
    )
      throw new Refusal(403, 'AuthenticationFailed', 'the address is not signed for this')
    const what = request.method === 'PUT' ? this.#write(entry, url, request, body) : this.#read(entry, request, response)
    if (request.method === 'PUT') response.writeHead(201, { etag: '"0x1"', 'x-ms-request-id': '1' }).end()
    this.requests.push(`${request.method} blob ${entry.key} ${what} ${response.statusCode}`)
  }

  #write(entry: Entry, url: URL, request: IncomingMessage, body: Buffer): string {
    if (entry.finished) throw new Refusal(403, 'AuthorizationFailure', 'the entry is finished')
    if (Number(request.headers['content-length']) !== body.length) throw mistake('the length is not that of the bytes')
    const { searchParams } = url
    switch (searchParams.get('comp')) {
      case null:
        if (request.headers['x-ms-blob-type'] !== 'BlockBlob') throw mistake('x-ms-blob-type is not BlockBlob')
        entry.content = body
        return 'whole'
      case 'block': {
        const id = searchParams.get('blockid') ?? ''
        const [first = id] = entry.blocks.keys()
        if (id === '' || id.length !== first.length || Buffer.from(id, 'base64').toString('base64') !== id)
          throw mistake('a block has no id in base64 of one length')
        entry.blocks.set(id, body)
        return 'block'
      }
      case 'blocklist': {
        const ids = [...body.toString().matchAll(/<(?:Latest|Uncommitted)>([^<]*)<\//g)].map(([, id = '']) => id)
        const blocks = ids.map((id) => entry.blocks.get(id))
        if (blocks.includes(undefined)) throw new Refusal(400, 'InvalidBlockList', 'a block of the list is not there')
        entry.content = Buffer.concat(blocks.filter((block) => block !== undefined))
        return 'blocklist'
      }
      default:
        throw mistake(`comp is ${searchParams.get('comp')}`)
    }
  }

  #read(entry: Entry, request: IncomingMessage, response: ServerResponse): string {
    const content = entry.content ?? Buffer.alloc(0)
    const range = request.headers.range ?? request.headers['x-ms-range']
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(String(range ?? '')) ?? []
    const common = { 'content-type': 'application/octet-stream', etag: '"0x1"', 'x-ms-blob-type': 'BlockBlob' }
    if (from === undefined) {
      response.writeHead(200, { ...common, 'content-length': content.length })
      response.end(request.method === 'HEAD' ? undefined : content)
      return 'whole'
    }
    const end = Math.min(content.length, to ? Number(to) + 1 : content.length)
    if (Number(from) >= content.length) throw new Refusal(416, 'InvalidRange', 'the range is not in the blob')
    const part = content.subarray(Number(from), end)
    const place = `bytes ${from}-${end - 1}/${content.length}`
    response.writeHead(206, { ...common, 'content-length': part.length, 'content-range': place }).end(part)
    return 'part'
  }
}

interface Fields {
  readonly key: string
  readonly version: string
  readonly size_bytes?: unknown
  readonly restore_keys?: unknown
}

function readJson(body: Buffer): Record<string, unknown> {
  try {
    return JSON.parse(body.toString()) as Record<string, unknown>
  } catch (error) {
    throw mistake(`the body is no JSON: ${String(error)}`)
  }
}

function readKey(key: unknown): string {
  if (typeof key !== 'string' || key === '' || key.length > 512 || key.includes(',')) throw mistake(`a key is ${String(key)}`)
  return key
}

function onlyFields(fields: Fields, known: readonly string[]): void {
  const stranger = Object.keys(fields).find((name) => !known.includes(name))
  if (stranger !== undefined) throw mistake(`there is no field ${stranger}`)
}
