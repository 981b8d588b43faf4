/** How a registry is asked for a blob. */
import type { Digest } from '../core/digest.js'
import { familiarRepository } from '../core/reference.js'
import { repositoryScope } from './auth.js'
import type { RegistryRequest } from './client.js'

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
