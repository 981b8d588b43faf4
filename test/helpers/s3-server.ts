/** An S3 server in this process: s3rver, which checks signatures and keeps objects as files in a directory of its own. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import S3rver from 's3rver'
import type { S3CacheSettings } from '../../src/cache/places.js'

/** A running server with one bucket. */
export interface TestS3 extends AsyncDisposable {
  /** How the bucket is reached. */
  readonly settings: S3CacheSettings
  /** The requests so far as `METHOD /path?query STATUS`, oldest first. */
  readonly requests: string[]
  /** Where s3rver keeps the objects: `KEY._S3rver_object`, and files with their metadata. */
  readonly directory: string
}

/** Answers a request in the server's place by returning true. */
export type Meddle = (request: IncomingMessage, response: ServerResponse) => boolean

/** Starts it. `meddle` sees each request first. */
export async function startS3(meddle: Meddle = () => false): Promise<TestS3> {
  const directory = mkdtempSync(join(tmpdir(), 'mille-s3-'))
  const bucket = 'caches'
  const s3 = new S3rver({ directory, silent: true, vhostBuckets: false, configureBuckets: [{ name: bucket, configs: [] }] })
  await s3.configureBuckets()
  const handle = s3.callback()
  const requests: string[] = []
  const server = createServer((request, response) => {
    response.on('finish', () => requests.push(`${request.method} ${request.url} ${response.statusCode}`))
    if (!meddle(request, response)) handle(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const endpointUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const credentials = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' }
  return {
    settings: { bucket, region: 'us-east-1', endpointUrl, usePathStyle: true, prefix: 'team/', ...credentials },
    requests,
    directory: join(directory, bucket),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
