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
import { pushManifest } from './push.js'

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
  const known = await get(client, target, `referrers/${subject}`, ctx)
  if (known !== undefined) return
  const tag = subject.replace(':', '-')
  const before = await get(client, target, `manifests/${tag}`, ctx)
  const listed = readManifests(before, familiarReference({ registry, repository, tag }))
  const manifests = [...listed.filter(({ digest }) => digest !== referrer.digest), referrer]
  const index: Index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }
  const bytes = Buffer.from(JSON.stringify(index))
  await pushManifest(client, { registry, repository, tag }, [], { mediaType: mediaTypes.ociIndex, bytes }, ctx)
}

/** The bytes at a path of a repository; undefined when there is nothing. */
async function get(
  client: RegistryClient,
  { registry, repository }: Reference,
  path: string,
  ctx: Context,
): Promise<Buffer | undefined> {
  const { answer, bytes } = await client.fetch(
    {
      registry,
      repository,
      method: 'GET',
      target: `/v2/${repository}/${path}`,
      scopes: [repositoryScope(repository, 'pull')],
      accept: [200, 404],
      subject: `${registry}/${repository}`,
      headers: { accept: mediaTypes.ociIndex },
    },
    indexLimitBytes,
    ctx,
  )
  return answer.status === 404 ? undefined : bytes
}

function readManifests(bytes: Buffer | undefined, subject: string): readonly Descriptor[] {
  if (bytes === undefined) return []
  try {
    const { manifests } = JSON.parse(bytes.toString('utf8')) as { readonly manifests?: unknown }
    if (Array.isArray(manifests)) return manifests as readonly Descriptor[]
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new RegistryError('REGISTRY_PROTOCOL', `${subject} is no image index, and attestations cannot be added to it`)
}
