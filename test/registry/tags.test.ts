/** What is said of a tag that is not there: which tags are, where the registry tells. */
import type { ServerResponse } from 'node:http'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import { BuildError } from '../../src/core/errors.js'
import { createRegistryClient } from '../../src/registry/client.js'
import { resolveImage } from '../../src/registry/resolve.js'
import { startSpecRegistry } from '../helpers/spec-registry.js'
import { within } from '../helpers/within.js'

/** Asks for a tag that is not there; returns the hint, with `HOST` for the registry, and how often the tags were asked for. */
async function hintFor(
  tag: string,
  answer: (response: ServerResponse) => void,
): Promise<{ readonly hint: string | undefined; readonly asked: number }> {
  await using registry = await startSpecRegistry({}, ({ path }, response) => {
    if (path.endsWith('/tags/list')) answer(response)
    return path.endsWith('/tags/list')
  })
  await using client = createRegistryClient()
  const reference = { registry: registry.host, repository: 'app', tag }
  const platform = { os: 'linux', architecture: 'amd64' }
  try {
    await within(
      20_000,
      resolveImage(client, reference, platform, async () => undefined, quietContext()),
    )
  } catch (error) {
    if (!(error instanceof BuildError)) throw error
    assert.is(error.code, 'IMAGE_NOT_FOUND')
    const asked = registry.seen.filter(({ path }) => path.endsWith('/tags/list')).length
    return { hint: error.hint?.replaceAll(registry.host, 'HOST'), asked }
  }
  throw new Error('the image was found')
}

function listing(tags: unknown, headers: Readonly<Record<string, string>> = {}): (response: ServerResponse) => void {
  return (response) => void response.writeHead(200, headers).end(JSON.stringify({ name: 'app', tags }))
}

const usual = 'check the name and the tag; HOST was asked'

test('a tag that is nearly right is named, else all if they are few', async () => {
  assert.is((await hintFor('1.O', listing(['latest', '1.0', '2.0']))).hint, 'did you mean HOST/app:1.0?')
  assert.is((await hintFor('none', listing(['latest', '1.0']))).hint, 'it has 1.0, latest')
  const many = Array.from({ length: 50 }, (_, n) => `release-${n}`)
  assert.is((await hintFor('none', listing(many))).hint, usual)
})

test('a registry that does not tell its tags is not tried again, and the error stays what it was', async () => {
  const answers: readonly ((response: ServerResponse) => void)[] = [
    ...[401, 403, 404, 405, 429, 500].map((status) => (response: ServerResponse) => void response.writeHead(status).end()),
    (response) => void response.writeHead(200).end('<h1>Hello</h1>'),
    (response) => void response.destroy(),
    listing(null),
    listing([]),
    listing([1, { name: 'x' }]),
    listing(['x'.repeat(2_000_000)]),
  ]
  for (const answer of answers) {
    const { hint, asked } = await hintFor('none', answer)
    assert.is(hint, usual)
    assert.ok(asked <= 2, `${asked} questions`)
  }
})

test('pages without end are not read to their end', async () => {
  const { asked } = await hintFor('none', listing(['a'], { link: '</v2/app/tags/list?last=a>; rel="next"' }))
  assert.is(asked, 5)
})

test.run()
