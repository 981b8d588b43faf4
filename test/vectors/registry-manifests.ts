/** Judges the manifest checks of the suite `registry`: pushes, pulls and look-ups of all kinds of content, referrers, errors. */
import * as assert from 'uvu/assert'
import { type Descriptor, type Index, type Manifest, mediaTypes } from '../../src/core/descriptor.js'
import type { Reference } from '../../src/core/reference.js'
import { announceReferrer, referrersTag } from '../../src/registry/referrers.js'
import { headManifest, readManifest, resolveImage } from '../../src/registry/resolve.js'
import type { Interference, RegistryTraits } from '../helpers/spec-registry.js'
import { type Outcome, passed, skip, textOf, type VectorCase } from './frame.js'
import {
  amd64,
  ctx,
  errorOf,
  type Meeting,
  manifests,
  meet,
  nothingKnown,
  pullInto,
  pushAll,
  pushOne,
  repository,
  requests,
  seed,
} from './registry-client.js'
import { type Content, type ContentManifest, contentOf, foreignPath } from './registry-content.js'
import { judgeEmpty, judgeMissing, judgePing, judgeRefused } from './registry-errors.js'

const accepted = [mediaTypes.ociManifest, mediaTypes.ociIndex, mediaTypes.dockerManifest, mediaTypes.dockerManifestList]

type ManifestJudge = (content: Content, group: string) => Promise<Outcome | readonly Outcome[]>

/** Where the manifest can be asked for: by its digest, and by its tag if it has one. */
function namesOf({ place }: Meeting, { descriptor, tag }: ContentManifest): Reference[] {
  return [{ ...place, digest: descriptor.digest }, ...(tag === undefined ? [] : [{ ...place, tag }])]
}

function partOf({ bytes }: ContentManifest): Partial<Manifest & Index> {
  return JSON.parse(bytes.toString()) as Partial<Manifest & Index>
}

/** A referrer as a list of referrers has it (distribution-spec, "Listing Referrers"). */
function referrerOf(manifest: ContentManifest): Descriptor {
  const { artifactType, config, annotations } = partOf(manifest)
  const type = artifactType ?? config?.mediaType
  return { ...manifest.descriptor, ...(type && { artifactType: type }), ...(annotations && { annotations }) }
}

/** By digest, then by tag; what has a subject is made findable. */
async function pushWhole(meeting: Meeting, content: Content): Promise<void> {
  const unlisted = await pushAll(meeting, content)
  for (const manifest of content.manifests) {
    if (manifest.tag !== undefined) await pushOne(meeting, content, manifest, [manifest.tag])
    if (unlisted.includes(manifest)) await announce(meeting, manifest)
  }
}

async function announce({ client, place }: Meeting, manifest: ContentManifest): Promise<void> {
  const { subject } = manifest
  if (subject !== undefined) await announceReferrer(client, place, subject.digest, referrerOf(manifest), ctx)
}

const pushTraits: readonly Partial<RegistryTraits>[] = [
  {},
  { locations: 'url', digestHeader: false },
  { subjectHeader: false, referrers: 404 },
  { subjectHeader: false },
]

const judgePush: ManifestJudge = async (content, group) => {
  for (const traits of pushTraits) {
    await meet({ ...traits, wantsParts: !group.includes('sparse') }, async (meeting) => {
      await pushWhole(meeting, content)
      const { registry } = meeting
      for (const manifest of content.manifests) {
        const { digest, mediaType } = manifest.descriptor
        const there = registry.manifests.get(`${repository} ${digest}`)
        assert.ok(there?.bytes.equals(manifest.bytes), 'the bytes were changed')
        assert.is(there?.mediaType, mediaType)
        const names = namesOf(meeting, manifest).map((name) => `/v2/${repository}/manifests/${name.tag ?? name.digest}`)
        const puts = registry.seen.filter(({ method, path }) => method === 'PUT' && names.includes(path))
        assert.equal([...new Set(puts.map(({ path }) => path))], names)
        for (const { headers, body, query } of puts) {
          assert.equal([headers['content-type'], headers['content-length']], [mediaType, String(manifest.bytes.length)])
          assert.ok(body.equals(manifest.bytes))
          assert.is(query.size, 0)
        }
        if (manifest.tag !== undefined) assert.is(registry.tags.get(`${repository} ${manifest.tag}`), digest)
        for (const blob of manifest.blobs) assertBlob(meeting, content, blob)
      }
      assertReferrerTags(meeting, content, traits.referrers === 404)
      // A registry that says it lists the manifest is not asked whether it does.
      assert.is(requests(registry, 'GET', /\/referrers\//).length > 0, hasSubjects(content) && traits.subjectHeader === false)
    })
  }
  return passed
}

function hasSubjects({ manifests: all }: Content): boolean {
  return all.some(({ subject }) => subject !== undefined)
}

/** Layers that stay where their urls say are not even asked for. */
function assertBlob({ registry }: Meeting, { absent, blobs }: Content, { digest, urls }: Descriptor): void {
  const isHere = registry.blobs.get(`${repository} ${digest}`)?.equals(blobs.get(digest) ?? Buffer.alloc(0)) === true
  assert.is(isHere, urls === undefined && !absent.has(digest))
  if (urls !== undefined) assert.not(registry.seen.some(({ path, query }) => `${path} ${query}`.includes(digest)))
}

/** Where the registry knows no referrers, the index under the subject's tag lists all of them, and nowhere else. */
function assertReferrerTags({ registry }: Meeting, { manifests: all }: Content, expected: boolean): void {
  const subjects = new Set(all.flatMap(({ subject }) => subject?.digest ?? []))
  for (const subject of subjects) {
    const tagged = registry.tags.get(`${repository} ${referrersTag(subject)}`)
    assert.is(tagged !== undefined, expected, `referrers of ${subject} under a tag`)
    if (tagged === undefined) continue
    const { bytes, mediaType } = registry.manifests.get(`${repository} ${tagged}`) ?? {}
    assert.is(mediaType, mediaTypes.ociIndex)
    const wanted = all.filter((manifest) => manifest.subject?.digest === subject).map(referrerOf)
    assert.equal((JSON.parse(String(bytes)) as Index).manifests, wanted)
  }
}

/**
 * Pushed under several tags, it is in the registry's list under each. mille asks for the list when a tag is not there, and follows
 * it over its pages.
 */
const judgeTags: ManifestJudge = async (content, group) => {
  const wantsParts = !group.includes('sparse')
  for (const traits of [{}, { tagPage: 2 }, { locations: 'url', tagPage: 1 } as const]) {
    await meet({ wantsParts, ...traits }, async (meeting) => {
      const { registry, client, place } = meeting
      await pushAll(meeting, content)
      const wanted: string[] = []
      for (const manifest of content.manifests.filter(({ tag }) => tag !== undefined).slice(0, 1)) {
        const tags = ['', '-2', '-and.3'].map((end) => `${manifest.tag}${end}`)
        await pushOne(meeting, content, manifest, [...tags, tags[0] ?? ''])
        wanted.push(...tags)
      }
      const error = await errorOf(resolveImage(client, { ...place, tag: 'zzz' }, amd64, nothingKnown, ctx))
      assert.is(error.code, 'IMAGE_NOT_FOUND')
      if (wanted.length > 0) assert.is(error.hint, `it has ${wanted.sort().join(', ')}`)
      const asked = requests(registry, 'GET', /\/tags\/list$/)
      assert.is(asked.length, Math.max(1, Math.ceil(wanted.length / (traits.tagPage ?? 1000))))
      assert.equal([...(asked[0]?.query ?? [])], [['n', '1000']])
      assert.ok(asked.slice(1).every(({ query }) => wanted.includes(query.get('last') ?? '')))
    })
  }
  return passed
}

const headTraits: readonly Partial<RegistryTraits>[] = [
  {},
  { digestHeader: false },
  { manifestType: 'application/json' },
  { manifestType: 'text/plain; charset=utf-8', digestHeader: false },
]

const judgeHead: ManifestJudge = async (content) => {
  const noHead: Interference = ({ method }, response) => {
    if (method !== 'HEAD') return false
    response.writeHead(405).end()
    return true
  }
  const ways: readonly (readonly [Partial<RegistryTraits>, Interference?])[] = [
    ...headTraits.map((traits) => [traits] as const),
    [{}, noHead],
  ]
  for (const [traits, interfere] of ways) {
    await meet(
      traits,
      async (meeting) => {
        seed(meeting, content)
        for (const manifest of content.manifests) {
          for (const name of namesOf(meeting, manifest)) await assertHead(meeting, manifest, name)
        }
      },
      interfere,
    )
  }
  return passed
}

async function assertHead({ registry, client }: Meeting, { descriptor, bytes }: ContentManifest, name: Reference): Promise<void> {
  const before = registry.seen.length
  const found = await headManifest(client, name, ctx)
  assert.equal([found?.mediaType, found?.size], [descriptor.mediaType, bytes.length])
  // What mille calls a manifest is always its sha256.
  if (descriptor.digest.startsWith('sha256:')) assert.is(found?.digest, descriptor.digest)
  const [head] = registry.seen.slice(before).filter(({ path }) => path !== '/v2/')
  assert.equal([head?.method, head?.path], ['HEAD', `/v2/${repository}/manifests/${name.tag ?? name.digest}`])
  const accept = String(head?.headers.accept).split(', ')
  assert.ok(accepted.every((type) => accept.includes(type)))
}

const getTraits: readonly Partial<RegistryTraits>[] = [...headTraits, { ranges: 'none' }]

const judgeGet: ManifestJudge = async (known, group) => {
  for (const traits of getTraits) {
    let content = known
    const elsewhere: Interference = ({ path }, response) => {
      const bytes = path.startsWith(foreignPath) ? content.blobs.get(path.slice(foreignPath.length)) : undefined
      if (bytes !== undefined) response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
      return bytes !== undefined
    }
    await meet(
      traits,
      async (meeting) => {
        content = contentOf(group, meeting.registry.host) ?? known
        seed(meeting, content)
        for (const manifest of content.manifests) {
          for (const name of namesOf(meeting, manifest)) await assertPull(meeting, content, manifest, name)
        }
        for (const { headers } of requests(meeting.registry, 'GET', manifests)) {
          assert.ok(accepted.every((type) => headers.accept?.includes(type)))
        }
      },
      elsewhere,
    )
  }
  return passed
}

/** The exact bytes; as an image its layers, or the reason why it is none. */
async function assertPull(meeting: Meeting, content: Content, manifest: ContentManifest, name: Reference): Promise<void> {
  const { client } = meeting
  if (manifest.descriptor.mediaType === mediaTypes.ociManifest) {
    const read = await readManifest(client, name, amd64, ctx)
    assert.ok(read?.bytes.equals(manifest.bytes), 'other bytes were read')
  }
  const pulled = resolveImage(client, name, amd64, nothingKnown, ctx)
  if (typeof manifest.image === 'string') {
    assert.is((await errorOf(pulled)).code, manifest.image)
    return
  }
  const { manifest: found, descriptor, indexDescriptor, rawManifest } = await pulled
  assert.equal(found.layers, manifest.image)
  assert.is((indexDescriptor ?? descriptor).mediaType, manifest.descriptor.mediaType)
  assert.ok(content.manifests.some(({ bytes }) => bytes.equals(rawManifest)))
  const gone = found.layers.filter(({ digest }) => content.absent.has(digest))
  if (gone.length > 0) assert.is((await errorOf(pullInto(meeting, found.layers))).code, 'REGISTRY_NOT_FOUND')
  const there = found.layers.filter((layer) => !gone.includes(layer))
  for (const [digest, bytes] of await pullInto(meeting, there)) assert.ok(content.blobs.get(digest)?.equals(bytes))
}

/** mille deletes nothing; what another has deleted is missed, and comes back with the next push. */
const judgeDeleted: ManifestJudge = async (content, group) => {
  await meet({ wantsParts: !group.includes('sparse') }, async (meeting) => {
    const { registry, client } = meeting
    await pushWhole(meeting, content)
    for (const held of [registry.tags, registry.manifests, registry.blobs]) held.clear()
    for (const manifest of content.manifests) {
      for (const name of namesOf(meeting, manifest)) {
        assert.is(await headManifest(client, name, ctx), undefined)
        assert.is((await errorOf(resolveImage(client, name, amd64, nothingKnown, ctx))).code, 'IMAGE_NOT_FOUND')
      }
    }
    await pushWhole(meeting, content)
    for (const { descriptor } of content.manifests) assert.ok(registry.manifests.has(`${repository} ${descriptor.digest}`))
  })
  return [passed, skip('mille deletes nothing from a registry')]
}

/** What registries say who do not know referrers, or know them and list nothing. */
const unlisted: readonly Interference[] = [400, 404, 405, 406, 501, 200, 'page'].map((answer) => ({ path }, response) => {
  if (!path.includes('/referrers/')) return false
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] }
  if (answer === 'page') response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Welcome</h1>')
  else if (answer === 200) response.writeHead(200, { 'content-type': mediaTypes.ociIndex }).end(JSON.stringify(index))
  else response.writeHead(Number(answer)).end()
  return true
})

/** The question names the subject and no filter; a list without ours leads to the tag. */
const judgeReferrers: ManifestJudge = async (content) => {
  const referrers = content.manifests.filter(({ subject }) => subject !== undefined)
  const push = async (meeting: Meeting): Promise<void> => {
    for (const manifest of await pushAll(meeting, content)) await announce(meeting, manifest)
    const asked = requests(meeting.registry, 'GET', /\/referrers\//)
    assert.equal(
      asked.map(({ path, query, headers }) => [path, query.size, headers.accept]),
      referrers.map(({ subject }) => [`/v2/${repository}/referrers/${subject?.digest}`, 0, mediaTypes.ociIndex]),
    )
  }
  await meet({ subjectHeader: false }, async (meeting) => {
    await push(meeting)
    assertReferrerTags(meeting, content, false)
  })
  for (const interfere of unlisted) {
    await meet(
      { subjectHeader: false },
      async (meeting) => {
        await push(meeting)
        assertReferrerTags(meeting, content, true)
      },
      interfere,
    )
  }
  return passed
}

const judgeFilter: ManifestJudge = async (content, group) =>
  [await judgeReferrers(content, group), skip('mille asks for all referrers, not for those of a type')].flat()

const byMethod: Readonly<Record<string, ManifestJudge>> = { PUT: judgePush, HEAD: judgeHead, GET: judgeGet, DELETE: judgeDeleted }

function judgeOf(method: string, path: string): ManifestJudge | undefined {
  if (path.includes('/tags/list')) return judgeTags
  if (path.includes('/referrers/')) return path.includes('artifactType=') ? judgeFilter : judgeReferrers
  return manifests.test(path) && !/[?&]tag=/.test(path) ? byMethod[method] : undefined
}

/** Judges a check about manifests, tags, referrers or the registry as a whole; undefined for one that is not known. */
export async function judgeManifests(vector: VectorCase): Promise<Outcome | readonly Outcome[] | undefined> {
  const [method, path, group] = [textOf(vector, 'method'), textOf(vector, 'path'), textOf(vector, 'group')]
  if (path === '/v2/' && method === 'GET') return judgePing()
  if (/[?&]tag=/.test(path)) return skip('mille writes each tag by a request of its own')
  const content = contentOf(path.includes('/referrers/') && !group.startsWith('manifest') ? 'artifacts-with-subject' : group)
  if (content !== undefined) return judgeOf(method, path)?.(content, group)
  if (path.includes('/tags/list')) return judgeEmpty()
  if (!manifests.test(path)) return undefined
  if (method === 'PUT') return judgeRefused(vector)
  return method === 'GET' || method === 'HEAD' ? judgeMissing() : undefined
}
