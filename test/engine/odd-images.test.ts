/** Images of odd kinds from a registry: named by sha512, with layers that lie elsewhere, in indexes that name no platform. */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { build } from '../../src/build.js'
import type { Manifest } from '../../src/core/descriptor.js'
import { isDigest } from '../../src/core/digest.js'
import { BuildError } from '../../src/core/errors.js'
import { pullImage } from '../../src/engine/transfer.js'
import { verifyStored } from '../../src/engine/verify.js'
import { layerFiles } from '../../src/store/layer-files.js'
import { openStore } from '../../src/store/store.js'
import { verifyImage } from '../../src/store/verify.js'
import { type Interference, type SpecRegistry, startSpecRegistry } from '../helpers/spec-registry.js'
import { tempDirectory } from '../helpers/temp.js'
import { within } from '../helpers/within.js'
import { repository, seed } from '../vectors/registry-client.js'
import { type Content, contentOf, foreignPath } from '../vectors/registry-content.js'

const platform = { os: 'linux', architecture: 'amd64' }

interface Odd {
  readonly registry: SpecRegistry
  readonly content: Content
  /** The name of what was pushed last. */
  readonly reference: string
  readonly options: { readonly root: string; readonly stateDirectory: string; readonly env: Record<string, string> }
  readonly directory: string
}

/** A registry with an image of a kind, and a store that knows nothing of it. */
async function withOdd(kind: string, work: (odd: Odd) => Promise<void>): Promise<void> {
  let content: Content | undefined
  const elsewhere: Interference = ({ path }, response) => {
    const bytes = path.startsWith(foreignPath) ? content?.blobs.get(path.slice(foreignPath.length)) : undefined
    if (bytes !== undefined) response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    return bytes !== undefined
  }
  await using registry = await startSpecRegistry({}, elsewhere)
  await using directory = await tempDirectory()
  content = contentOf(kind, registry.host)
  const last = content?.manifests.at(-1)
  if (content === undefined || last === undefined) throw new Error(`there is no content ${kind}`)
  seed({ registry }, content)
  registry.tags.set(`${repository} odd`, last.descriptor.digest)
  const options = { root: join(directory.path, 'store'), stateDirectory: join(directory.path, 'run'), env: {} }
  const reference = `${registry.host}/${repository}:odd`
  await within(60_000, work({ registry, content, reference, options, directory: directory.path }))
}

/** The names of the files of all layers of the images in the store; the images are sound. */
async function filesOf({ root }: { readonly root: string }): Promise<string[]> {
  await using store = await openStore(root)
  const names: string[] = []
  for (const image of store.images.list()) {
    await verifyStored(store, image)
    assert.equal(verifyImage(store, image), [])
    const directories = image.diffIds.flatMap((diffId) => layerFiles(store, store.layers.find(diffId)) ?? [])
    names.push(...directories.flatMap((directory) => readdirSync(directory)))
  }
  return names.sort()
}

test('an image whose names are sha512 is pulled, built on, and pushed with names of our own', async () => {
  await withOdd('sha512', async ({ registry, content, reference, options, directory }) => {
    await pullImage({ ...options, reference, platform })
    assert.equal(await filesOf(options), ['file-1', 'file-2'])
    const name = `${reference.replace(':odd', '')}@${content.manifests.at(-1)?.descriptor.digest}`
    await pullImage({ ...options, reference: name, platform })
    const context = join(directory, 'nothing')
    mkdirSync(context)
    const built = `${registry.host}/team/built:1`
    const dockerfile = { name: 'Dockerfile', text: `FROM ${name}\nENV A=1\n` }
    await build({ ...options, context, dockerfile, platforms: [platform], tags: [built], push: true })
    const pushed = registry.manifests.get(`team/built ${registry.tags.get('team/built 1')}`)
    const { config, layers } = JSON.parse(String(pushed?.bytes)) as Manifest
    assert.is(layers.length, 2)
    for (const { digest } of [config, ...layers]) {
      assert.ok(isDigest(digest), digest)
      assert.ok(registry.blobs.has(`team/built ${digest}`))
    }
  })
})

test('bytes that do not have their sha512 are refused', async () => {
  await withOdd('sha512', async ({ registry, content, reference, options }) => {
    const layer = content.manifests[0]?.blobs[1]
    registry.blobs.set(`${repository} ${layer?.digest}`, Buffer.alloc(layer?.size ?? 0))
    try {
      await pullImage({ ...options, reference, platform })
      assert.unreachable()
    } catch (error) {
      if (!(error instanceof BuildError)) throw error
      assert.is(error.code, 'REGISTRY_DIGEST_MISMATCH')
    }
  })
})

test('a layer that the registry may not have is fetched from where its urls say', async () => {
  await withOdd('nondistributable', async ({ registry, reference, options }) => {
    await pullImage({ ...options, reference, platform })
    assert.equal(await filesOf(options), ['file-1', 'file-2', 'file-3'])
    assert.is(registry.seen.filter(({ path }) => path.startsWith(foreignPath)).length, 2)
  })
})

test('an index of indexes that name no platform leads to the image of the right one', async () => {
  await withOdd('nested-index', async ({ reference, options }) => {
    await pullImage({ ...options, reference, platform: { os: 'linux', architecture: 'arm64' } })
    assert.equal(await filesOf(options), ['file-3', 'file-4'])
  })
})

test.run()
