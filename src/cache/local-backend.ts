/**
 * A cache in a directory: an OCI image layout with the cache under a tag (image-spec, image-layout.md).
 *
 * It holds what the last build used and nothing else: written anew each time, and what nothing names any more is removed.
 * Whoever uses it holds a shared lock on its file `lock`; removal waits for a build in which nobody does. So a reader always
 * sees the blobs of the index that it read.
 */
import { closeSync, existsSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Context } from '../core/context.js'
import { type Descriptor, type Index, isManifestMediaType, type Manifest, mediaTypes } from '../core/descriptor.js'
import { type Digest, digestOf, hexOf } from '../core/digest.js'
import { BuildError, systemCode } from '../core/errors.js'
import { makeDirectories, randomName, readBytesIfExists, readTextIfExists, writeFileAtomic } from '../io/fs.js'
import { collect, hashing, limited } from '../io/stream.js'
import { tryLock } from '../io/sys.js'
import { isDescriptor } from '../store/layers.js'
import { isObject } from '../store/record-file.js'
import type { CacheBackend, OpenBytes, PutOutcome, WriteBlob } from './backend.js'
import { mountChunkSizes } from './chunker.js'
import { cacheArtifactType } from './document.js'

const refName = 'org.opencontainers.image.ref.name'
const readSize = 512 << 10

/** How sources of layers in directories begin. */
export const localSourcePrefix = 'cache+local:'

/** The cache with a tag in a directory; for reading the directory need not be writable. */
export function localBackend(directory: string, tag: string): CacheBackend {
  let lock: number | undefined
  const hold = (): void => {
    lock ??= openLock(directory)
    if (lock !== undefined) tryLock(lock, 'shared')
  }
  return {
    name: directory,
    source: `${localSourcePrefix}${directory}`,
    merges: false,
    isPrivate: false,
    mountChunkSizes,
    async readManifests() {
      hold()
      const found = readIndex(directory).find(({ annotations }) => annotations?.[refName] === tag)
      if (found === undefined) return []
      const bytes = readBytesIfExists(pathOf(directory, found.digest))
      if (bytes === undefined || digestOf(bytes) !== found.digest) {
        throw new BuildError(
          'CACHE_BAD',
          `the manifest ${found.digest} in ${directory} is ${bytes === undefined ? 'not there' : 'damaged'}`,
        )
      }
      return [{ bytes, digest: found.digest }]
    },
    async readBlob(blob, limitBytes) {
      const bytes = await collect(
        limited(readFile(directory, blob.digest), limitBytes, 'CACHE_BAD', `blob ${blob.digest} of the cache`),
      )
      if (digestOf(bytes) !== blob.digest) throw new BuildError('CACHE_BAD', `blob ${blob.digest} in ${directory} is damaged`)
      return bytes
    },
    fetchBlob: async (blob, write, _progressId, ctx) => fetchFile(directory, blob, write, ctx),
    hasBlob: async (blob) => existsSync(pathOf(directory, blob.digest)),
    async putBlob(blob, openBytes, _mountSources, _progressId, ctx) {
      makeBlobFolder(directory)
      hold()
      return putFile(directory, blob, openBytes, ctx)
    },
    async swap(manifest) {
      makeBlobFolder(directory)
      hold()
      return swapIndex(directory, tag, manifest, lock)
    },
    async [Symbol.asyncDispose]() {
      if (lock !== undefined) closeSync(lock)
      lock = undefined
    },
  }
}

function makeBlobFolder(directory: string): void {
  try {
    makeDirectories(join(directory, 'blobs/sha256'))
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined || code === 'ENOSPC' || code === 'EDQUOT') throw error
    throw new BuildError('CACHE_EXPORT_FAILED', `the cache ${directory} cannot be made (${code})`, { cause: error })
  }
}

function pathOf(directory: string, digest: Digest): string {
  return join(directory, 'blobs/sha256', hexOf(digest))
}

/** A directory that may only be read is not swept either. */
function openLock(directory: string): number | undefined {
  const path = join(directory, 'lock')
  for (const flags of ['a', 'r']) {
    try {
      return openSync(path, flags, 0o644)
    } catch (error) {
      const code = systemCode(error)
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
      if (code !== 'EACCES' && code !== 'EROFS' && code !== 'EPERM') throw error
    }
  }
  return undefined
}

function readIndex(directory: string): readonly Descriptor[] {
  const text = readTextIfExists(join(directory, 'index.json'))
  if (text === undefined) return []
  const index = parseIndex(text)
  if (index === undefined) throw new BuildError('CACHE_BAD', `the index.json in ${directory} is no OCI image index`)
  return index.manifests.filter(isDescriptor)
}

function parseIndex(text: string): Index | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) && Array.isArray(value.manifests) ? (value as unknown as Index) : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

async function* readFile(directory: string, digest: Digest): AsyncGenerator<Uint8Array, void, void> {
  const file = await openBlob(directory, digest)
  try {
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(readSize), 0, readSize, null)
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

async function openBlob(directory: string, digest: Digest): Promise<Awaited<ReturnType<typeof open>>> {
  try {
    return await open(pathOf(directory, digest), 'r')
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    throw new BuildError('CACHE_BAD', `blob ${digest} is not in ${directory}`)
  }
}

async function fetchFile(directory: string, blob: Descriptor, write: WriteBlob, ctx: Context): Promise<void> {
  await write(readFile(directory, blob.digest), blob, ctx.signal)
}

async function putFile(directory: string, blob: Descriptor, openBytes: OpenBytes, ctx: Context): Promise<PutOutcome> {
  const path = pathOf(directory, blob.digest)
  if (existsSync(path)) return 'existed'
  const temporary = join(directory, `tmp-${randomName(12)}`)
  let found = ''
  try {
    const file = await open(temporary, 'wx', 0o644)
    try {
      const bytes = hashing(await openBytes(), ({ hex }) => {
        found = hex
      })
      for await (const chunk of bytes) {
        ctx.signal.throwIfAborted()
        for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at)).bytesWritten
      }
    } finally {
      await file.close()
    }
    if (found !== hexOf(blob.digest))
      throw new BuildError('CACHE_BAD', `the bytes for blob ${blob.digest} have the digest sha256:${found}`)
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
  return 'uploaded'
}

/** The index changes by rename; of two who write at once the later one wins. */
function swapIndex(directory: string, tag: string, manifest: Buffer, lock: number | undefined): boolean {
  const digest = digestOf(manifest)
  writeFileAtomic(pathOf(directory, digest), manifest)
  writeFileAtomic(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const others = readIndex(directory).filter(({ annotations }) => annotations?.[refName] !== tag)
  const own: Descriptor = {
    mediaType: mediaTypes.ociManifest,
    digest,
    size: manifest.length,
    artifactType: cacheArtifactType,
    annotations: { [refName]: tag },
  }
  const index: Index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [...others, own] }
  writeFileAtomic(join(directory, 'index.json'), JSON.stringify(index))
  if (lock !== undefined && tryLock(lock, 'exclusive')) sweep(directory, index.manifests)
  return true
}

/** Removes the blobs that no manifest of the index names, and what killed writers left. */
function sweep(directory: string, manifests: readonly Descriptor[]): void {
  const named = new Set<string>()
  for (const { digest, mediaType } of manifests) {
    // Somebody else's index of indexes is not ours to understand, nor to clean up.
    if (!isManifestMediaType(mediaType)) return
    named.add(hexOf(digest))
    const bytes = readBytesIfExists(pathOf(directory, digest))
    if (bytes === undefined) continue
    const { config, layers } = JSON.parse(bytes.toString('utf8')) as Manifest
    for (const blob of [config, ...layers]) named.add(hexOf(blob.digest))
  }
  for (const name of readdirSync(join(directory, 'blobs/sha256'))) {
    if (!named.has(name)) rmSync(join(directory, 'blobs/sha256', name), { force: true })
  }
  for (const name of readdirSync(directory)) {
    if (name.startsWith('tmp-')) rmSync(join(directory, name), { force: true })
  }
}
