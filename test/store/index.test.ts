import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import type { OpenedStore } from '../../src/store/store.js'
import type { StoredImage } from '../../src/store/types.js'
import { randomFrom } from '../helpers/random.js'
import { tempStore } from '../helpers/temp-store.js'

const platform = { os: 'linux', architecture: 'amd64' }

function put(store: OpenedStore, mediaType: string, value: unknown): Descriptor {
  const text = JSON.stringify(value)
  return { mediaType, digest: store.blobs.writeBytes(text), size: Buffer.byteLength(text) }
}

/** An image without layers and two manifests for it; the second may lack its config. */
function makeImage(store: OpenedStore, name: string): { readonly image: StoredImage; readonly manifests: readonly Descriptor[] } {
  const config = put(store, mediaTypes.ociConfig, { os: 'linux', architecture: 'amd64', name })
  const lost = { ...config, size: config.size + 1 }
  const manifests = [config, config, lost].map((descriptor, i) =>
    put(store, mediaTypes.ociManifest, { config: descriptor, layers: [], annotations: { i } }),
  )
  return { image: { id: config.digest, platform, diffIds: [], storedAt: 1, manifests: [] }, manifests }
}

function listed(store: OpenedStore): string[] {
  const index = JSON.parse(readFileSync(join(store.root, 'index.json'), 'utf8')) as { manifests: Descriptor[] }
  const nameOf = ({ annotations }: Descriptor): string => annotations?.['org.opencontainers.image.ref.name'] ?? ''
  return index.manifests.map((entry) => `${entry.digest} ${nameOf(entry)}`).sort()
}

/** As the files of images and names say. */
function expected(store: OpenedStore, complete: ReadonlySet<string>): string[] {
  return store.images
    .list()
    .flatMap(({ id, manifests }) => {
      const newest = manifests.findLast(({ digest }) => complete.has(digest))
      if (newest === undefined) return []
      const names = store.images.tags().filter((tag) => tag.image === id)
      return names.length === 0 ? [`${newest.digest} `] : names.map(({ reference }) => `${newest.digest} ${reference}`)
    })
    .sort()
}

test('index.json follows each change of an image or a name', async () => {
  for (const seed of [1, 2, 3, 4]) {
    await using store = await tempStore()
    const random = randomFrom(seed)
    const made = ['a', 'b', 'c'].map((name) => makeImage(store, name))
    const complete = new Set(made.flatMap(({ manifests }) => manifests.slice(0, 2).map(({ digest }) => digest)))
    for (let step = 0; step < 60; step++) {
      const { image, manifests } = random.pick(made)
      const reference = `docker.io/library/${random.pick(['x', 'y', 'z'])}:1`
      const act = random.below(5)
      if (act <= 1) store.images.save({ ...image, manifests: [random.pick(manifests)] })
      else if (act === 2) store.images.setTag({ reference, image: image.id })
      else if (act === 3) store.images.removeTag(reference)
      else store.images.remove(image.id)
      // Lost or damaged, it is made anew with the next change that concerns it.
      if (step === 30) rmSync(join(store.root, 'index.json'))
      if (step === 40) writeFileSync(join(store.root, 'index.json'), '{"manifests":[')
      if (step === 30 || step === 40) {
        const { id } = image
        store.images.save({ ...image, manifests })
        store.images.setTag({ reference: `docker.io/library/anew:${step}`, image: id })
      }
      if (step === 0) store.images.save({ ...image, manifests })
      assert.equal(listed(store), expected(store, complete), `seed ${seed}, step ${step}`)
    }
  }
})

test.run()
