/** One blob that tests read from registries they make themselves. */
import { quietContext } from '../../src/core/context.js'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import { digestOf } from '../../src/core/digest.js'
import { collect } from '../../src/io/stream.js'
import { createRegistryClient, type RegistryClientOptions } from '../../src/registry/client.js'
import { readBlob } from '../../src/registry/pull.js'
import { type FakeHandler, startFake } from '../helpers/registry.js'
import { within } from '../helpers/within.js'

/** Retries that take no time. */
export const quick = { tries: 4, firstDelayMs: 5, longestDelayMs: 20, totalDelayMs: 1000 }

/** The bytes of the blob that is asked for. */
export const body = Buffer.alloc(300_000, 'mille')
/** Its descriptor. */
export const blob: Descriptor = { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(body), size: body.length }

/** Reads the blob from a fake; `/v2/` answers 200. */
export async function readFrom(handler: FakeHandler, options: RegistryClientOptions = {}): Promise<Buffer> {
  await using server = await startFake((incoming, response, received) =>
    incoming.url === '/v2/' ? void response.end('{}') : handler(incoming, response, received),
  )
  await using client = createRegistryClient({ retry: quick, ...options })
  return await within(20_000, collect(readBlob(client, { registry: server.host, repository: 'app' }, blob, quietContext())))
}
