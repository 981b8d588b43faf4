/**
 * A cache in a registry: an OCI artifact under a tag.
 *
 * The distribution protocol has no compare-and-swap. A tag is looked at right before it is written, and again after a
 * pause that is longer than what writing took: whoever was overwritten sees it and writes once more.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '../core/context.js'
import { mediaTypes } from '../core/descriptor.js'
import { digestOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { Platform } from '../core/platform.js'
import { familiarReference, type Reference } from '../core/reference.js'
import { collect, limited } from '../io/stream.js'
import type { RegistryClient } from '../registry/client.js'
import { fetchBlob, readBlob } from '../registry/pull.js'
import { pushManifest } from '../registry/push.js'
import { headManifest, readManifest } from '../registry/resolve.js'
import { defaultChunkPolicy, hasBlob, uploadBlob } from '../registry/upload.js'
import type { CacheBackend } from './backend.js'
import { mountChunkSizes } from './chunker.js'

/** Writers who started at the same moment have all written once this long has passed. */
const settleMs = 150

/** The cache under `reference`. An index is read for `platform`: images of several platforms may carry caches. */
export function registryBackend(client: RegistryClient, reference: Reference, platform: Platform): CacheBackend {
  const { registry, repository } = reference
  const digestNow = async (ctx: Context): Promise<string | undefined> => (await headManifest(client, reference, ctx))?.digest
  return {
    name: familiarReference(reference),
    source: `${registry}/${repository}`,
    merges: true,
    isPrivate: false,
    mountChunkSizes,
    async readManifests(ctx) {
      const found = await readManifest(client, reference, platform, ctx)
      return found === undefined ? [] : [{ bytes: found.bytes, digest: found.descriptor.digest }]
    },
    readBlob: (blob, limitBytes, ctx) =>
      collect(limited(readBlob(client, reference, blob, ctx), limitBytes, 'CACHE_BAD', `blob ${blob.digest} of the cache`)),
    fetchBlob: (blob, write, progressId, ctx) =>
      client.transfer(() => fetchBlob(client, reference, blob, write, progressId, ctx)),
    hasBlob: (blob, ctx) => hasBlob(client, reference, blob, ctx),
    putBlob: (blob, open, mountSources, progressId, ctx) =>
      client.transfer(() =>
        uploadBlob(client, reference, blob, { openBlob: open, mountSources, chunks: defaultChunkPolicy, progressId }, ctx),
      ),
    async swap(manifest, [old], ctx) {
      if (reference.digest !== undefined)
        throw new BuildError('CACHE_BAD', `${familiarReference(reference)} names a digest, which cannot be written`)
      if ((await digestNow(ctx)) !== old?.digest) return false
      const startedAt = performance.now()
      await pushManifest(client, reference, [], { mediaType: mediaTypes.ociManifest, bytes: manifest }, ctx)
      const tookMs = performance.now() - startedAt
      await sleep(Math.max(settleMs, 3 * tookMs) * (1 + Math.random()), undefined, { signal: ctx.signal })
      return (await digestNow(ctx)) === digestOf(manifest)
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
}
