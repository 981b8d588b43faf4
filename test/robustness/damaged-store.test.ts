/**
 * Every kind of file in a store emptied, cut, changed, replaced and removed: a build then gives the right image, from what is
 * left or by making it anew, and everything else that reads the store goes on.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BuildEvent } from '../../src/core/context.js'
import { mediaTypes } from '../../src/core/descriptor.js'
import type { digestOf } from '../../src/core/digest.js'
import { BuildError } from '../../src/core/errors.js'
import { withEngine } from '../../src/engine/engine.js'
import { createLayers } from '../../src/engine/layers.js'
import { build } from '../../src/index.js'
import { layerStack } from '../../src/layer/stack.js'
import { readTextInView } from '../../src/ops/read-text.js'
import { layerDirectories } from '../../src/ops/stack.js'
import { listBuilds, readBuild, readBuildEvents } from '../../src/store/builds.js'
import { openStore } from '../../src/store/store.js'
import { verifyStore } from '../../src/store/verify.js'
import { baseTar } from '../helpers/bases.js'
import { mille, milleOk, mustRun } from '../helpers/cli.js'
import { collect } from '../helpers/collect.js'
import { whyNoBuild } from '../helpers/engine.js'
import { startFake } from '../helpers/registry.js'
import { tempDirectory } from '../helpers/temp.js'
import { imageOf } from '../registry/image.js'

const isThorough = process.env.MILLE_DAMAGE_ALL === '1'
const noBuild = await whyNoBuild()

const platform = { os: 'linux', architecture: 'amd64' }

function dockerfile(base: string): string {
  return `FROM ${base} AS one
WORKDIR /work
COPY src/ ./src/
RUN --mount=type=cache,id=c,target=/caches/c --mount=type=secret,id=s echo run > /run-file; echo x >> /caches/c/log
FROM ${base}
COPY --from=one /work/src/a /run-file /copied/
RUN cat /copied/a /copied/run-file > /both
`
}

interface Site {
  readonly directory: string
  /** The store as it was built; each damage is done to a copy. */
  readonly pristine: string
  readonly context: string
}

/** A store with an image whose base is at a registry: all that is in it can be had again. */
async function withSite(work: (site: Site) => Promise<void>): Promise<void> {
  if (noBuild !== undefined) return void console.log(`SKIP: ${noBuild}`)
  const base = imageOf([readFileSync(await baseTar('busybox'))])
  await using server = await startFake((incoming, response) => {
    const [, kind, name] = /^\/v2\/base\/(manifests|blobs)\/(.+)$/.exec(incoming.url ?? '') ?? []
    const body = kind === 'manifests' ? base.manifest : base.blobs.get((name ?? '') as ReturnType<typeof digestOf>)
    if (body === undefined) return void response.writeHead(incoming.url === '/v2/' ? 200 : 404).end('{}')
    const type = kind === 'manifests' ? mediaTypes.ociManifest : 'application/octet-stream'
    response.writeHead(200, { 'content-type': type, 'content-length': body.length })
    response.end(incoming.method === 'HEAD' ? undefined : body)
  })
  await using directory = await tempDirectory()
  const pristine = join(directory.path, 'pristine')
  const context = join(directory.path, 'context')
  mkdirSync(join(context, 'src'), { recursive: true })
  writeFileSync(join(context, 'Dockerfile'), dockerfile(`${server.host}/base`))
  writeFileSync(join(context, 'src/a'), 'first\n')
  // With the command line, which keeps more memos than the library.
  const secret = `id=s,src=${context}/src/a,cache-key=true`
  await milleOk(pristine, ['build', '-q', '-t', 'app', '--platform=linux/amd64', '--secret', secret, context])
  await milleOk(pristine, ['save', '-o', join(directory.path, 'app.tar'), 'app'])
  await work({ directory: directory.path, pristine, context })
}

async function buildApp(
  root: string,
  { context, directory }: Site,
  onEvent: (event: BuildEvent) => void = () => undefined,
): Promise<void> {
  const secrets = { s: { file: join(context, 'src/a'), inKey: true } }
  const common = { root, stateDirectory: join(directory, 'run'), env: { PATH: process.env.PATH } }
  await build({ ...common, context, platforms: [platform], tags: ['app'], secrets, onEvent })
}

async function expectImage(root: string, source: string, what: string): Promise<void> {
  await withEngine({ root }, async (engine) => {
    const { store } = engine
    const image = store.images.find('docker.io/library/app:latest')
    assert.ok(image !== undefined && store.images.isWhole(image.id), `${what}: the image is whole`)
    const diffIds = image?.diffIds ?? []
    if (image !== undefined) await store.blobs.read({ digest: image.id })
    await createLayers(engine).unpack(diffIds, 'test', engine.ctx)
    assert.is(readTextInView(layerStack(layerDirectories(store, diffIds)), '/both'), `${source}run\n`, what)
  })
}

type Damage = (path: string, others: readonly string[]) => void

/** Writes a file anew: the copy of the store shares its files with the original. */
function replace(path: string, bytes: string | Uint8Array): void {
  rmSync(path)
  writeFileSync(path, bytes)
}

const damages: Readonly<Record<string, Damage>> = {
  emptied: (path) => replace(path, ''),
  cut: (path) => replace(path, readFileSync(path).subarray(0, statSync(path).size / 2)),
  'of another form': (path) => replace(path, '{"value":[null],"key":1,"version":"x","parsed":{"ast":null}}\n'),
  'with one bit changed': (path) => {
    const bytes = readFileSync(path)
    const at = Math.floor(bytes.length / 2)
    bytes[at] = (bytes[at] ?? 0) ^ 1
    replace(path, bytes)
  },
  "replaced by another's": (path, others) => {
    const other = others.find((each) => each !== path)
    if (other !== undefined) replace(path, readFileSync(other))
  },
  removed: (path) => rmSync(path),
}

/** The damages after which a build of something else is made too. */
const isEdited = ['with one bit changed']

/** The files of a store, relative to it, by kind: their folder and ending. What layers hold is left out. */
function filesByKind(root: string): Map<string, string[]> {
  const kinds = new Map<string, string[]>()
  const add = (folder: string, name: string): void => {
    const kind = `${folder.replace(/^records\/.*/, 'records')}/${/\.[a-z]+$/.exec(name)?.[0] ?? (folder === '' ? name : '')}`
    kinds.set(kind, [...(kinds.get(kind) ?? []), join(folder, name)])
  }
  const walk = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const isLayer = folder === 'snapshots' || folder === 'cache-mounts'
      if (!entry.isDirectory()) add(folder, entry.name)
      else if (!isLayer) walk(folder === '' ? entry.name : `${folder}/${entry.name}`)
    }
  }
  walk('')
  return kinds
}

/** What reads a store besides builds. */
async function readEverything(root: string): Promise<void> {
  const history = join(root, 'history')
  for (const found of existsSync(history) ? listBuilds(history) : []) {
    readBuild(found)
    readBuildEvents(found)
  }
  await using store = await openStore(root)
  store.images.list()
  store.images.tags()
  await verifyStore(store, {}, new AbortController().signal)
  await collect(store)
}

/** Damages a copy of the store, and builds with it: the same once more, and with a file changed. */
async function survive(site: Site, told: string, isEdited: boolean, damage: (root: string) => void): Promise<void> {
  const root = join(site.directory, 'store')
  await mustRun('cp', ['-al', site.pristine, root])
  damage(root)
  try {
    // Explanations and memos of files are looked at when something changed.
    for (const content of isEdited ? ['first\n', 'second\n'] : ['first\n']) {
      writeFileSync(join(site.context, 'src/a'), content)
      await buildApp(root, site)
      await expectImage(root, content, told)
      await readEverything(root)
    }
  } catch (error) {
    const code = error instanceof BuildError ? `${error.code} ` : ''
    throw new Error(`${told}: ${code}${error instanceof Error ? error.stack : error}`)
  }
  for (const folder of ['leases', 'claims', 'tmp', 'active', 'condemned'])
    assert.equal(existsSync(join(root, folder)) ? filesIn(join(root, folder)) : [], [], `${told}: nothing is left in ${folder}`)
  rmSync(root, { recursive: true })
}

function filesIn(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => !statSync(join(path, name)).isDirectory())
}

test('whatever file of a store is damaged, the next builds give the right image', async () => {
  await withSite(async (site) => {
    for (const [k, [kind, paths]] of [...filesByKind(site.pristine)].entries()) {
      for (const [i, [what, damage]] of Object.entries(damages).entries()) {
        // In turn, so that each damage is done to several kinds; all to all takes a few minutes.
        if (!isThorough && (i + k) % 2 > 0) continue
        // The files of a kind in turn.
        const chosen = paths[i % paths.length] ?? ''
        await survive(site, `${kind} ${what} (${chosen})`, isEdited.includes(what), (root) =>
          damage(
            join(root, chosen),
            paths.map((path) => join(root, path)),
          ),
        )
      }
    }
  })
})

test('whatever directory of a store is gone, the next builds give the right image', async () => {
  await withSite(async (site) => {
    const folders = readdirSync(site.pristine, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? entry.name : [],
    )
    const layers = readdirSync(join(site.pristine, 'snapshots')).filter((name) => !name.includes('.'))
    for (const folder of [...folders, ...layers.map((name) => `snapshots/${name}`)])
      await survive(site, `${folder} removed`, false, (root) => rmSync(join(root, folder), { recursive: true }))
  })
})

test('what dead processes and strangers left in a store is cleared away or left alone', async () => {
  await withSite(async (site) => {
    await survive(site, 'with things left behind', true, (root) => {
      const files = [
        'leases/dead',
        'claims/step-dead',
        'tmp/dead-0file',
        'tmp/strange',
        'locks/gc',
        'locks/collecting',
        'locks/layers',
      ]
      const folders = [
        'leases/folder/inside',
        'claims/folder/inside',
        'tmp/dead-1folder/inside',
        'tmp/gone-1/inside',
        'locks/odd',
      ]
      for (const folder of [
        ...folders,
        'active/dead/id/fs/half',
        'active/orphan',
        'condemned/layers',
        'records/zz',
        'layers/odd.json',
      ])
        mkdirSync(join(root, folder), { recursive: true })
      for (const file of [
        ...files,
        'active/dead/id/fs/half/file',
        'condemned/layers/odd',
        'records/zz/odd.json',
        'tags/odd.json',
      ])
        writeFileSync(join(root, file), 'layer:x\nnot what is expected')
      const images = readdirSync(join(site.pristine, 'images'))
      // A collection that was killed when it had moved everything.
      mkdirSync(join(root, 'condemned/images'), { recursive: true })
      for (const image of images) renameSync(join(root, 'images', image), join(root, 'condemned/images', image))
    })
  })
})

test('a store of a newer version is refused by every command, and nothing in it is touched', async () => {
  await withSite(async ({ pristine, context, directory }) => {
    writeFileSync(join(pristine, 'version.json'), '{"version":2}\n')
    const look = (): Promise<string> => mustRun('find', [pristine, '-printf', '%p %s %T@ %C@\n'])
    const before = await look()
    const commands = [
      ['build', '-t', 'app', context],
      ['build', '--dry-run', context],
      ['images'],
      ['prune', '-f', '--all'],
      ['rmi', 'app'],
      ['tag', 'app', 'other'],
      ['run', '--rm', 'app', 'true'],
      ['import', await baseTar('busybox'), 'other'],
      ['save', '-o', join(directory, 'saved.tar'), 'app'],
      ['load', '-i', join(directory, 'app.tar')],
      ['inspect', 'app'],
      ['history', 'ls'],
      ['history', 'rm', '--all'],
    ]
    for (const args of commands) {
      const { code, stderr } = await mille(pristine, args)
      assert.ok(code !== 0 && code !== 70, `mille ${args.join(' ')}: exit code ${code}`)
      assert.match(stderr, /has version 2, this mille knows 1 \[STORE_NEWER_VERSION\]/)
    }
    assert.is(await look(), before)
  })
})

test.run()
