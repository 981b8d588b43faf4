/**
 * How fast are push and pull alone? 120 MB in four layers to and from a local docker-registry, and a push with one small
 * new layer. Prints sizes, runs and medians; `skopeo copy` of the same image beside it where it is installed.
 *
 * usage: node dist/benchmarks/registry.js [RUNS]
 */
import { execFileSync } from 'node:child_process'
import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { quietContext } from '../src/core/context.js'
import { mediaTypes } from '../src/core/descriptor.js'
import { hexOf } from '../src/core/digest.js'
import { hashing } from '../src/io/stream.js'
import { createRegistryClient } from '../src/registry/client.js'
import { pullBlobs } from '../src/registry/pull.js'
import { pushImage } from '../src/registry/push.js'
import { resolveImage } from '../src/registry/resolve.js'
import { hasProgram, startRegistry } from '../test/helpers/registry.js'
import { type HandMade, imageOf, randomTar } from '../test/registry/image.js'

const amd64 = { os: 'linux', architecture: 'amd64' }

async function timed(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

/** Writes the image as an OCI layout that skopeo can read too. */
function writeLayout(directory: string, image: HandMade): void {
  mkdirSync(join(directory, 'blobs/sha256'), { recursive: true })
  for (const [digest, bytes] of image.blobs) writeFileSync(join(directory, 'blobs/sha256', hexOf(digest)), bytes)
  const digest = execFileSync('sha256sum', { input: image.manifest, encoding: 'utf8' }).slice(0, 64)
  writeFileSync(join(directory, 'blobs/sha256', digest), image.manifest)
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const entry = { mediaType: mediaTypes.ociManifest, digest: `sha256:${digest}`, size: image.manifest.length }
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }))
}

async function push(directory: string, host: string, image: HandMade): Promise<void> {
  await using client = createRegistryClient()
  const request = {
    target: { registry: host, repository: 'app', tag: 'latest' },
    moreTags: [],
    blobs: [...image.layers, image.config],
    manifest: () => ({ mediaType: mediaTypes.ociManifest, bytes: image.manifest }),
    progressId: 'push',
  }
  const ports = {
    openBlob: ({ digest }: { digest: (typeof image.config)['digest'] }) =>
      createReadStream(join(directory, 'blobs/sha256', hexOf(digest)), { highWaterMark: 1024 * 1024 }),
    mountSources: () => [],
  }
  await pushImage(client, request, ports, quietContext())
}

async function pull(directory: string, host: string): Promise<void> {
  await using client = createRegistryClient()
  const reference = { registry: host, repository: 'app', tag: 'latest' }
  const image = await resolveImage(client, reference, amd64, async () => undefined, quietContext())
  const ports = {
    hasBlob: () => false,
    writeBlob: (bytes: AsyncIterable<Uint8Array>, { digest }: { digest: (typeof image.descriptor)['digest'] }) =>
      pipeline(
        hashing(bytes, () => undefined),
        createWriteStream(join(directory, hexOf(digest))),
      ),
  }
  await pullBlobs(client, reference, image.manifest.layers, ports, 'pull', quietContext())
}

async function main(): Promise<void> {
  const runs = Number(process.argv[2] ?? 5)
  const directory = mkdtempSync(join(tmpdir(), 'mille-bench-'))
  const tars = [1, 2, 3, 4].map((n) => randomTar(`layer${n}`, 30_000_000))
  const image = imageOf(tars)
  const topped = imageOf([...tars, randomTar('top', 10_000)])
  writeLayout(join(directory, 'base'), image)
  writeLayout(join(directory, 'topped'), topped)
  const results = new Map<string, number[]>()
  const note = (name: string, ms: number): unknown => results.set(name, [...(results.get(name) ?? []), ms])
  try {
    for (let run = 0; run < runs; run += 1) {
      await using registry = await startRegistry()
      const target = `docker://${registry.host}/app:latest`
      const skopeo = (...args: string[]): unknown => execFileSync('skopeo', ['copy', '-q', ...args], { stdio: 'ignore' })
      note('push 120 MB, cold', await timed(() => push(join(directory, 'base'), registry.host, image)))
      note('push again', await timed(() => push(join(directory, 'base'), registry.host, image)))
      note('push, small new top layer', await timed(() => push(join(directory, 'topped'), registry.host, topped)))
      const into = mkdtempSync(join(directory, 'pull-'))
      note('pull 120 MB', await timed(() => pull(into, registry.host)))
      if (!hasProgram('skopeo')) continue
      note('skopeo: pull 120 MB', await timed(() => skopeo('--src-tls-verify=false', target, `dir:${into}/skopeo`)))
      rmSync(into, { recursive: true })
      await using other = await startRegistry()
      const cold = `docker://${other.host}/app:latest`
      const args = ['--dest-tls-verify=false', '--dest-precompute-digests']
      note('skopeo: push 120 MB, cold', await timed(() => skopeo(...args, `oci:${directory}/base`, cold)))
      note('skopeo: push, small new top layer', await timed(() => skopeo(...args, `oci:${directory}/topped`, cold)))
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
  const bytes = [...image.blobs.values()].reduce((sum, blob) => sum + blob.length, 0)
  console.log(
    `${image.layers.length} layers, ${(bytes / 1e6).toFixed(0)} MB, ${runs} runs; start of the process not counted for mille`,
  )
  for (const [name, values] of results) console.log(`${name.padEnd(36)} ${median(values).toFixed(0).padStart(6)} ms`)
}

await main()
