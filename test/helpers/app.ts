/**
 * What must hold for every application of `fixtures/apps`: cached rebuilds, narrow rebuilds, images that other tools
 * accept, and the same result as a peer's.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type BaseName, importBase, whyNoBase } from './bases.js'
import { mille, milleOk, mustRun, projectRoot } from './cli.js'
import { buildah, inspectConfig, podman, podmanRunFlags, unpackWithUmoci } from './peers.js'
import { executedSteps, stepsOf } from './progress.js'
import { withRegistry } from './registry-server.js'
import { compareTrees, describeTree } from './rootfs.js'
import { tempDirectory } from './temp.js'

/** An application under test, with a store and a copy of its sources in a temporary directory. */
export interface App {
  readonly name: string
  readonly root: string
  readonly context: string
  readonly directory: string
  readonly tag: string
}

/** What a test of an application tells of it. */
export interface AppFacts {
  readonly name: string
  readonly base: BaseName
  /** A file that a rebuild finds as it was, though its time is another. */
  readonly touched: string
  /** A file that is changed, and the steps that run again then. */
  readonly edited: string
  readonly rerun: readonly RegExp[]
  /** What is run in the image, and what it prints. */
  readonly command: readonly string[]
  readonly prints: RegExp
  /** What else is to hold. */
  readonly check?: (app: App) => Promise<void>
}

/** Registers the test of one application, from its base image to what other tools make of the result. */
export function appTest({ name, base, touched, edited, rerun, command, prints, check }: AppFacts): void {
  test(`${name} builds, rebuilds from the cache, and is accepted everywhere`, async () => {
    const reason = await whyNoBase(base)
    if (reason !== undefined) return void console.log(`SKIP: ${reason}`)
    await using directory = await tempDirectory()
    const app = await prepareApp(name, base, directory.path)
    const first = await buildApp(app)
    assert.ok(executedSteps(first).length > 2, 'the first build carries its steps out')
    await checkCachedRebuild(app, touched)
    await checkEqualToBuildah(app, base)
    await checkAcceptedByPeers(app, command, prints)
    await checkPushAndPullBack(app)
    await checkNarrowRebuild(app, edited, rerun)
    assert.match(await milleOk(app.root, ['run', '--rm', app.tag, ...command]), prints)
    await check?.(app)
  })
}

/** Copies the sources and imports the base. */
async function prepareApp(name: string, base: BaseName, directory: string): Promise<App> {
  const context = join(directory, 'context')
  cpSync(join(projectRoot, 'fixtures/apps', name), context, { recursive: true })
  const root = join(directory, 'store')
  mkdirSync(root)
  await importBase(root, base)
  return { name, root, context, directory, tag: `localhost/apps/${name}:test` }
}

/** Builds and returns the plain progress. */
export async function buildApp(app: App, args: readonly string[] = []): Promise<string> {
  const ended = await mille(app.root, ['build', '--progress=plain', '-t', app.tag, ...args, app.context], { timeoutMs: 600_000 })
  if (ended.code !== 0) throw new Error(`build of ${app.name}: exit code ${ended.code}\n${ended.stdout}${ended.stderr}`)
  return ended.stderr
}

/** The id of the image that the tag names. */
export async function imageId(app: App): Promise<string> {
  return (await milleOk(app.root, ['inspect', '--format', '{{.Id}}', app.tag])).trim()
}

/** A second build runs nothing and gives the same image; neither does one after `touch`. */
async function checkCachedRebuild(app: App, touched: string): Promise<void> {
  const before = await imageId(app)
  assert.equal(executedSteps(await buildApp(app)), [])
  assert.is(await imageId(app), before)
  utimesSync(join(app.context, touched), new Date(), new Date())
  const again = await buildApp(app)
  assert.equal(executedSteps(again), [])
  assert.ok(stepsOf(again).length > 2, 'the progress names the steps')
  assert.is(await imageId(app), before)
}

/** A change of one file runs exactly the steps that match `expected`, in that order. */
async function checkNarrowRebuild(app: App, changed: string, expected: readonly RegExp[]): Promise<void> {
  const path = join(app.context, changed)
  writeFileSync(path, `${readFileSync(path, 'utf8')}\n`)
  const executed = executedSteps(await buildApp(app))
  assert.is(executed.length, expected.length, `executed: ${executed.join('; ')}`)
  for (const [i, pattern] of expected.entries()) assert.match(executed[i] ?? '', pattern)
}

/** The image as an OCI layout and as a docker archive is read by skopeo, unpacked by umoci, loaded and run by podman. */
async function checkAcceptedByPeers(app: App, command: readonly string[], output: RegExp): Promise<void> {
  const layout = join(app.directory, 'layout')
  const archive = join(app.directory, 'image.tar')
  await buildApp(app, ['-o', `type=oci,dest=${layout},tar=false`])
  await buildApp(app, ['-o', `type=docker,dest=${archive}`])
  const id = await imageId(app)
  for (const source of [`oci:${layout}`, `docker-archive:${archive}`]) {
    const manifest = JSON.parse(await mustRun('skopeo', ['inspect', '--raw', source])) as { config: { digest: string } }
    if (source.startsWith('oci:')) assert.is(manifest.config.digest, id)
    const copy = join(app.directory, `copy-${source.slice(0, 3)}`)
    await mustRun('skopeo', ['copy', '--quiet', source, `oci:${copy}:copied`])
    const rootfs = await unpackWithUmoci(copy, 'copied', join(app.directory, `unpacked-${source.slice(0, 3)}`))
    assert.ok(describeTree(rootfs).size > 1)
  }
  await podman(app.directory, ['load', '--quiet', '-i', archive])
  const printed = await podman(app.directory, ['run', '--rm', ...podmanRunFlags, app.tag, ...command])
  assert.match(printed, output)
}

/** Pushed to a real registry and pulled back by skopeo, manifest and config have the digests that mille said. */
async function checkPushAndPullBack(app: App): Promise<void> {
  await withRegistry(join(app.directory, 'registry'), async (host) => {
    const remote = `${host}/apps/${app.name}:test`
    const metadata = join(app.directory, 'metadata.json')
    await milleOk(app.root, ['build', '--progress=plain', '-t', remote, '--push', '--metadata-file', metadata, app.context])
    const said = JSON.parse(readFileSync(metadata, 'utf8')) as Record<string, string>
    const raw = await mustRun('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${remote}`])
    const { createHash } = await import('node:crypto')
    assert.is(`sha256:${createHash('sha256').update(raw).digest('hex')}`, said['containerimage.digest'])
    const back = join(app.directory, 'back')
    await mustRun('skopeo', [
      'copy',
      '--quiet',
      '--preserve-digests',
      '--src-tls-verify=false',
      `docker://${remote}`,
      `oci:${back}:back`,
    ])
    const manifest = JSON.parse(raw) as { config: { digest: string }; layers: { digest: string }[] }
    for (const { digest } of [manifest.config, ...manifest.layers])
      assert.ok(existsSync(join(back, 'blobs/sha256', digest.slice(7))))
    assert.is(manifest.config.digest, await imageId(app))
  })
}

/** What may differ between two builds of one Dockerfile with any tool: files with times, random numbers or logs in them. */
const volatilePaths = [
  /^\/var\/log\//,
  /^\/var\/cache\/(apt|ldconfig|debconf|man)\//,
  /^\/var\/lib\/(apt|dpkg\/info\/.*\.md5sums$|systemd)\//,
  /^\/(root|home\/[^/]+)\/\.npm(\/|$)/,
  /^\/etc\/(machine-id|shadow-?|passwd-|group-|gshadow-?|subuid-|subgid-|ld\.so\.cache|resolv\.conf|hosts|hostname)$/,
  /^\/(proc|sys|dev|run|tmp)\/./,
  /\/\.package-lock\.json$/,
]

/** Config fields that must be equal; times and history texts are each tool's own. */
const configFields = [
  'Env',
  'Cmd',
  'Entrypoint',
  'WorkingDir',
  'User',
  'ExposedPorts',
  'Volumes',
  'Labels',
  'StopSignal',
  'Healthcheck',
] as const

/** buildah makes the same files and the same config of the same input. */
async function checkEqualToBuildah(app: App, base: BaseName): Promise<void> {
  const baseArchive = join(app.directory, 'base.tar')
  await milleOk(app.root, ['save', '--format', 'oci-archive', '-o', baseArchive, `localhost/base/${base}:latest`])
  await buildah(app.directory, ['pull', '--quiet', `oci-archive:${baseArchive}`])
  const peerTag = `localhost/peer/${app.name}:test`
  const flags = ['--runtime', 'runc', '--format', 'docker', '--network', 'host', '--pull=never', '-t', peerTag]
  await buildah(app.directory, ['build', '--quiet', ...flags, app.context], { timeoutMs: 600_000 })
  const peerLayout = join(app.directory, 'peer-layout')
  await buildah(app.directory, ['push', '--quiet', '--format', 'oci', peerTag, `oci:${peerLayout}:peer`])
  const peerArchive = join(app.directory, 'peer.tar')
  await buildah(app.directory, ['push', '--quiet', peerTag, `docker-archive:${peerArchive}:${peerTag}`])
  const ownLayout = join(app.directory, 'own-layout')
  await buildApp(app, ['-o', `type=oci,dest=${ownLayout},tar=false,name=own`])
  const ignore = (path: string): boolean => volatilePaths.some((pattern) => pattern.test(path))
  const own = describeTree(await unpackWithUmoci(ownLayout, await onlyTag(ownLayout), join(app.directory, 'own')), ignore)
  const peer = describeTree(await unpackWithUmoci(peerLayout, 'peer', join(app.directory, 'peer')), ignore)
  assert.equal(compareTrees(peer, own), [])
  const peerConfig = (await inspectConfig(`docker-archive:${peerArchive}`)).config as Record<string, unknown>
  const ownArchive = join(app.directory, 'image.tar')
  if (!existsSync(ownArchive)) await buildApp(app, ['-o', `type=docker,dest=${ownArchive}`])
  const ownConfig = (await inspectConfig(`docker-archive:${ownArchive}`)).config as Record<string, unknown>
  for (const field of configFields) assert.equal(plain(ownConfig[field], field), plain(peerConfig[field], field), field)
}

/** The name of the only image of a layout. */
async function onlyTag(layout: string): Promise<string> {
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    manifests: { annotations?: Record<string, string> }[]
  }
  return index.manifests[0]?.annotations?.['org.opencontainers.image.ref.name'] ?? 'latest'
}

/** Absent and empty are the same; buildah adds a label of its own. */
function plain(value: unknown, field: string): unknown {
  if (value === undefined || value === null || value === '') return undefined
  if (field === 'Labels') {
    const labels = Object.entries(value as Record<string, string>).filter(([key]) => key !== 'io.buildah.version')
    return labels.length === 0 ? undefined : Object.fromEntries(labels)
  }
  if (field === 'WorkingDir' && value === '/') return undefined
  return Array.isArray(value) && field === 'Env' ? [...value].sort() : value
}
