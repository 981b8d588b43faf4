/**
 * ADD of a URL: one file. The key is the content's digest, so a file that moved or was touched changes nothing. With
 * --checksum a file that is here is not asked for. The file has mode 0600 and the time of Last-Modified, as in docker.
 */
import type { Context } from '../core/context.js'
import { type Digest, parseDigest } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { FileEntry, FileView } from '../core/view.js'
import type { HttpOp, Vertex } from '../graph/op.js'
import type { OpRunner } from '../solver/ports.js'
import { createDownloads, type Download, type DownloadOptions } from './download.js'

/** Makes the runner of downloads. Each URL is asked for once in its life. */
export function createHttpRunner(options: DownloadOptions): OpRunner<HttpOp> {
  const downloads = createDownloads(options)
  const download = (op: HttpOp, vertex: Vertex, ctx: Context): Promise<Download> =>
    downloads.fetch({ url: op.url, checksum: checksumOf(op), progressId: vertex.id }, ctx)
  return {
    async key(op, _inputs, vertex, ctx) {
      const digest = checksumOf(op) ?? (await download(op, vertex, ctx)).digest
      return { fields: { kind: op.kind, filename: op.filename, digest }, components: { content: digest }, coveredInputs: [] }
    },
    async run(op, _inputs, vertex, ctx) {
      return { kind: 'files', view: new SingleFileView(op.filename, await download(op, vertex, ctx), options) }
    },
  }
}

function checksumOf(op: HttpOp): Digest | undefined {
  if (op.checksum === undefined) return undefined
  const checksum = parseDigest(op.checksum)
  if (checksum !== undefined) return checksum
  throw new BuildError('DOCKERFILE_BAD_FLAG', `--checksum=${op.checksum} is no sha256 digest`, {
    hint: 'write sha256: and 64 lower-case hex digits',
  })
}

/** A root directory with one file in it. */
class SingleFileView implements FileView {
  readonly #name: string
  readonly #file: FileEntry
  readonly #root: FileEntry

  constructor(name: string, download: Download, options: DownloadOptions) {
    const modified = Date.parse(download.lastModified)
    // Without a time of its own the file is of 1970, as in BuildKit: the same wherever and whenever it is fetched.
    const mtimeNs = BigInt(Number.isNaN(modified) ? 0 : modified) * 1_000_000n
    const common = { uid: 0, gid: 0, mtimeNs, ctimeNs: mtimeNs, dev: 0, ino: 0, nlink: 1, rdev: 0 }
    this.#name = name
    this.#file = { ...common, type: 'file', mode: 0o600, size: download.size, hostPath: options.blobs.pathOf(download.digest) }
    this.#root = { ...common, type: 'directory', mode: 0o755, size: 0, hostPath: '' }
  }

  lstat(path: string): FileEntry | undefined {
    if (path === '/' || path === '') return this.#root
    return path.replace(/^\//, '') === this.#name ? this.#file : undefined
  }

  readdir(path: string): readonly string[] {
    return path === '/' || path === '' ? [this.#name] : []
  }

  readlink(path: string): string {
    throw Object.assign(new Error(`not a symlink: ${path}`), { code: 'EINVAL' })
  }
}
