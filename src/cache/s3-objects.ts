/**
 * Objects in an S3 bucket, or in one of a server that speaks its protocol: the only file that calls the AWS SDK.
 *
 * It uses nothing that such servers leave out: no checksum trailers, no bulk deletion, no conditional writes.
 */
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import type { Context } from '../core/context.js'
import type { Transport } from '../registry/transport.js'
import { skipBytes } from './blocks.js'
import type { S3Settings } from './places.js'
import { explainS3, isDenied, isMissing } from './s3-errors.js'
import { sdkHandler } from './s3-handler.js'
import { putInParts } from './s3-parts.js'

/** What is known of an object. */
export interface S3Object {
  readonly key: string
  readonly size: number
  readonly modifiedAtMs: number
}

/** Larger objects go in parts of this size, of which some are in memory while they are sent. */
export const defaultPartBytes = 8 << 20
const defaultAttempts = 8
const listPage = 1000

/** The objects of one bucket. */
export class S3Objects implements AsyncDisposable {
  readonly #client: S3Client
  readonly #bucket: string
  readonly #partBytes: number
  readonly #transport: Transport

  /** `transport` is closed with it. */
  constructor(settings: S3Settings, transport: Transport, partBytes: number) {
    this.#client = new S3Client(configOf(settings, transport))
    this.#bucket = settings.bucket
    this.#partBytes = partBytes
    this.#transport = transport
  }

  /** Undefined where there is none. */
  head(key: string, ctx: Context): Promise<S3Object | undefined> {
    return this.#orMissing(async () => {
      const found = await this.#client.send(new HeadObjectCommand(this.#at(key)), { abortSignal: ctx.signal })
      return { key, size: found.ContentLength ?? 0, modifiedAtMs: found.LastModified?.getTime() ?? 0 }
    }, ctx)
  }

  /** The bytes from `from` on; undefined where there is no such object. Errors while they come are explained too. */
  get(key: string, from: number, ctx: Context): Promise<AsyncIterable<Uint8Array> | undefined> {
    const range = from === 0 ? {} : { Range: `bytes=${from}-` }
    return this.#orMissing(async () => {
      const found = await this.#client.send(new GetObjectCommand({ ...this.#at(key), ...range }), { abortSignal: ctx.signal })
      const body: unknown = found.Body
      if (!isBytes(body)) throw new Error('the SDK returned an object without a body')
      return this.#explained(from > 0 && found.ContentRange === undefined ? skipBytes(body, from) : body, ctx)
    }, ctx)
  }

  /** Writes `size` bytes. What fails leaves nothing behind: a part of an object is none. */
  put(key: string, size: number, bytes: AsyncIterable<Uint8Array>, ctx: Context): Promise<void> {
    return this.#explain(async () => {
      if (size > this.#partBytes) return putInParts(this.#client, this.#at(key), size, this.#partBytes, bytes, ctx.signal)
      const chunks: Uint8Array[] = []
      for await (const chunk of bytes) chunks.push(chunk)
      const request = new PutObjectCommand({ ...this.#at(key), Body: Buffer.concat(chunks) })
      await this.#client.send(request, { abortSignal: ctx.signal })
    }, ctx)
  }

  /** The objects whose keys begin with `prefix`, at most the first `most` pages of a thousand. */
  list(prefix: string, pages: number, ctx: Context): Promise<readonly S3Object[]> {
    return this.#explain(async () => {
      const found: S3Object[] = []
      let token: string | undefined
      for (let page = 0; page < pages; page++) {
        const next = token === undefined ? {} : { ContinuationToken: token }
        const request = new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: prefix, MaxKeys: listPage, ...next })
        const answer = await this.#client.send(request, { abortSignal: ctx.signal })
        for (const { Key: key, Size: size = 0, LastModified } of answer.Contents ?? [])
          if (key !== undefined) found.push({ key, size, modifiedAtMs: LastModified?.getTime() ?? 0 })
        token = answer.NextContinuationToken
        if (answer.IsTruncated !== true || token === undefined) break
      }
      return found
    }, ctx)
  }

  /** False where the credentials may not. One that is gone already is removed. */
  async remove(key: string, ctx: Context): Promise<boolean> {
    return this.#explain(async () => {
      try {
        await this.#client.send(new DeleteObjectCommand(this.#at(key)), { abortSignal: ctx.signal })
      } catch (error) {
        if (isDenied(error)) return false
        if (!isMissing(error)) throw error
      }
      return true
    }, ctx)
  }

  /** Makes an object as young as a new one, for rules that let old ones expire: copies it onto itself. */
  touch(key: string, nowMs: number, ctx: Context): Promise<void> {
    return this.#explain(async () => {
      const changed = { MetadataDirective: 'REPLACE' as const, Metadata: { 'mille-used-at': String(nowMs) } }
      const request = new CopyObjectCommand({ ...this.#at(key), CopySource: encodeURI(`${this.#bucket}/${key}`), ...changed })
      await this.#client.send(request, { abortSignal: ctx.signal })
    }, ctx)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy()
    await this.#transport.close()
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: key }
  }

  async #explain<T>(work: () => Promise<T>, { signal }: Context): Promise<T> {
    try {
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      throw explainS3(error, `s3://${this.#bucket}`, false)
    }
  }

  async #orMissing<T>(work: () => Promise<T>, ctx: Context): Promise<T | undefined> {
    return this.#explain(async () => {
      try {
        return await work()
      } catch (error) {
        if (isMissing(error)) return undefined
        throw error
      }
    }, ctx)
  }

  async *#explained(bytes: AsyncIterable<Uint8Array>, { signal }: Context): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const chunk of bytes) yield chunk
    } catch (error) {
      signal.throwIfAborted()
      throw explainS3(error, `s3://${this.#bucket}`, true)
    }
  }
}

function configOf(settings: S3Settings, transport: Transport): S3ClientConfig {
  const { accessKeyId, secretAccessKey, sessionToken, endpointUrl, region } = settings
  const isStatic = accessKeyId !== undefined && secretAccessKey !== undefined
  const token = sessionToken === undefined ? {} : { sessionToken }
  return {
    ...(region === undefined ? {} : { region }),
    ...(endpointUrl === undefined ? {} : { endpoint: endpointUrl }),
    ...(isStatic ? { credentials: { accessKeyId, secretAccessKey, ...token } } : {}),
    forcePathStyle: settings.usePathStyle ?? false,
    requestHandler: sdkHandler(transport),
    // Checksums that only Amazon knows; blobs are verified by their digests.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    retryMode: settings.retryMode ?? 'standard',
    maxAttempts: settings.retryMaxAttempts ?? defaultAttempts,
    followRegionRedirects: true,
  }
}

function isBytes(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body
}
