/** Contexts from everywhere but git: stdin, http, images, layouts. Real servers, real tars, real programs. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BuildOptions } from '../../src/engine/options.js'
import { projectRoot, runProgram } from '../helpers/cli.js'
import { type Bench, makeBench } from '../helpers/engine.js'
import { failure } from '../helpers/failure.js'
import { serveFiles } from '../helpers/file-server.js'
import { pax, type RawEntry, rawTar } from '../helpers/raw-tar.js'
import { makeTree, showTree } from '../helpers/tree.js'
import { within } from '../helpers/within.js'

const limitMs = 60_000
const copyAll = 'FROM scratch\nCOPY . /\n'

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000)
}

function tarOf(files: Readonly<Record<string, string>>): Buffer {
  return rawTar(Object.entries(files).map(([name, content]) => ({ name, content, uid: 7 })))
}

const isRoot = process.getuid?.() === 0

/** The files of the result with their owners. */
async function filesOf(bench: Bench, options: Partial<BuildOptions>): Promise<string[]> {
  const [dest, tree] = [join(bench.directory, 'out.tar'), join(bench.directory, 'out')]
  rmSync(tree, { recursive: true, force: true })
  mkdirSync(tree)
  await within(limitMs, bench.build({ ...options, outputs: [{ type: 'tar', dest }] }))
  execFileSync('tar', ['-C', tree, '-xpf', dest, '--numeric-owner'])
  const lines = showTree(tree)
  // Only root can give files away.
  return isRoot ? lines : lines.map((line) => line.replace(/ (\d+) \d+:\d+/, ' $1 0:0'))
}

/** What is left in the store of unpacked contexts. */
function leftovers(root: string): string[] {
  const folder = join(root, 'tmp')
  return existsSync(folder) ? readdirSync(folder) : []
}

for (const [program, ...args] of [['cat'], ['gzip'], ['bzip2'], ['xz'], ['zstd', '-q', '-c']] as const) {
  test(`a tar on stdin and by URL that went through ${program} is a context, and nothing of it stays`, async () => {
    using bench = await makeBench({ base: false })
    const body = execFileSync(program, args, { input: tarOf({ Dockerfile: copyAll, 'd/f': 'F' }) })
    await using server = await serveFiles({ '/any.name': { body } })
    const wanted = ['Dockerfile 644 0:0 FROM scratch\nCOPY . /\n', 'd/ 755 0:0', 'd/f 644 0:0 F']
    assert.equal(await filesOf(bench, { context: '-', stdin: chunks(body) }), wanted)
    assert.equal(await filesOf(bench, { context: `${server.url}/any.name` }), wanted)
    assert.equal(leftovers(bench.root), [])
  })
}

test('a context by URL is fetched once while its ETag stays, and again when it changed', async () => {
  using bench = await makeBench({ base: false })
  const body = tarOf({ 'sub/Dockerfile': 'FROM scratch\nCOPY f /\n', f: 'one' })
  await using server = await serveFiles({ '/a.tar': { body } })
  const options = { context: `${server.url}/a.tar`, dockerfile: { path: 'sub/Dockerfile' } }
  assert.equal(await filesOf(bench, options), ['f 644 0:0 one'])
  assert.equal(await filesOf(bench, options), ['f 644 0:0 one'])
  assert.equal(bench.ran(), [])
  server.files.set('/a.tar', { body: tarOf({ 'sub/Dockerfile': 'FROM scratch\nCOPY f /\n', f: 'two' }) })
  assert.equal(await filesOf(bench, options), ['f 644 0:0 two'])
  assert.equal(server.log, ['GET /a.tar 200', 'GET /a.tar 304', 'GET /a.tar 200'])
})

test('what is no archive is a Dockerfile alone, on stdin and by URL; then nothing else may name one', async () => {
  using bench = await makeBench({ base: false })
  const body = 'FROM scratch\nCOPY <<EOF /f\ntext\nEOF\n'
  await using server = await serveFiles({ '/Dockerfile': { body } })
  const context = `${server.url}/Dockerfile`
  assert.equal(await filesOf(bench, { context }), ['f 644 0:0 text\n'])
  assert.equal(await filesOf(bench, { context: '-', stdin: chunks(Buffer.from(body)) }), ['f 644 0:0 text\n'])
  assert.equal(await filesOf(bench, { context: bench.context, dockerfile: { path: context } }), ['f 644 0:0 text\n'])
  assert.is((await failure(bench.build({ context, dockerfile: { path: 'other' } }))).code, 'USAGE_BAD_ARGUMENT')
})

test('-f is stdin or a URL with a directory and with a URL, a path in a context that was fetched, and never stdin twice', async () => {
  using bench = await makeBench({ base: false })
  bench.write({ f: 'local', '.dockerignore': 'secret\n', secret: 'S' })
  const body = tarOf({ f: 'remote', Dockerfile: 'FROM scratch\n' })
  await using server = await serveFiles({ '/a.tar': { body }, '/D': { body: copyAll } })
  const stdin = (): AsyncIterable<Uint8Array> => chunks(Buffer.from('FROM scratch\nCOPY f /g\n'))
  const context = `${server.url}/a.tar`
  assert.equal(await filesOf(bench, { dockerfile: { path: '-' }, stdin: stdin() }), ['g 644 0:0 local'])
  assert.equal(await filesOf(bench, { context, dockerfile: { path: '-' }, stdin: stdin() }), ['g 644 0:0 remote'])
  const local = await filesOf(bench, { dockerfile: { path: `${server.url}/D` } })
  assert.equal(local, ['.dockerignore 644 0:0 secret\n', 'f 644 0:0 local'])
  assert.is((await filesOf(bench, { context, dockerfile: { path: `${server.url}/D` } })).length, 2)
  writeFileSync(join(bench.directory, 'Own'), 'FROM scratch\nCOPY f /own\n')
  assert.equal(await filesOf(bench, { context, dockerfile: { path: join(bench.directory, 'Own') } }), ['own 644 0:0 remote'])
  const both = { context: '-', dockerfile: { path: '-' }, stdin: stdin() }
  assert.match((await failure(bench.build(both))).message, 'cannot be both')
  assert.match((await failure(bench.build({ context: '-', stdin: chunks(Buffer.alloc(0)) }))).message, 'nothing came')
  const missing = await failure(bench.build({ context, dockerfile: { path: 'none' } }))
  assert.is(missing.message, `there is no file none in the context ${context}`)
})

test('an ignore file in a fetched context does not count, and a warning says so; the message names the context', async () => {
  using bench = await makeBench({ base: false })
  const body = tarOf({ Dockerfile: 'FROM scratch\nCOPY secret /\nCOPY none /\n', '.dockerignore': 'secret\n', secret: 'S' })
  await using server = await serveFiles({ '/a.tar': { body } })
  const context = `${server.url.replace('//', '//me:password@')}/a.tar`
  const error = await failure(bench.build({ context }))
  assert.is(error.message, `"none" does not exist in the build context "${server.url}/a.tar"`)
  const warnings = bench.events.flatMap((event) => (event.type === 'warning' ? [event.diagnostic.code] : []))
  assert.equal(warnings, ['IgnoreFileNotUsed'])
  assert.equal(
    bench.events.filter((event) => JSON.stringify(event).includes('password')),
    [],
  )
})

test('named contexts: an archive by URL is unpacked, another file is called context; each is fetched only when it is used', async () => {
  using bench = await makeBench({ base: false })
  await using server = await serveFiles({ '/a.tar': { body: tarOf({ f: 'F' }) }, '/data': { body: 'no archive' } })
  bench.write({
    Dockerfile:
      'FROM scratch AS first\nCOPY --from=tar f /\nCOPY --from=data context /\nFROM scratch AS other\nCOPY --from=none f /\nFROM first\n',
  })
  const buildContexts = { tar: `${server.url}/a.tar`, data: `${server.url}/data`, none: `${server.url}/none` }
  assert.equal(await filesOf(bench, { buildContexts }), ['context 600 0:0 no archive', 'f 644 0:0 F'])
  assert.equal([...server.log].sort(), ['GET /a.tar 200', 'GET /data 200'])
  assert.equal(leftovers(bench.root), [])
  assert.match((await failure(bench.build({ buildContexts, target: 'other' }))).message, '404')
})

test('a named context for a platform goes before one for all, and before stages and images; :latest may be left out', async () => {
  using bench = await makeBench({ base: false })
  for (const name of ['any', 'exact', 'image']) makeTree(join(bench.directory, name), { f: name })
  bench.write({ Dockerfile: 'FROM scratch AS stage\nFROM scratch\nCOPY --from=stage f /1\nCOPY --from=some/image:latest f /2\n' })
  const [any, exact, image] = ['any', 'exact', 'image'].map((name) => join(bench.directory, name))
  const buildContexts = { stage: String(any), 'stage::linux/amd64': String(exact), 'some/image': String(image) }
  const platform = { os: 'linux', architecture: 'amd64' }
  assert.equal(await filesOf(bench, { platforms: [platform], buildContexts }), ['1 644 0:0 exact', '2 644 0:0 image'])
  const arm = { os: 'linux', architecture: 'arm64' }
  assert.equal(await filesOf(bench, { platforms: [arm], buildContexts }), ['1 644 0:0 any', '2 644 0:0 image'])
})

test('kinds of contexts that there are not are errors that name them', async () => {
  using bench = await makeBench({ base: false })
  bench.write({ Dockerfile: 'FROM scratch\n' })
  for (const value of ['target:base', 'input:base', 'ftp://host/a.tar', '-', 'oci-layout://']) {
    const error = await failure(bench.build({ buildContexts: { x: value } }))
    assert.is(error.code, 'CONTEXT_UNSUPPORTED', value)
    assert.match(error.message, `x=${value}`)
  }
})

test('an image of an OCI layout is a base, a source and a main context, found by tag, by digest and by platform', async () => {
  using bench = await makeBench({ base: false })
  const layout = join(bench.directory, 'layout')
  bench.write({
    Dockerfile:
      'FROM scratch\nARG TARGETARCH\nENV A=1\nCOPY --chown=5:6 $TARGETARCH /f\nCOPY <<EOF /Dockerfile\nFROM scratch\nCOPY f /copied\nEOF\n',
    amd64: 'A',
    arm64: 'B',
  })
  const make = async (architecture: string): Promise<void> => {
    const dest = join(layout)
    await bench.build({
      platforms: [{ os: 'linux', architecture }],
      outputs: [{ type: 'oci', dest, tar: false, names: [`x:${architecture}`] }],
    })
  }
  await make('amd64')
  const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] }
  const use = { name: 'Dockerfile', text: 'FROM base\nCOPY --from=base f /g\n' }
  const owner = isRoot ? '5:6' : '0:0'
  const wanted = (f: string): string[] => [`f 644 ${owner} ${f}`, `g 644 ${owner} ${f}`]
  const build = async (suffix: string, platforms?: BuildOptions['platforms']): Promise<string[]> => {
    const files = await filesOf(bench, { dockerfile: use, platforms, buildContexts: { base: `oci-layout://${layout}${suffix}` } })
    return files.filter((line) => !line.startsWith('Dockerfile'))
  }
  assert.equal(await build(''), wanted('A'))
  await make('arm64')
  assert.equal(await build(':arm64', [{ os: 'linux', architecture: 'arm64' }]), wanted('B'))
  assert.equal(await build(`@${manifests[0]?.digest}`), wanted('A'))
  assert.equal(await filesOf(bench, { context: `oci-layout://${layout}:amd64` }), [`copied 644 ${owner} A`])
  const unknown = await failure(build(':none'))
  assert.equal([unknown.code, unknown.hint], ['IMAGE_NOT_FOUND', 'it has amd64, arm64'])
  assert.is((await failure(build(`@sha256:${'0'.repeat(64)}`))).code, 'IMAGE_NOT_FOUND')
  assert.is((await failure(build('-none'))).code, 'ARCHIVE_BAD')
})

test('a layout that skopeo made of several platforms gives the one that is asked for; a damaged one is an error', async () => {
  const { code } = await runProgram('skopeo', ['--version'])
  if (code !== 0) return console.log('SKIP: skopeo is not installed')
  using bench = await makeBench({ base: false })
  const layout = join(bench.directory, 'layout')
  bench.write({ Dockerfile: 'FROM scratch\nCOPY f /\n', f: 'F' })
  await bench.build({ outputs: [{ type: 'oci', dest: join(bench.directory, 'a.tar') }] })
  execFileSync('skopeo', ['copy', '-q', `oci-archive:${join(bench.directory, 'a.tar')}`, `oci:${layout}:v1`])
  using other = await makeBench({ base: false })
  const options = { dockerfile: { name: 'D', text: 'FROM base\n' }, buildContexts: { base: `oci-layout://${layout}:v1` } }
  assert.equal(await filesOf(other, options), ['f 644 0:0 F'])
  const blobs = join(layout, 'blobs/sha256')
  for (const name of readdirSync(blobs))
    writeFileSync(join(blobs, name), `${readFileSync(join(blobs, name), 'latin1')} `, 'latin1')
  assert.is((await failure(other.build(options))).code, 'STORE_DIGEST_MISMATCH')
})

/** Archives of somebody who means harm, and what the message says. */
const hostile: readonly (readonly [string, readonly RawEntry[] | Buffer, string])[] = [
  ['a name with ..', [{ name: '../../escaped', content: 'x' }], '"../../escaped" leads out'],
  [
    'a link out and a file below it',
    [
      { name: 'l', type: '2', target: '../../..' },
      { name: 'l/escaped', content: 'x' },
    ],
    'leads out of the root',
  ],
  [
    'an absolute link and a file below it',
    [
      { name: 'l', type: '2', target: '/tmp' },
      { name: 'l/escaped', content: 'x' },
    ],
    'no directory of the archive',
  ],
  ['a hard link to a file of this machine', [{ name: 'passwd', type: '1', target: '../../../../../etc/passwd' }], 'leads out'],
  ['a block device', [{ name: 'sda', type: '4', device: [8, 0] }], '"sda" is a block device'],
  ['a character device', [{ name: 'null', type: '3', device: [1, 3] }], '"null" is a character device'],
  ['a file larger than the disk', [pax({ size: String(2 ** 50) }), { name: 'f' }], 'unpacks to more than'],
  ['an archive that is cut off', rawTar([{ name: 'f', content: 'x'.repeat(5000) }]).subarray(0, 3000), 'in the middle'],
  ['gzip that is no tar', execFileSync('gzip', { input: 'x'.repeat(2000) }), 'not a tar archive'],
  ['gzip that is cut off', execFileSync('gzip', { input: rawTar([{ name: 'f', content: 'x' }]) }).subarray(0, 60), 'too early'],
]

test('hostile and damaged archives are one clear error each, touch nothing outside, and leave nothing', async () => {
  using bench = await makeBench({ base: false })
  for (const [what, entries, says] of hostile) {
    const bytes =
      entries instanceof Buffer ? entries : rawTar([{ name: 'Dockerfile', content: copyAll }, ...(entries as RawEntry[])])
    const error = await failure(within(limitMs, bench.build({ context: '-', stdin: chunks(bytes) })))
    assert.is(error.code, 'CONTEXT_BAD_ARCHIVE', `${what}: ${error.message}`)
    assert.match(error.message, says, what)
    assert.match(error.message, /^the context on stdin cannot be unpacked: /)
    assert.equal(leftovers(bench.root), [], what)
    assert.not(existsSync(join(bench.directory, 'escaped')))
    assert.not(existsSync('/tmp/escaped'))
  }
})

test('a Dockerfile in a fetched context that links out of it is not followed; absolute names stay inside', async () => {
  using bench = await makeBench({ base: false })
  writeFileSync(join(bench.directory, 'outside'), 'FROM scratch\n')
  const link = rawTar([{ name: 'Dockerfile', type: '2', target: join(bench.directory, 'outside') }])
  assert.is((await failure(bench.build({ context: '-', stdin: chunks(link) }))).code, 'DOCKERFILE_NOT_FOUND')
  const absolute = rawTar([
    { name: '/Dockerfile', content: 'FROM scratch\nCOPY etc/f /\n' },
    { name: '/etc/f', content: 'F' },
  ])
  assert.equal(await filesOf(bench, { context: '-', stdin: chunks(absolute) }), ['f 644 0:0 F'])
})

/** `mille build -` that was given a part of a tar and waits for the rest. */
async function startHalf(bench: Bench, program: readonly string[]): Promise<ReturnType<typeof spawn>> {
  const [file = '', ...args] = program
  const env = { ...process.env, MILLE_ROOT: bench.root }
  const child = spawn(file, args, { env, stdio: ['pipe', 'ignore', 'ignore'] })
  child.stdin?.on('error', () => undefined)
  child.stdin?.write(rawTar([{ name: 'big', content: 'x'.repeat(200_000) }]).subarray(0, 150_000))
  const appeared = async (): Promise<void> => {
    while (leftovers(bench.root).length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await within(limitMs, appeared())
  return child
}

test('Ctrl-C removes a half unpacked context at once, kill -9 leaves it to the next command', async () => {
  using bench = await makeBench({ base: false })
  bench.write({ Dockerfile: 'FROM scratch\nCOPY . /\n' })
  const command = [join(projectRoot, 'bin/mille'), 'build', '-q', '-']
  for (const signal of ['SIGINT', 'SIGKILL'] as const) {
    const child = await startHalf(bench, command)
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    child.kill(signal)
    const code = await within(limitMs, ended)
    if (signal === 'SIGINT') assert.equal([code, leftovers(bench.root)], [130, []])
    else assert.is.not(leftovers(bench.root).length, 0)
  }
  await bench.build()
  assert.equal(leftovers(bench.root), [])
})

test('a context given by an AbortSignal that aborts is removed', async () => {
  using bench = await makeBench({ base: false })
  const controller = new AbortController()
  async function* endless(): AsyncGenerator<Uint8Array, void, void> {
    yield rawTar([{ name: 'big', content: 'x'.repeat(2_000_000) }]).subarray(0, 1_000_000)
    controller.abort()
    await new Promise((resolve) => setTimeout(resolve, 3_600_000).unref())
  }
  const error = await failure(within(limitMs, bench.build({ context: '-', stdin: endless(), signal: controller.signal })))
  assert.is(error.code, 'CANCELLED')
  assert.equal(leftovers(bench.root), [])
})

test.run()
