/** Provenance and SBOMs of real builds: in layouts, registries, the store, directories and tars. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type AttestationOptions, defaultProvenance, defaultSbom } from '../../src/attest/options.js'
import type { Descriptor, Index, Manifest } from '../../src/core/descriptor.js'
import { digestOf } from '../../src/core/digest.js'
import { BuildError } from '../../src/core/errors.js'
import { pushImages, saveImages } from '../../src/index.js'
import { openStore } from '../../src/store/store.js'
import { mustRun } from '../helpers/cli.js'
import { type Bench, benchTest, busybox } from '../helpers/engine.js'
import { withRegistry } from '../helpers/registry-server.js'

const provenance: AttestationOptions = { provenance: defaultProvenance, storage: 'index' }

function attestTest(title: string, programs: readonly string[], body: (bench: Bench) => Promise<void>): void {
  benchTest(title, body, programs)
}

const simple = `FROM ${busybox}
ARG VERSION
RUN --mount=type=secret,id=word --mount=type=ssh echo "$VERSION" > /version
`

async function fails(message: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    assert.instance(error, BuildError)
    return assert.match((error as BuildError).message, message)
  }
  assert.unreachable('the build should have failed')
}

type Json = Readonly<Record<string, unknown>>

/** A member deep in JSON: `a.b.0`. */
function at(value: unknown, path: string): unknown {
  return path.split('.').reduce((current: unknown, key) => (current as Json | undefined)?.[key], value)
}

/** Blobs of a layout, and its index. */
function openLayout(directory: string): { readonly index: Index; readonly read: (digest: string) => unknown } {
  const read = (digest: string): unknown => {
    const text = readFileSync(join(directory, 'blobs', digest.replace(':', '/')), 'utf8')
    assert.is(digestOf(text), digest)
    return JSON.parse(text)
  }
  return { index: JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8')) as Index, read }
}

/** The statements about the only image of a layout. */
function statementsOf(directory: string): readonly Json[] {
  const { index, read } = openLayout(directory)
  const inner = read(index.manifests[0]?.digest ?? '') as Index
  const attested = inner.manifests.find(
    ({ annotations }) => annotations?.['vnd.docker.reference.type'] === 'attestation-manifest',
  )
  return (read(attested?.digest ?? '') as Manifest).layers.map(({ digest }) => read(digest) as Json)
}

attestTest('an OCI layout gets an index with the image and what is said about it', ['skopeo'], async (bench) => {
  bench.write({ Dockerfile: simple })
  const dest = join(bench.directory, 'layout')
  const outputs = [{ type: 'oci' as const, dest, tar: false }]
  const result = await bench.build({ attestations: provenance, outputs, tags: ['app:1'], buildArgs: { VERSION: '1.2' } })
  const { index, read } = openLayout(dest)
  assert.is(index.manifests[0]?.digest, result.manifest?.digest)
  const [image, attested, ...more] = (read(index.manifests[0]?.digest ?? '') as Index).manifests
  assert.is(more.length, 0)
  assert.equal(attested?.platform, { architecture: 'unknown', os: 'unknown' })
  assert.is(attested?.annotations?.['vnd.docker.reference.digest'], image?.digest)
  const { config, layers } = read(attested?.digest ?? '') as Manifest
  assert.equal(
    layers.map(({ mediaType, annotations }) => [mediaType, annotations]),
    [['application/vnd.in-toto+json', { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v1' }]],
  )
  assert.equal(at(read(config.digest), 'rootfs.diff_ids'), [layers[0]?.digest])
  const [statement] = statementsOf(dest)
  const platform = encodeURIComponent(`${image?.platform?.os}/${image?.platform?.architecture}`)
  assert.equal(statement?.subject, [
    { name: `pkg:docker/app@1?platform=${platform}`, digest: { sha256: image?.digest.slice(7) } },
  ])
  const stored = (read(image?.digest ?? '') as Manifest).layers
  const metadata = at(statement, 'predicate.runDetails.metadata.buildkit_metadata')
  assert.equal(
    (at(metadata, 'layers.step1:0.0') as readonly Descriptor[]).map(({ digest }) => digest),
    stored.map(({ digest }) => digest),
  )
  // What knows nothing of attestations takes the image.
  await mustRun('skopeo', ['copy', '--quiet', `oci:${dest}:1`, `dir:${join(bench.directory, 'copy')}`])
})

attestTest('provenance of mode max says what went in, secrets by their ids; mode min keeps values back', [], async (bench) => {
  bench.write({ Dockerfile: simple })
  const dest = join(bench.directory, 'files')
  const common = {
    buildArgs: { VERSION: 'v-of-the-argument' },
    labels: { owner: 'me' },
    secrets: { word: { value: 'the-secret-value' } },
    buildContexts: { docs: 'docker-image://localhost/base/busybox' },
    outputs: [{ type: 'local' as const, dest }],
  }
  await bench.build({ ...common, attestations: provenance })
  const text = readFileSync(join(dest, 'provenance.json'), 'utf8')
  assert.not.match(text, 'the-secret-value')
  assert.not.match(text, bench.directory)
  const { predicate, subject } = JSON.parse(text) as Json
  const request = at(predicate, 'buildDefinition.externalParameters.request')
  assert.equal(at(request, 'args'), {
    'build-arg:VERSION': 'v-of-the-argument',
    'context:docs': 'docker-image://localhost/base/busybox',
    'label:owner': 'me',
  })
  assert.equal(at(request, 'secrets'), [{ id: 'word', optional: true }])
  assert.equal(at(request, 'ssh'), [{ id: 'default', optional: true }])
  assert.equal(at(request, 'locals'), [{ name: 'context' }, { name: 'dockerfile' }])
  const [base] = at(predicate, 'buildDefinition.resolvedDependencies') as readonly Json[]
  assert.match(String(base?.uri), /^pkg:docker\/localhost\/base\/busybox@latest\?platform=linux%2F/)
  const lines = at(predicate, 'runDetails.metadata.buildkit_metadata.source.locations')
  assert.equal(at(lines, 'step1.locations.0.ranges.0'), { start: { line: 3 }, end: { line: 3 } })
  const version = (subject as readonly Json[]).find(({ name }) => name === 'version')
  assert.is(at(version, 'digest.sha256'), digestOf('v-of-the-argument\n').slice('sha256:'.length))

  const min = { provenance: { ...defaultProvenance, mode: 'min', fileName: 'small.json' }, storage: 'index' } as const
  await bench.build({ ...common, attestations: min })
  const small = readFileSync(join(dest, 'small.json'), 'utf8')
  for (const kept of ['v-of-the-argument', '"owner"', '"word"', 'RUN', 'llbDefinition']) assert.not.match(small, kept)
})

attestTest('v0.2 says the same in other words; names of files get a prefix, a tar has them too', [], async (bench) => {
  bench.write({ Dockerfile: `FROM ${busybox}\nRUN --network=none true\n` })
  const dest = join(bench.directory, 'files.tar')
  const old = { ...defaultProvenance, version: 'v0.2', builderId: 'https://ci.test/7', reproducible: true } as const
  await bench.build({
    attestations: { provenance: old, sbom: defaultSbom, storage: 'index' },
    outputs: [{ type: 'tar', dest, attestationPrefix: 'about-' }],
  })
  const names = (await mustRun('tar', ['-tf', dest])).split('\n').filter((name) => name.startsWith('about-'))
  assert.equal(names.sort(), ['about-provenance.json', 'about-sbom.spdx.json'])
  const { predicateType, predicate } = JSON.parse(await mustRun('tar', ['-xOf', dest, 'about-provenance.json'])) as Json
  assert.is(predicateType, 'https://slsa.dev/provenance/v0.2')
  assert.is(at(predicate, 'builder.id'), 'https://ci.test/7')
  assert.is(at(predicate, 'metadata.reproducible'), true)
  await fails('of its own', () =>
    bench.build({
      dockerfile: { name: 'other', text: 'FROM scratch\nCOPY Dockerfile /provenance.json\n' },
      attestations: provenance,
      outputs: [{ type: 'local', dest: join(bench.directory, 'other') }],
    }),
  )
  // Files of a local directory are no materials that anybody can check.
  assert.equal(at(predicate, 'metadata.completeness'), { parameters: true, environment: true, materials: false })
  assert.equal((at(predicate, 'invocation.parameters.locals') as readonly Json[]).length, 2)
})

attestTest(
  'a push is a plain manifest without them, and an index with them; a later push and save take them along',
  ['docker-registry'],
  async (bench) => {
    bench.write({ Dockerfile: simple })
    await withRegistry(join(bench.directory, 'registry'), async (host) => {
      const get = async (path: string): Promise<Json> => {
        const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'
        return (await (await fetch(`http://${host}/v2/team/app/${path}`, { headers: { accept } })).json()) as Json
      }
      const name = (tag: string): string => `${host}/team/app:${tag}`
      await bench.build({ tags: [name('attested')], attestations: provenance, push: true })
      const index = (await get('manifests/attested')) as unknown as Index
      assert.is(index.manifests.length, 2)
      const { layers } = (await get(`manifests/${index.manifests[1]?.digest}`)) as unknown as Manifest
      const statement = await get(`blobs/${layers[0]?.digest}`)
      assert.is(at(statement, 'subject.0.digest.sha256'), index.manifests[0]?.digest.slice('sha256:'.length))

      // The store has them now, through a collection of what is not needed.
      const store = { root: bench.root, stateDirectory: join(bench.directory, 'run') }
      {
        await using opened = await openStore(bench.root)
        const kept = opened.images.find(name('attested'))
        assert.is(kept?.attestations?.items.length, 1)
        opened.images.setTag({ reference: name('again'), image: kept?.id ?? digestOf('') })
      }
      await mustRun('bin/mille', ['--root', bench.root, 'prune', '--cache', '--force'])
      await pushImages({ ...store, references: [name('again')] })
      assert.is(((await get('manifests/again')) as unknown as Index).manifests.length, 2)
      const saved = join(bench.directory, 'saved')
      await saveImages({ ...store, images: [name('again')], dest: saved, format: 'oci', tar: false })
      assert.is(statementsOf(saved)[0]?.predicateType, 'https://slsa.dev/provenance/v1')

      // The same image, built without: nothing is said about it any more.
      await bench.build({ tags: [name('plain')], push: true })
      assert.is((await get('manifests/plain')).manifests, undefined)
    })
  },
)

attestTest('kept as referrers, the image stays a plain manifest that they refer to', ['docker-registry'], async (bench) => {
  bench.write({ Dockerfile: simple })
  await withRegistry(join(bench.directory, 'registry'), async (host) => {
    const tags = [`${host}/team/app:1`]
    const result = await bench.build({ tags, attestations: { ...provenance, storage: 'referrers' }, push: true })
    assert.match(result.manifest?.mediaType ?? '', /image\.manifest/)
    // This registry does not know referrers: then there is a tag for them.
    const tag = result.manifest?.digest.replace(':', '-')
    const answer = await fetch(`http://${host}/v2/team/app/manifests/${tag}`, {
      headers: { accept: 'application/vnd.oci.image.index.v1+json' },
    })
    const { manifests } = (await answer.json()) as Index
    assert.is(manifests.length, 1)
    assert.is(manifests[0]?.artifactType, 'application/vnd.docker.attestation.manifest.v1+json')
    const referrer = await fetch(`http://${host}/v2/team/app/manifests/${manifests[0]?.digest}`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    })
    assert.is(((await referrer.json()) as Manifest).subject?.digest, result.manifest?.digest)
  })
})

attestTest('an SBOM lists the packages of the image, and of the stages and the context that ask for it', [], async (bench) => {
  bench.write({
    Dockerfile: `ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
FROM ${busybox} AS tools
ARG BUILDKIT_SBOM_SCAN_STAGE=true
RUN mkdir -p /lib/apk/db && printf 'P:tool\\nV:1-r0\\nA:x86_64\\n' > /lib/apk/db/installed && touch /built
FROM ${busybox} AS unused
ARG BUILDKIT_SBOM_SCAN_STAGE=true
FROM ${busybox}
COPY status /var/lib/dpkg/status
COPY --from=tools /built /built
`,
    status: 'Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: amd64\n',
    'package-lock.json': '{"packages":{"node_modules/a":{"version":"1.0.0"}}}',
  })
  const dest = join(bench.directory, 'files')
  await bench.build({ attestations: { sbom: defaultSbom, storage: 'index' }, outputs: [{ type: 'local', dest }] })
  const purls = (name: string): unknown[] => {
    const statement = JSON.parse(readFileSync(join(dest, name), 'utf8')) as Json
    assert.is(at(statement, 'predicate.spdxVersion'), 'SPDX-2.3')
    const packages = at(statement, 'predicate.packages') as readonly Json[]
    return packages.flatMap((each) => at(each, 'externalRefs.0.referenceLocator') ?? [])
  }
  assert.equal(
    readdirSync(dest).filter((name) => name.endsWith('.json')),
    ['sbom-context.spdx.json', 'sbom-tools.spdx.json', 'sbom.spdx.json'],
  )
  assert.equal(purls('sbom.spdx.json'), ['pkg:deb/debian/bash@5.2?arch=amd64'])
  assert.equal(purls('sbom-tools.spdx.json'), ['pkg:apk/alpine/tool@1-r0?arch=x86_64'])
  assert.equal(purls('sbom-context.spdx.json'), ['pkg:npm/a@1.0.0'])
})

attestTest('a generator image is run on the files, once; what it writes must be statements', [], async (bench) => {
  const statement = '{"_type":"x","predicateType":"https://spdx.dev/Document","predicate":{"found":"%s"}}'
  bench.write({
    'generator/Dockerfile': `FROM ${busybox}
CMD printf '${statement}' "$(cat $BUILDKIT_SCAN_SOURCE/name)$BUILDKIT_SCAN_LEVEL" > $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json
`,
    'broken/Dockerfile': `FROM ${busybox}\nCMD echo hello > $BUILDKIT_SCAN_DESTINATION/a.json\n`,
    Dockerfile: 'FROM scratch\nCOPY name /\n',
    name: 'me',
  })
  for (const name of ['generator', 'broken'])
    await bench.build({ context: join(bench.context, name), tags: [`localhost/${name}`] })
  const dest = join(bench.directory, 'files')
  mkdirSync(dest)
  const outputs = [{ type: 'local' as const, dest }]
  const sbom = { ...defaultSbom, generator: 'localhost/generator', parameters: { LEVEL: '7' } }
  const scan = (): Promise<unknown> => bench.build({ attestations: { sbom, storage: 'index' }, outputs })
  await scan()
  const made = JSON.parse(readFileSync(join(dest, 'sbom.spdx.json'), 'utf8')) as Json
  assert.equal(made.predicate, { found: 'me7' })
  await scan()
  const scans = bench.events.filter((event) => event.type === 'vertex-done' && event.name.includes('scanning with'))
  assert.equal(
    scans.map((event) => event.type === 'vertex-done' && event.cached),
    [true],
  )
  const broken = { ...sbom, generator: 'localhost/broken' }
  await fails('which is not JSON', () => bench.build({ attestations: { sbom: broken, storage: 'index' }, outputs }))
})

test.run()
