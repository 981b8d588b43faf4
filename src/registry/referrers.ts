/**
 * Makes a manifest with a subject findable (distribution-spec, "Pushing manifests with subject"): a registry that knows
 * referrers lists it by itself; for others there is an index of them under the tag `sha256-…` of the subject.
 */
import type { Context } from '../core/context.js'
import { type Descriptor, type Index, mediaTypes } from '../core/descriptor.js'
import type { Digest } from '../core/digest.js'
import { RegistryError } from '../core/errors.js'
import { familiarReference, type Reference } from '../core/reference.js'
import { repositoryScope } from './auth.js'
import type { RegistryClient } from './client.js'
import { isRecord, parseJson } from './errors.js'
import { pushManifest } from './push.js'
import type { WireResponse } from './transport.js'

const indexLimitBytes = 4 << 20

/** Makes `referrer`, which is in the repository already, one of the referrers of `subject`. */
export async function announceReferrer(
  client: RegistryClient,
  target: Reference,
  subject: Digest,
  referrer: Descriptor,
  ctx: Context,
): Promise<void> {
  const { registry, repository } = target
  if (await isListed(client, target, subject, referrer, ctx)) return
  const tag = referrersTag(subject)
  const before = await get(client, target, `manifests/${tag}`, [200, 404], ctx)
  const listed = before.answer.status === 404 ? [] : readManifests(before.bytes)
  if (listed === undefined) {
    const name = familiarReference({ registry, repository, tag })
    throw new RegistryError('REGISTRY_PROTOCOL', `${name} is no image index, and attestations cannot be added to it`)
  }
  const manifests = [...listed.filter(({ digest }) => digest !== referrer.digest), referrer]
  const index: Index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }
  const bytes = Buffer.from(JSON.stringify(index))
  await pushManifest(client, { registry, repository, tag }, [], { mediaType: mediaTypes.ociIndex, bytes }, ctx)
}

/** The tag under which a registry that knows no referrers has them: cut to what a tag may be. */
export function referrersTag(subject: Digest): string {
  const [algorithm = '', encoded = ''] = subject.split(':')
  return `${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`
}

/**
 * True for a registry that lists the referrer by itself. Those that do not know the question have many ways to say so, and some
 * answer it with a page for people or an empty list.
 */
async function isListed(
  client: RegistryClient,
  target: Reference,
  subject: Digest,
  referrer: Descriptor,
  ctx: Context,
): Promise<boolean> {
  const { answer, bytes } = await get(client, target, `referrers/${subject}`, [200, 400, 404, 405, 406, 501], ctx)
  if (answer.status !== 200) return false
  const listed = readManifests(bytes)
  // A list in pages is one of a registry that knows referrers: ours may be on the next.
  return listed !== undefined && (answer.headers.link !== undefined || listed.some(({ digest }) => digest === referrer.digest))
}

/** What is at a path of a repository. */
function get(
  client: RegistryClient,
  { registry, repository }: Reference,
  path: string,
  accept: readonly number[],
  ctx: Context,
): Promise<{ readonly answer: WireResponse; readonly bytes: Buffer }> {
  return client.fetch(
    {
      registry,
      repository,
      method: 'GET',
      target: `/v2/${repository}/${path}`,
      scopes: [repositoryScope(repository, 'pull')],
      accept,
      subject: `${registry}/${repository}`,
      headers: { accept: mediaTypes.ociIndex },
    },
    indexLimitBytes,
    ctx,
  )
}

/** The entries of an index; undefined for what is none. */
function readManifests(bytes: Buffer): readonly Descriptor[] | undefined {
  const document = parseJson(bytes.toString('utf8'))
  return isRecord(document) && Array.isArray(document.manifests) ? (document.manifests as readonly Descriptor[]) : undefined
}
