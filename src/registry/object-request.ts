/** How a registry is asked for a manifest and for a blob. */
import { mediaTypes } from '../core/descriptor.js'
import type { Digest } from '../core/digest.js'
import { familiarReference, familiarRepository, type Reference } from '../core/reference.js'
import { repositoryScope } from './auth.js'
import type { RegistryRequest } from './client.js'

const acceptedTypes = [
  mediaTypes.ociManifest,
  mediaTypes.ociIndex,
  mediaTypes.dockerManifest,
  mediaTypes.dockerManifestList,
].join(', ')

/** A request for what a reference names: a manifest or an index. */
export function manifestRequest(reference: Reference, method: 'GET' | 'HEAD'): Omit<RegistryRequest, 'accept'> {
  const { registry, repository } = reference
  return {
    registry,
    repository,
    method,
    target: `/v2/${repository}/manifests/${reference.digest ?? reference.tag ?? 'latest'}`,
    scopes: [repositoryScope(repository, 'pull')],
    subject: familiarReference(reference),
    headers: { accept: acceptedTypes },
  }
}

/** A request for a blob of a repository. */
export function blobRequest(
  source: BlobSource,
  blob: { readonly digest: Digest },
  method: 'GET' | 'HEAD',
  accept: readonly number[],
): RegistryRequest {
  const { registry, repository } = source
  const target = `/v2/${repository}/blobs/${blob.digest}`
  const subject = `blob ${blob.digest} of ${familiarRepository({ registry, repository })}`
  return { registry, repository, method, target, scopes: [repositoryScope(repository, 'pull')], accept, subject }
}

/** Where blobs are: a `Reference` is one. */
export interface BlobSource {
  readonly registry: string
  readonly repository: string
}
