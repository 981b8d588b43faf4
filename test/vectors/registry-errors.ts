/** Judges the checks of the suite `registry` about what is not there, what is refused, empty repositories and logins. */
import * as assert from 'uvu/assert'
import type { Digest } from '../../src/core/digest.js'
import type { Reference } from '../../src/core/reference.js'
import { checkLogin } from '../../src/registry/login.js'
import { pushManifest } from '../../src/registry/push.js'
import { headManifest, readManifest, resolveImage } from '../../src/registry/resolve.js'
import type { Interference } from '../helpers/spec-registry.js'
import { type Outcome, passed, textOf, type VectorCase } from './frame.js'
import { amd64, ctx, errorOf, manifests, meet, nothingKnown, pushOne, repository, requests } from './registry-client.js'
import { contentOf } from './registry-content.js'

/** By tag or digest, for its manifest or for what it points at: one clear error. */
export async function judgeMissing(): Promise<Outcome> {
  await meet({}, async (meeting) => {
    const digest = `sha256:${'0'.repeat(64)}` as Digest
    const names: readonly Reference[] = [
      { ...meeting.place, digest },
      { ...meeting.place, tag: 'none' },
    ]
    for (const name of names) {
      const error = await errorOf(resolveImage(meeting.client, name, amd64, nothingKnown, ctx))
      assert.is(error.code, 'IMAGE_NOT_FOUND')
      assert.match(error.message, `${repository}${name.digest === undefined ? ':none' : `@${digest}`}`)
      assert.is(await headManifest(meeting.client, name, ctx), undefined)
      assert.is(await readManifest(meeting.client, name, amd64, ctx), undefined)
    }
    assert.is(requests(meeting.registry, 'GET', manifests).length, 4 - 1, 'it was asked for again')
  })
  return passed
}

/** A digest of other content is refused before the registry is asked; what the registry refuses is told with its words. */
export async function judgeRefused(vector: VectorCase): Promise<Outcome> {
  const manifest = contentOf('no-layers')?.manifests[0]
  if (manifest === undefined) throw new Error('there is no content')
  const bytes = { mediaType: manifest.descriptor.mediaType, bytes: manifest.bytes }
  await meet({}, async ({ registry, client, place }) => {
    const target = { ...place, digest: `sha256:${'0'.repeat(64)}` as Digest }
    assert.is((await errorOf(pushManifest(client, target, [], bytes, ctx))).code, 'REGISTRY_DIGEST_MISMATCH')
    assert.is(registry.seen.length, 0)
  })
  const statuses = textOf(vector, 'expect').match(/\b4\d\d\b/g) ?? []
  assert.ok(statuses.length > 0, 'the check names no status')
  for (const status of statuses.map(Number)) {
    let puts = 0
    const refuse: Interference = ({ method }, response) => {
      if (method !== 'PUT') return false
      puts += 1
      response.writeHead(status).end('{"errors":[{"code":"MANIFEST_INVALID","message":"the reason"}]}')
      return true
    }
    const error = await meet(
      {},
      ({ client, place }) => errorOf(pushManifest(client, { ...place, tag: 'x' }, [], bytes, ctx)),
      refuse,
    )
    assert.match(error.code, /^REGISTRY_/)
    assert.match(error.message, 'the reason')
    assert.is(puts, status === 429 ? 4 : 1)
  }
  return passed
}

/** A repository without anything in it: there is no image, whatever is said of its tags, and the first push makes one. */
export async function judgeEmpty(): Promise<Outcome> {
  const content = contentOf('manifest-image')
  const image = content?.manifests[0]
  if (content === undefined || image === undefined) throw new Error('there is no content')
  for (const noTags of ['empty', 'null', 'missing'] as const) {
    await meet({ noTags }, async (meeting) => {
      const name = { ...meeting.place, tag: 'image' }
      const error = await errorOf(resolveImage(meeting.client, name, amd64, nothingKnown, ctx))
      assert.is(error.code, 'IMAGE_NOT_FOUND')
      assert.match(error.hint ?? '', 'check the name')
      assert.is(requests(meeting.registry, 'GET', /\/tags\/list$/).length, 1)
      await pushOne(meeting, content, image, ['image'])
      assert.ok(await headManifest(meeting.client, name, ctx))
    })
  }
  return passed
}

/** A login is asked of `/v2/`: open, with the right password, with a wrong one, and where there is no registry. */
export async function judgePing(): Promise<Outcome> {
  const login = (interfere?: Interference): Promise<unknown> =>
    meet(
      {},
      async ({ registry, client }) => {
        await checkLogin(client, registry.host, { kind: 'password', username: 'me', password: 'secret' }, ctx)
        assert.ok(registry.seen.every(({ method, path }) => `${method} ${path}` === 'GET /v2/'))
      },
      interfere,
    )
  const answer =
    (status: number, headers: Readonly<Record<string, string>> = {}): Interference =>
    (_, response) => {
      response.writeHead(status, headers).end()
      return true
    }
  const guarded = (password: string): Interference => {
    const refuse = answer(401, { 'www-authenticate': 'Basic realm="test"' })
    const wanted = `Basic ${Buffer.from(`me:${password}`).toString('base64')}`
    return (request, response) => request.headers.authorization !== wanted && refuse(request, response)
  }
  await login()
  await login(guarded('secret'))
  assert.is((await errorOf(login(guarded('other')))).code, 'REGISTRY_UNAUTHORIZED')
  assert.is((await errorOf(login(answer(404)))).code, 'REGISTRY_NOT_FOUND')
  return passed
}
