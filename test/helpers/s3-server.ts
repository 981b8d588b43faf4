/**
 * An S3 server in this process: s3rver, which keeps objects as files in a directory of its own. It does not check signatures of
 * version 4, so that is done here, from what came over the wire.
 */
import { createHash, createHmac } from 'node:crypto'
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
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true'
  const s3 = new S3rver({ directory, silent: true, vhostBuckets: false, configureBuckets: [{ name: bucket, configs: [] }] })
  await s3.configureBuckets()
  const handle = s3.callback()
  const requests: string[] = []
  const server = createServer((request, response) => {
    response.on('finish', () => requests.push(`${request.method} ${request.url} ${response.statusCode}`))
    if (meddle(request, response)) return
    if (isSigned(request)) handle(request, response)
    else refuse(response)
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

const secretKey = 'S3RVER'

/** Checks the signature: AWS, "Create a signed AWS API request". */
function isSigned(request: IncomingMessage): boolean {
  const pattern =
    /^AWS4-HMAC-SHA256 Credential=S3RVER\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)$/
  const [, date = '', region = '', names = '', signature] = pattern.exec(request.headers.authorization ?? '') ?? []
  const [path = '', query = ''] = (request.url ?? '').split('?')
  const signedHeaders = names.split(';').map((name) => `${name}:${String(request.headers[name] ?? '').trim()}\n`)
  const payload = String(request.headers['x-amz-content-sha256'])
  const sorted = query === '' ? '' : query.split('&').sort().join('&')
  const canonical = [request.method, path, sorted, signedHeaders.join(''), names, payload].join('\n')
  const scope = `${date}/${region}/s3/aws4_request`
  const hash = createHash('sha256').update(canonical).digest('hex')
  const text = ['AWS4-HMAC-SHA256', request.headers['x-amz-date'], scope, hash].join('\n')
  const key = [date, region, 's3', 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secretKey}`)
  return hmac(key, text).toString('hex') === signature
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function refuse(response: ServerResponse): void {
  const code = '<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code><Message>it is another</Message></Error>'
  response.writeHead(403, { 'content-type': 'application/xml' }).end(code)
}
