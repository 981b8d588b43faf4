/**
 * Which blobs a repository has because the image that its tag names is made of them: one question in the place of one for each blob.
 *
 * A registry keeps the blobs of its manifests and refuses a manifest whose blobs it lacks, so that a wrong answer shows before
 * anything is wrong.
 */
import type { Context } from '../core/context.js'
import { type Digest, isDigest } from '../core/digest.js'
import { RegistryError } from '../core/errors.js'
import type { Reference } from '../core/reference.js'
import { repositoryScope } from './auth.js'
import type { RegistryClient } from './client.js'
import { TransientRegistryError } from './errors.js'
import { manifestRequest } from './object-request.js'

/** The config and layers of a manifest that is here; none of one that is not. */
export type ManifestParts = (manifest: Digest) => Promise<readonly Digest[]>

/** The blobs of the image under the tag of `target`, as far as its manifest is here. */
export async function blobsOfTag(
  client: RegistryClient,
  target: Reference,
  partsOf: ManifestParts,
  ctx: Context,
): Promise<ReadonlySet<Digest>> {
  const request = manifestRequest(target, 'HEAD')
  // The rights that the uploads want too: one token does for both.
  const scopes = [repositoryScope(target.repository, 'pull,push')]
  try {
    const { answer } = await client.fetch({ ...request, scopes, accept: [200, 404] }, 0, ctx)
    const digest = answer.headers['docker-content-digest']
    return new Set(answer.status === 200 && typeof digest === 'string' && isDigest(digest) ? await partsOf(digest) : [])
  } catch (error) {
    // A registry that will not say: it is asked for each blob.
    if (error instanceof RegistryError && error.status !== undefined && !(error instanceof TransientRegistryError))
      return new Set()
    throw error
  }
}

/** True for the refusal of a manifest because a blob of it is not there. */
export function isMissingBlob(error: unknown): boolean {
  return error instanceof RegistryError && error.errors.some((code) => /^(MANIFEST_)?BLOB_UNKNOWN$/.test(code))
}
