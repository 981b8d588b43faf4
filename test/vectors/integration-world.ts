/**
 * The world of one integration case: its directories, servers and placeholders (`@dir1`, `@tmp1`, `@http1`, `{{…}}`).
 *
 * Context directories are written when they are first named, since their text may hold what an earlier step found out.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { dirname, join, normalize } from 'node:path'
import { recordOf, textOf, type VectorCase } from './frame.js'
import { lostArchive } from './lost-archives.js'
import { contentOf, modeOf } from './tweaks.js'

/** What a server answers for one path. */
interface Route {
  readonly body: Buffer
  readonly etag: string
  readonly lastModified?: string
}

/** Opens the world of a case; `registry` is the host of a registry that all cases share. */
export async function openWorld(vector: VectorCase, directory: string, registry: () => Promise<string>): Promise<World> {
  const world = new World(vector, directory)
  const text = JSON.stringify(vector)
  // Cases that look at attestations push under the same name: each gets a part of the registry for itself.
  const part = text.includes('attest:') ? `/${randomBytes(6).toString('hex')}` : ''
  for (const name of new Set(text.match(/@registry\d+/g))) world.set(name, `${await registry()}${part}`)
  for (const name of new Set(text.match(/@http\d+/g))) world.set(name, `http://127.0.0.1:${await world.serve(name)}`)
  if (text.includes('echoserver.')) world.set('echoserver', String(await world.serveEcho('foo')))
  return world
}

/** Directories, servers and results of one case. */
export class World {
  readonly vector: VectorCase
  readonly directory: string
  /** The moment that the case takes for now, in whole seconds. */
  readonly nowSeconds = Math.floor(Date.now() / 1000)
  readonly #values = new Map<string, string>()
  readonly #servers: Server[] = []
  readonly #written = new Set<string>()
  readonly #routes = new Map<string, Map<string, Route>>()
  readonly #folders = new Map<string, string>()

  constructor(vector: VectorCase, directory: string) {
    this.vector = vector
    this.directory = directory
    this.set('@id', randomBytes(12).toString('hex'))
  }

  /** Sets what a placeholder, or `cmd#1.out`, stands for. */
  set(name: string, value: string): void {
    this.#values.set(name, value)
  }

  /** The value of a secret of the case. */
  secret(id: string): string {
    return this.#values.get(`secret:${id}`) ?? ''
  }

  /** A text with all placeholders replaced. */
  resolve(text: string): string {
    return text
      .replace(/\{\{(.*?)\}\}/gs, (_, expression: string) => this.#evaluate(expression))
      .replace(/@(?:dir|tmp|buf|http|registry)\d+|@id\b/g, (name) => this.#place(name))
  }

  #place(name: string): string {
    const known = this.#values.get(name)
    if (known !== undefined) return known
    const path = join(this.directory, name.slice(1))
    if (name.startsWith('@tmp')) mkdirSync(path, { recursive: true })
    if (name.startsWith('@dir')) this.#writeContext(name, path)
    return path
  }

  #writeContext(name: string, path: string): void {
    if (this.#written.has(name)) return
    this.#written.add(name)
    mkdirSync(path, { recursive: true })
    const files = recordOf(this.vector.contexts)[name]
    for (const file of (Array.isArray(files) ? files : []).map(recordOf)) this.#writeFile(path, file)
  }

  #writeFile(root: string, file: Readonly<Record<string, unknown>>): void {
    const path = join(root, textOf(file, 'path'))
    mkdirSync(dirname(path), { recursive: true })
    if (file.op === 'symlink') symlinkSync(textOf(file, 'target'), path)
    else if (file.op === 'socket') makeSocket(path)
    else if (file.op === 'dir') mkdirSync(path, { recursive: true })
    else {
      const content = contentOf(file.content, (text) => this.resolve(text))
      writeFileSync(path, content.length > 0 ? content : lostArchive(this.vector, path))
    }
    if (file.op !== 'symlink') chmodSync(path, modeOf(file.mode ?? 0o600))
  }

  /** What a Go expression of the case comes to. */
  #evaluate(expression: string): string {
    const command = /^strings\.TrimSpace\(cmd#(\d+)\.out\)(?:\[:(\d+)\])?$/.exec(expression)
    if (command !== null) return (this.#values.get(`cmd#${command[1]}.out`) ?? '').trim().slice(0, Number(command[2] ?? 1000))
    const digest = /^digest\.FromBytes\((nil|"(.*)")\)\.(Encoded|Hex|String)\(\)$/s.exec(expression)
    if (digest !== null) {
      const hex = createHash('sha256')
        .update(digest[2] ?? '')
        .digest('hex')
      return digest[3] === 'String' ? `sha256:${hex}` : hex
    }
    const port = this.#values.get('echoserver')
    if (expression.startsWith('strings.Split(echoserver.') && port !== undefined) return port
    const layout = /^json\(tar\(buffer\("(@buf\d+)"\)\)\["index\.json"\]\.Data\)\.Manifests\[0\]\.Digest\.Hex\(\)$/.exec(
      expression,
    )
    if (layout !== null) {
      const index = execFileSync('tar', ['-xOf', this.resolve(layout[1] ?? ''), 'index.json'], { encoding: 'utf8' })
      return (JSON.parse(index) as { manifests: { digest: string }[] }).manifests[0]?.digest.replace('sha256:', '') ?? ''
    }
    throw new Error(`the expression ${expression} is not known to the runner`)
  }

  /** Answers for a step `httpServer`. */
  setRoutes(step: Readonly<Record<string, unknown>>): void {
    const name = textOf(step, 'url')
    const folder = /http\.Dir\(filepath\.Clean\("(@\w+)"\)\)/.exec(String(step.routes))?.[1]
    if (folder !== undefined) {
      this.#folders.set(name, folder)
      return
    }
    for (const [path, value] of Object.entries(recordOf(step.routes))) this.setRoute(name, path, recordOf(value))
  }

  /** Answers for one path. */
  setRoute(name: string, path: string, { Etag, LastModified, Content }: Readonly<Record<string, unknown>>): void {
    const content = Buffer.from(contentOf(Content, (text) => this.resolve(text)))
    const routes = this.#routes.get(name) ?? new Map<string, Route>()
    this.#routes.set(name, routes)
    const modified = LastModified === undefined || LastModified === null ? undefined : this.timeOf(LastModified)
    routes.set(path, {
      body: content.length > 0 ? content : Buffer.from(lostArchive(this.vector, path)),
      etag: `"${this.resolve(String(Etag ?? '@id'))}${createHash('sha256').update(content).digest('hex').slice(0, 8)}"`,
      ...(modified === undefined ? {} : { lastModified: new Date(modified * 1000).toUTCString() }),
    })
  }

  /** Seconds since 1970 of a time in a case. */
  timeOf(value: unknown): number {
    if (typeof value === 'number') return value
    const { $unixTime, $sym } = recordOf(value)
    if (typeof $unixTime === 'number') return $unixTime
    const shift = /^time\.Now\(\)(?:\.Add\((-?\d+)\))?/.exec(String($sym))
    if (shift === null) throw new Error(`${JSON.stringify(value)} is not a time`)
    return this.nowSeconds + Number(shift[1] ?? 0) / 1e9
  }

  /** Starts the server behind `@httpN`; returns its port. */
  serve(name: string): Promise<number> {
    return this.#listen(createHttpServer((request, response) => this.#answer(name, request, response)))
  }

  #answer(name: string, request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname)
    const folder = this.#folders.get(name)
    const route = this.#routes.get(name)?.get(path) ?? (folder === undefined ? undefined : this.#routeOfFile(folder, path))
    if (route === undefined) return void response.writeHead(404).end()
    const headers = { etag: route.etag, ...(route.lastModified === undefined ? {} : { 'last-modified': route.lastModified }) }
    if (request.headers['if-none-match'] === route.etag) return void response.writeHead(304, headers).end()
    response.writeHead(200, { ...headers, 'content-length': route.body.length })
    response.end(request.method === 'HEAD' ? undefined : route.body)
  }

  #routeOfFile(folder: string, path: string): Route | undefined {
    const file = join(this.resolve(folder), normalize(path))
    if (!existsSync(file) || !statSync(file).isFile()) return undefined
    const body = readFileSync(file)
    return { body, etag: `"${createHash('sha256').update(body).digest('hex').slice(0, 16)}"` }
  }

  /** A server that says one word to whoever connects. */
  serveEcho(word: string): Promise<number> {
    return this.#listen(createServer((socket) => socket.on('error', () => undefined).end(word)))
  }

  #listen(server: Server): Promise<number> {
    this.#servers.push(server)
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
    })
  }

  close(): void {
    for (const server of this.#servers) server.close()
  }
}

/** The node of a socket stays when its server is killed. */
function makeSocket(path: string): void {
  const listen = "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))"
  const { signal } = spawnSync(process.execPath, ['-e', listen, path])
  if (signal !== 'SIGKILL') throw new Error(`no socket could be made at ${path}`)
}
