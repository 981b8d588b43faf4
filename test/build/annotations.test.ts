/** `--annotation`: what goes to which level of an image, and what would be lost. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultProvenance } from '../../src/attest/options.js'
import { readAnnotations } from '../../src/cli/annotations.js'
import type { Descriptor, Index } from '../../src/core/descriptor.js'
import type { Platform } from '../../src/core/platform.js'
import type { BuildOptions } from '../../src/engine/options.js'
import { type Bench, makeBench } from '../helpers/engine.js'
import { failure } from '../helpers/failure.js'
import { registryMissing, startRegistry } from '../helpers/registry.js'

const amd64: Platform = { os: 'linux', architecture: 'amd64' }
const arm64: Platform = { os: 'linux', architecture: 'arm64' }
const written = [
  'all=manifests',
  'manifest[linux/arm64]:one=arm64',
  'index,manifest:title=both',
  'index:org.example:with=colon',
  'manifest-descriptor:entry=each',
  'manifest-descriptor[linux/amd64]:only=amd64',
  'index-descriptor:outer=index.json',
]

async function openBench(): Promise<Bench> {
  const bench = await makeBench({ base: false })
  bench.write({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' })
  return bench
}

interface Annotated {
  readonly manifests: readonly Descriptor[]
  readonly annotations?: Readonly<Record<string, string>>
}

/** The annotations of an index, of what it lists, and of the manifests. */
function levelsOf(index: Annotated, read: (digest: string) => Annotated): unknown[] {
  return [
    index.annotations,
    ...index.manifests.map(({ annotations }) => annotations),
    ...index.manifests.map(({ digest }) => read(digest).annotations),
  ]
}

const expected = [
  { title: 'both', 'org.example:with': 'colon' },
  { entry: 'each', only: 'amd64' },
  { entry: 'each' },
  { all: 'manifests', title: 'both' },
  { all: 'manifests', one: 'arm64', title: 'both' },
]

test('in a layout each level has its annotations', async () => {
  using bench = await openBench()
  const dest = join(bench.directory, 'layout')
  const annotations = readAnnotations(written, amd64)
  await bench.build({
    platforms: [amd64, arm64],
    outputs: [{ type: 'oci', dest, tar: false, names: ['app:1'], annotations }],
  })
  const read = (digest: string): Index => JSON.parse(readFileSync(join(dest, 'blobs', digest.replace(':', '/')), 'utf8')) as Index
  const { manifests } = JSON.parse(readFileSync(join(dest, 'index.json'), 'utf8')) as Index
  const [outer] = manifests
  assert.is(outer?.annotations?.outer, 'index.json')
  assert.is(outer?.annotations?.['org.opencontainers.image.ref.name'], '1')
  assert.equal(levelsOf(read(outer?.digest ?? ''), read), expected)
})

test('in a registry each level has its annotations', async () => {
  const missing = registryMissing()
  if (missing !== undefined) return console.log(`SKIP: ${missing}`)
  await using registry = await startRegistry()
  using bench = await openBench()
  const annotations = readAnnotations(written, amd64)
  const name = `${registry.host}/app:1`
  await bench.build({ platforms: [amd64, arm64], tags: [name], push: true, outputs: [{ type: 'image', annotations }] })
  const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'
  const get = async (what: string): Promise<Index> =>
    (await (await fetch(`http://${registry.host}/v2/app/manifests/${what}`, { headers: { accept } })).json()) as Index
  const index = await get('1')
  const found = new Map<string, Index>()
  for (const { digest } of index.manifests) found.set(digest, await get(digest))
  assert.equal(
    levelsOf(index, (digest) => found.get(digest) ?? { schemaVersion: 2, mediaType: '', manifests: [] }),
    expected,
  )
})

test('attestations make an index, which takes annotations', async () => {
  using bench = await openBench()
  const dest = join(bench.directory, 'layout')
  const annotations = readAnnotations(['index:a=b'], amd64)
  const attestations = { provenance: defaultProvenance, storage: 'index' } as const
  await bench.build({ attestations, outputs: [{ type: 'oci', dest, tar: false, annotations }] })
  const { manifests } = JSON.parse(readFileSync(join(dest, 'index.json'), 'utf8')) as Index
  const index = JSON.parse(readFileSync(join(dest, 'blobs', manifests[0]?.digest.replace(':', '/') ?? ''), 'utf8')) as Annotated
  assert.equal(index.annotations, { a: 'b' })
})

test('annotations that would be lost are refused before anything is built', async () => {
  using bench = await openBench()
  const dest = join(bench.directory, 'layout')
  const cases: [string, Partial<BuildOptions>, RegExp][] = [
    ['index:a=b', {}, /"a" is for an index, and an image for one platform has none/],
    ['index-descriptor:a=b', { outputs: [{ type: 'oci', dest }] }, /"a" is for an index/],
    ['manifest[linux/s390x]:a=b', {}, /"a" is for linux\/s390x, and what is built is linux\//],
    ['index:a=b', { platforms: [amd64, arm64] }, /"a" \(index\) has no place in the store/],
  ]
  for (const [text, options, message] of cases) {
    const outputs = (options.outputs ?? [{ type: 'image' as const }]).map((output) => ({
      ...output,
      annotations: readAnnotations([text], amd64),
    }))
    const error = await failure(bench.build({ ...options, outputs: outputs as BuildOptions['outputs'] }))
    assert.is(error.code, 'EXPORT_UNSUPPORTED')
    assert.match(error.message, message)
    assert.equal(bench.ran(), [])
  }
  assert.throws(() => readAnnotations(['index[linux/arm64]:a=b'], amd64), /an index is of all platforms/)
})

test.run()
