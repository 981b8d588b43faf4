/** Images from registries that say of a blob that it is a layer which it is not: that harms only themselves. */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { build } from '../../src/build.js'
import type { BuildEvent } from '../../src/core/context.js'
import { mediaTypes } from '../../src/core/descriptor.js'
import { type DiffID, digestOf } from '../../src/core/digest.js'
import { BuildError } from '../../src/core/errors.js'
import { pullImage } from '../../src/engine/transfer.js'
import { openStore } from '../../src/store/store.js'
import { startFake } from '../helpers/registry.js'
import { tempDirectory } from '../helpers/temp.js'
import { within } from '../helpers/within.js'
import { type HandMade, imageOf, tarOf } from '../registry/image.js'

const wanted = tarOf('good', Buffer.from('what the layer has'))
const honest = imageOf([wanted])

/** An image that says that a blob of other files is the honest image's layer. */
function liar(): HandMade {
  const other = imageOf([tarOf('bad', Buffer.from('something else'))])
  const config = { mediaType: mediaTypes.ociConfig, digest: honest.config.digest, size: honest.config.size }
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: other.layers }),
  )
  return { ...other, config, manifest, blobs: new Map([...other.blobs, ...honest.blobs]) }
}

async function withImages(work: (host: string, root: string, asked: readonly string[]) => Promise<void>): Promise<void> {
  const images: Readonly<Record<string, HandMade>> = { honest, liar: liar() }
  const asked: string[] = []
  await using server = await startFake((incoming, response) => {
    asked.push(`${incoming.method} ${incoming.url}`)
    const [, repository = '', kind, name] = /^\/v2\/([^/]+)\/(manifests|blobs)\/(.+)$/.exec(incoming.url ?? '') ?? []
    const image = images[repository]
    const digest = (name ?? '') as ReturnType<typeof digestOf>
    const body = kind === 'manifests' ? image?.manifest : image?.blobs.get(digest)
    if (incoming.url === '/v2/') return void response.end('{}')
    if (body === undefined) return void response.writeHead(404).end('{}')
    const type = kind === 'manifests' ? mediaTypes.ociManifest : 'application/octet-stream'
    response.writeHead(200, {
      'content-type': type,
      'content-length': body.length,
      ...(kind === 'manifests' ? { 'docker-content-digest': digestOf(body) } : {}),
    })
    response.end(incoming.method === 'HEAD' ? undefined : body)
  })
  await using directory = await tempDirectory()
  await within(60_000, work(server.host, directory.path, asked))
}

function options(root: string): { root: string; stateDirectory: string; env: Record<string, string> } {
  return { root: join(root, 'store'), stateDirectory: join(root, 'run'), env: {} }
}

const platform = { os: 'linux', architecture: 'amd64' }

test('what one image says of a layer is not used for another image that has the layer', async () => {
  await withImages(async (host, root) => {
    const context = join(root, 'nothing')
    const dockerfile = { name: 'Dockerfile', text: `FROM ${host}/liar\nENV A=1\n` }
    mkdirSync(context)
    // Nothing of it is unpacked: only what the liar says comes into the store, before the honest image.
    await build({ ...options(root), context, dockerfile, platforms: [platform] })
    await pullImage({ ...options(root), reference: `${host}/honest`, platform })
    await using store = await openStore(join(root, 'store'))
    const record = store.layers.find(digestOf(wanted) as string as DiffID)
    assert.equal(
      record?.blobs.map(({ digest }) => digest),
      honest.layers.map(({ digest }) => digest),
    )
    assert.equal(record?.claims, undefined)
  })
})

test('of several pulls at once one fetches each layer, and the others say that they wait for it', async () => {
  await withImages(async (host, root, asked) => {
    const waits: string[] = []
    const onEvent = (event: BuildEvent): void => {
      if (event.type === 'waiting' && !event.isOver) waits.push(`${event.process?.command} ${event.work}`)
    }
    const pull = (): Promise<unknown> =>
      pullImage({ ...options(root), reference: `${host}/honest`, platform, command: 'mille pull honest', onEvent })
    await Promise.all([pull(), pull(), pull()])
    const blobs = asked.filter((line) => honest.layers.some(({ digest }) => line === `GET /v2/honest/blobs/${digest}`))
    assert.is(blobs.length, honest.layers.length)
    assert.match(waits.join('\n'), /^mille pull honest fetches layer [0-9a-f]{12}$/m)
    assert.equal(readdirSync(join(root, 'store/claims')), [])
  })
})

test('a blob that was never unpacked is not shipped as a layer of a built image', async () => {
  await withImages(async (host, root) => {
    const context = join(root, 'nothing')
    mkdirSync(context)
    const dockerfile = { name: 'Dockerfile', text: `FROM ${host}/liar\nENV A=1\n` }
    const outputs = [{ type: 'oci', dest: join(root, 'out.tar') }] as const
    try {
      await build({ ...options(root), context, dockerfile, platforms: [platform], outputs })
      assert.unreachable()
    } catch (error) {
      if (!(error instanceof BuildError)) throw error
      assert.match(error.code, /MISMATCH/)
    }
  })
})

test.run()
