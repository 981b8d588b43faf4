/**
 * A small registry in this process that follows the distribution spec, with a choice wherever the spec leaves one to the
 * server. It notes every request, so that a test can say what a client asked and how.
 */
import { createHash, randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { type Descriptor, type Manifest, mediaTypes } from '../../src/core/descriptor.js'
import { type FakeServer, startFake } from './registry.js'

/** What the spec leaves to the server. */
export interface RegistryTraits {
  /** `Location` as a path, as a URL, or as a path with a query of its own. */
  readonly locations: 'path' | 'url' | 'query'
  /** Whether answers have Docker-Content-Digest. */
  readonly digestHeader: boolean
  /** How a range is answered: the part with the whole size or `*`, or the whole blob with 200. */
  readonly ranges: 'sized' | 'star' | 'none'
  /** What a mount leads to: 201, 202 with an upload, or a refusal with this status. */
  readonly mounts: 'yes' | 'no' | number
  /** The status of the referrers API; 200 lists them. */
  readonly referrers: number
  /** Whether a manifest with a subject is answered with OCI-Subject. */
  readonly subjectHeader: boolean
  /** What manifests are sent as: their own type, or this one. */
  readonly manifestType: string | undefined
  /** Whether a manifest is refused as long as a part of it is missing. */
  readonly wantsParts: boolean
  /** How the tags of an empty repository are told. */
  readonly noTags: 'empty' | 'null' | 'missing'
  /** How many tags an answer lists at most. */
  readonly tagPage: number
}

/** A registry with all that the spec has. */
export const fullTraits: RegistryTraits = {
  locations: 'path',
  digestHeader: true,
  ranges: 'sized',
  mounts: 'yes',
  referrers: 200,
  subjectHeader: true,
  manifestType: undefined,
  wantsParts: true,
  noTags: 'empty',
  tagPage: 1000,
}

/** One request as it came, and the status of its answer. */
export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** Of its answer. */
  readonly status: number
}

/** A request on its way in: what is changed here is what the registry understands, not what is noted. */
export type Incoming = { -readonly [Field in keyof Omit<SeenRequest, 'status'>]: SeenRequest[Field] }

/** Answers a request in the registry's place when it returns true. */
export type Interference = (request: Incoming, response: ServerResponse) => boolean

/** A manifest as it was pushed. */
export interface StoredManifest {
  readonly mediaType: string
  readonly bytes: Buffer
}

/** The running registry and what it holds. Keys of the maps are `repository name`. */
export interface SpecRegistry extends AsyncDisposable {
  readonly host: string
  readonly seen: SeenRequest[]
  readonly blobs: Map<string, Buffer>
  /** By digest. */
  readonly manifests: Map<string, StoredManifest>
  /** Tag to digest. */
  readonly tags: Map<string, string>
}

type Part = Pick<Descriptor, 'mediaType' | 'digest' | 'urls'>

interface PushedDocument extends Partial<Pick<Manifest, 'mediaType' | 'artifactType' | 'subject' | 'annotations'>> {
  readonly config?: Part
  readonly layers?: readonly Part[]
  readonly manifests?: readonly Part[]
}

interface Upload {
  readonly repository: string
  bytes: Buffer
}

/** The digest of bytes with the algorithm of another digest. */
export function digestLike(digest: string, bytes: Uint8Array): string {
  const algorithm = digest.split(':')[0] ?? ''
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** Starts one with these traits. `interfere` sees each request first. */
export async function startSpecRegistry(
  traits: Partial<RegistryTraits> = {},
  interfere: Interference = () => false,
): Promise<SpecRegistry> {
  const state = new RegistryState({ ...fullTraits, ...traits })
  const server: FakeServer = await startFake((incoming, response, body) => {
    const url = new URL(incoming.url ?? '/', 'http://registry')
    const { pathname: path, searchParams: query } = url
    const asked = { method: incoming.method ?? '', path, query, headers: incoming.headers, body }
    const seen = {
      ...asked,
      get status() {
        return response.statusCode
      },
    }
    state.seen.push(seen)
    const request = { ...asked }
    if (!interfere(request, response)) state.answer(request, response)
  })
  state.host = server.host
  return Object.assign(state, { [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() })
}

class RegistryState {
  host = ''
  readonly seen: SeenRequest[] = []
  readonly blobs = new Map<string, Buffer>()
  readonly manifests = new Map<string, StoredManifest>()
  readonly tags = new Map<string, string>()
  readonly #uploads = new Map<string, Upload>()
  readonly #traits: RegistryTraits

  constructor(traits: RegistryTraits) {
    this.#traits = traits
  }

  answer(seen: Incoming, response: ServerResponse): unknown {
    if (seen.path === '/v2/') return response.writeHead(200).end('{}')
    const match = /^\/v2\/(.+?)\/(blobs\/uploads|blobs|manifests|referrers|tags)\/(.*)$/.exec(seen.path)
    const [, repository = '', kind = '', name = ''] = match ?? []
    if (kind === 'blobs/uploads') return this.#upload(seen, repository, name, response)
    if (kind === 'blobs') return this.#blob(seen, repository, name, response)
    if (kind === 'manifests') return this.#manifest(seen, repository, name, response)
    if (kind === 'referrers') return this.#referrers(repository, name, response)
    if (kind === 'tags') return this.#tagList(seen, repository, response)
    refuse(response, 404, 'UNSUPPORTED')
  }

  #locationOf(path: string): string {
    if (this.#traits.locations === 'url') return `http://${this.host}${path}`
    return this.#traits.locations === 'query' ? `${path}?_state=a%2Fb%3D&n=${randomUUID()}` : path
  }

  #digestHeader(digest: string): Record<string, string> {
    return this.#traits.digestHeader ? { 'docker-content-digest': digest } : {}
  }

  #blob({ method, headers }: Incoming, repository: string, digest: string, response: ServerResponse): unknown {
    const bytes = this.blobs.get(`${repository} ${digest}`)
    if (bytes === undefined) return refuse(response, 404, 'BLOB_UNKNOWN')
    const head = { 'content-type': 'application/octet-stream', ...this.#digestHeader(digest) }
    const range = /^bytes=(\d*)-(\d*)$/.exec(headers.range ?? '')
    if (range === null || this.#traits.ranges === 'none') {
      response.writeHead(200, { ...head, 'content-length': bytes.length })
      return response.end(method === 'HEAD' ? undefined : bytes)
    }
    const [, from = '', to = ''] = range
    const start = from === '' ? Math.max(0, bytes.length - Number(to)) : Number(from)
    const end = from === '' || to === '' ? bytes.length - 1 : Math.min(Number(to), bytes.length - 1)
    if (start > end) return refuse(response, 416, 'UNSUPPORTED')
    const size = this.#traits.ranges === 'star' ? '*' : bytes.length
    response.writeHead(206, { ...head, 'content-length': end - start + 1, 'content-range': `bytes ${start}-${end}/${size}` })
    response.end(bytes.subarray(start, end + 1))
  }

  #upload(seen: Incoming, repository: string, id: string, response: ServerResponse): unknown {
    if (id === '') return this.#openUpload(seen, repository, response)
    const upload = this.#uploads.get(id)
    if (upload?.repository !== repository) return refuse(response, 404, 'BLOB_UPLOAD_UNKNOWN')
    if (seen.method === 'GET') return this.#tellUpload(204, id, upload, response)
    const start = /^(\d+)-\d+$/.exec(seen.headers['content-range'] ?? '')?.[1]
    if (start !== undefined && Number(start) !== upload.bytes.length) return refuse(response, 416, 'BLOB_UPLOAD_INVALID')
    upload.bytes = Buffer.concat([upload.bytes, seen.body])
    if (seen.method === 'PATCH') return this.#tellUpload(202, id, upload, response)
    const digest = seen.query.get('digest') ?? ''
    if (!/^sha(256|512):/.test(digest) || digestLike(digest, upload.bytes) !== digest)
      return refuse(response, 400, 'DIGEST_INVALID')
    this.#uploads.delete(id)
    this.blobs.set(`${repository} ${digest}`, upload.bytes)
    this.#created(`/v2/${repository}/blobs/${digest}`, this.#digestHeader(digest), response)
  }

  #openUpload({ query }: Incoming, repository: string, response: ServerResponse): unknown {
    const digest = query.get('mount')
    const there = [...this.blobs].find(([key]) => digest !== null && key === `${query.get('from')} ${digest}`)?.[1]
    if (digest !== null && typeof this.#traits.mounts === 'number') return refuse(response, this.#traits.mounts, 'UNSUPPORTED')
    if (digest !== null && there !== undefined && this.#traits.mounts === 'yes') {
      this.blobs.set(`${repository} ${digest}`, there)
      return this.#created(`/v2/${repository}/blobs/${digest}`, this.#digestHeader(digest), response)
    }
    const id = randomUUID()
    this.#uploads.set(id, { repository, bytes: Buffer.alloc(0) })
    response.writeHead(202, { location: this.#locationOf(`/v2/${repository}/blobs/uploads/${id}`), 'content-length': 0 }).end()
  }

  #tellUpload(status: number, id: string, { repository, bytes }: Upload, response: ServerResponse): void {
    const location = this.#locationOf(`/v2/${repository}/blobs/uploads/${id}`)
    response.writeHead(status, { location, range: `0-${Math.max(0, bytes.length - 1)}`, 'content-length': 0 }).end()
  }

  #created(path: string, headers: Readonly<Record<string, string>>, response: ServerResponse): void {
    const location = this.#traits.locations === 'url' ? `http://${this.host}${path}` : path
    response.writeHead(201, { location, ...headers, 'content-length': 0 }).end()
  }

  #manifest(seen: Incoming, repository: string, name: string, response: ServerResponse): unknown {
    if (seen.method === 'PUT') return this.#putManifest(seen, repository, name, response)
    const digest = name.includes(':') ? name : (this.tags.get(`${repository} ${name}`) ?? '')
    const found = this.manifests.get(`${repository} ${digest}`)
    if (found === undefined) return refuse(response, 404, 'MANIFEST_UNKNOWN')
    const type = this.#traits.manifestType ?? found.mediaType
    response.writeHead(200, { 'content-type': type, 'content-length': found.bytes.length, ...this.#digestHeader(digest) })
    response.end(seen.method === 'HEAD' ? undefined : found.bytes)
  }

  #putManifest({ headers, body }: Incoming, repository: string, name: string, response: ServerResponse): unknown {
    const digest = digestLike(name.includes(':') ? name : 'sha256:', body)
    if (name.includes(':') && name !== digest) return refuse(response, 400, 'DIGEST_INVALID')
    const document = JSON.parse(body.toString()) as PushedDocument
    const mediaType = headers['content-type'] ?? ''
    if (document.mediaType !== undefined && document.mediaType !== mediaType) return refuse(response, 400, 'MANIFEST_INVALID')
    const parts = [...(document.config ? [document.config] : []), ...(document.layers ?? [])].filter(({ urls }) => !urls)
    const missing =
      parts.some((part) => !this.blobs.has(`${repository} ${part.digest}`)) ||
      (document.manifests ?? []).some((part) => !this.manifests.has(`${repository} ${part.digest}`))
    if (missing && this.#traits.wantsParts) return refuse(response, 404, 'MANIFEST_BLOB_UNKNOWN')
    this.manifests.set(`${repository} ${digest}`, { mediaType, bytes: body })
    if (!name.includes(':')) this.tags.set(`${repository} ${name}`, digest)
    const subject = document.subject?.digest
    const said = subject !== undefined && this.#traits.subjectHeader ? { 'oci-subject': subject } : {}
    this.#created(`/v2/${repository}/manifests/${digest}`, { ...this.#digestHeader(digest), ...said }, response)
  }

  #referrers(repository: string, subject: string, response: ServerResponse): unknown {
    if (this.#traits.referrers !== 200) return refuse(response, this.#traits.referrers, 'UNSUPPORTED')
    const manifests = [...this.manifests].flatMap(([key, { mediaType, bytes }]) => {
      if (!key.startsWith(`${repository} `)) return []
      const document = JSON.parse(bytes.toString()) as PushedDocument
      if (document.subject?.digest !== subject) return []
      const artifactType = document.artifactType ?? document.config?.mediaType
      const digest = key.slice(repository.length + 1)
      return [{ mediaType, digest, size: bytes.length, artifactType, annotations: document.annotations }]
    })
    response.writeHead(200, { 'content-type': mediaTypes.ociIndex })
    response.end(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }))
  }

  #tagList({ query }: Incoming, repository: string, response: ServerResponse): unknown {
    const all = [...this.tags.keys()].filter((key) => key.startsWith(`${repository} `)).map((key) => key.split(' ')[1] ?? '')
    const rest = all.sort().filter((tag) => tag > (query.get('last') ?? ''))
    if (all.length === 0 && this.#traits.noTags !== 'empty') {
      if (this.#traits.noTags === 'missing') return refuse(response, 404, 'NAME_UNKNOWN')
      return response.writeHead(200).end(JSON.stringify({ name: repository, tags: null }))
    }
    const tags = rest.slice(0, Math.min(this.#traits.tagPage, Number(query.get('n') ?? Number.POSITIVE_INFINITY)))
    const next = `</v2/${repository}/tags/list?last=${tags.at(-1)}&n=${tags.length}>; rel="next"`
    const link = tags.length < rest.length ? { link: next } : {}
    return response
      .writeHead(200, { 'content-type': 'application/json', ...link })
      .end(JSON.stringify({ name: repository, tags }))
  }
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ errors: [{ code, message: `said by the test: ${code}` }] }))
}
