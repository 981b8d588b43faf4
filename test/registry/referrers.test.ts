/** How a referrer is made findable: by registries that know referrers, and by those that know them in odd ways or not at all. */
import type { ServerResponse } from 'node:http'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import { type Descriptor, type Index, mediaTypes } from '../../src/core/descriptor.js'
import { type Digest, digestOf } from '../../src/core/digest.js'
import { RegistryError } from '../../src/core/errors.js'
import { createRegistryClient } from '../../src/registry/client.js'
import { announceReferrer, referrersTag } from '../../src/registry/referrers.js'
import { type SpecRegistry, startSpecRegistry } from '../helpers/spec-registry.js'
import { within } from '../helpers/within.js'

const subject = digestOf('the image')
const first = referrer('first')
const second = referrer('second')

function referrer(text: string): Descriptor {
  return { mediaType: mediaTypes.ociManifest, digest: digestOf(text), size: text.length, artifactType: 'application/x' }
}

/** Announces referrers to a registry whose referrers API answers like this; returns what is under the subject's tag. */
async function announce(
  answer: (response: ServerResponse) => void,
  referrers: readonly Descriptor[],
  prepare: (registry: SpecRegistry) => void = () => undefined,
): Promise<readonly Descriptor[] | undefined> {
  await using registry = await startSpecRegistry({ wantsParts: false }, ({ path }, response) => {
    if (path.includes('/referrers/')) answer(response)
    return path.includes('/referrers/')
  })
  prepare(registry)
  await using client = createRegistryClient()
  for (const each of referrers) {
    const target = { registry: registry.host, repository: 'app' }
    await within(20_000, announceReferrer(client, target, subject, each, quietContext()))
  }
  const tagged = registry.tags.get(`app ${referrersTag(subject)}`)
  const manifest = registry.manifests.get(`app ${tagged}`)
  return manifest === undefined ? undefined : (JSON.parse(manifest.bytes.toString()) as Index).manifests
}

function list(response: ServerResponse, manifests: readonly Descriptor[], headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(200, { 'content-type': mediaTypes.ociIndex, ...headers })
  response.end(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }))
}

for (const status of [400, 404, 405, 406, 501]) {
  test(`a registry that answers ${status} to a question for referrers gets the tag, with all of them`, async () => {
    const found = await announce((response) => void response.writeHead(status).end(), [first, second, first])
    assert.equal(found, [second, first])
  })
}

test('a registry that answers the question with a page or an empty list does not know referrers', async () => {
  const page = (response: ServerResponse): void =>
    void response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Hello</h1>')
  assert.equal(await announce(page, [first]), [first])
  assert.equal(await announce((response) => list(response, []), [first]), [first])
})

test('a registry that lists the referrer, or has its list in pages, gets no tag', async () => {
  assert.is(await announce((response) => list(response, [second, first]), [first]), undefined)
  const next = { link: '</v2/app/referrers/x?n=1>; rel="next"' }
  assert.is(await announce((response) => list(response, [second], next), [first]), undefined)
})

test('what is under the tag and is no index is left alone', async () => {
  const bytes = Buffer.from('{"schemaVersion":2}')
  const occupy = (registry: SpecRegistry): void => {
    registry.manifests.set(`app ${digestOf(bytes)}`, { mediaType: mediaTypes.ociManifest, bytes })
    registry.tags.set(`app ${referrersTag(subject)}`, digestOf(bytes))
  }
  try {
    await announce((response) => void response.writeHead(404).end(), [first], occupy)
    assert.unreachable()
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    assert.match(error.message, 'is no image index')
  }
})

test('the tag is no longer than a tag may be', () => {
  assert.is(referrersTag(subject), subject.replace(':', '-'))
  const long = `sha512:${'ab'.repeat(64)}` as Digest
  assert.is(referrersTag(long), `sha512-${'ab'.repeat(32)}`)
})

test.run()
