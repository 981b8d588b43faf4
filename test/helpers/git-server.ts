/** Git repositories and real servers for them: git's own CGI program, and plain files as any web server has them. */
import { execFileSync, spawn } from 'node:child_process'
import { createReadStream, mkdirSync, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, normalize } from 'node:path'
import { makeTree } from './tree.js'

/** A repository with a work tree. */
export interface TestRepository {
  readonly path: string
  readonly git: (...args: string[]) => string
  /** Writes files and commits everything; answers the commit. */
  readonly commit: (files: Readonly<Record<string, string>>) => string
}

/** Makes an empty repository at `path`, with the branch `main`. */
export function makeRepository(path: string, ...options: readonly string[]): TestRepository {
  mkdirSync(path, { recursive: true })
  const env = { PATH: process.env.PATH, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', HOME: path, LC_ALL: 'C' }
  const who = ['-c', 'user.name=t', '-c', 'user.email=t@example.org', '-c', 'protocol.file.allow=always']
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', path, ...who, ...args], { env, encoding: 'utf8', stdio: 'pipe' }).trim()
  git('init', '--quiet', '--initial-branch=main', ...options)
  const commit = (files: Readonly<Record<string, string>>): string => {
    makeTree(path, files)
    git('add', '--all')
    git('commit', '--quiet', '--allow-empty', '-m', 'change')
    git('update-server-info')
    return git('rev-parse', 'HEAD')
  }
  return { path, git, commit }
}

/** A server of all repositories below a directory. */
export interface GitServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`; then `/smart/PATH` or `/dumb/PATH`. */
  readonly url: string
  readonly host: string
  /** What was asked for, without `/smart` and `/dumb`. */
  readonly requests: string[]
  /** The Authorization header that must come; undefined: none. */
  authorization: string | undefined
}

/** Starts a server of the repositories below `root`. */
export async function serveGit(root: string): Promise<GitServer> {
  const requests: string[] = []
  const server = createServer((request, response) => answer(root, state, request, response)).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const state: GitServer = {
    url: `http://${host}`,
    host,
    requests,
    authorization: undefined,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return state
}

function answer(root: string, server: GitServer, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://x')
  const [, kind, path] = /^\/(smart|dumb)(\/.*)$/.exec(decodeURIComponent(url.pathname)) ?? []
  server.requests.push(`${path}${url.search}`)
  if (server.authorization !== undefined && request.headers.authorization !== server.authorization) {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
  } else if (path === undefined) response.writeHead(404).end()
  else if (kind === 'smart') runBackend(root, path, url.search.slice(1), request, response)
  else sendFile(join(root, normalize(path)), response)
}

function sendFile(path: string, response: ServerResponse): void {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) response.writeHead(404).end()
  else createReadStream(path).pipe(response)
}

function runBackend(root: string, path: string, query: string, request: IncomingMessage, response: ServerResponse): void {
  const { 'content-type': type, 'content-encoding': encoding, 'git-protocol': protocol } = request.headers
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH,
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      REQUEST_METHOD: request.method,
      PATH_INFO: path,
      QUERY_STRING: query,
      REMOTE_ADDR: '127.0.0.1',
      ...(type === undefined ? {} : { CONTENT_TYPE: type }),
      ...(encoding === undefined ? {} : { HTTP_CONTENT_ENCODING: encoding }),
      ...(typeof protocol === 'string' ? { GIT_PROTOCOL: protocol } : {}),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  request.pipe(child.stdin)
  child.stdin.on('error', () => request.destroy())
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.on('close', () => {
    const all = Buffer.concat(chunks)
    const end = all.indexOf('\r\n\r\n')
    const fields = all.subarray(0, end).toString().split('\r\n')
    const headers = Object.fromEntries(
      fields.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
    )
    response.writeHead(Number(headers.Status?.slice(0, 3) ?? 200), headers).end(all.subarray(end + 4))
  })
}
