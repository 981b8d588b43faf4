import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import { BuildError } from '../../src/core/errors.js'
import type { GitOp, Vertex } from '../../src/graph/op.js'
import { createGitRunner, type GitRunnerOptions } from '../../src/ops/git.js'
import { sshCommand } from '../../src/ops/git-access.js'
import { parseGitRemote, submoduleRemote } from '../../src/ops/git-remote.js'
import type { OpRunner } from '../../src/solver/ports.js'
import { type GitServer, makeRepository, serveGit } from '../helpers/git-server.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeTree } from '../helpers/tree.js'

const ctx = quietContext()

/** Runs of git sources on one store directory. */
interface Bench extends AsyncDisposable {
  readonly root: string
  readonly server: GitServer
  readonly secrets: Map<string, string>
  readonly options: GitRunnerOptions
  /** What a new runner, as that of another build, says. */
  readonly key: (op: Partial<GitOp>) => Promise<string | undefined>
  /** The directory with the files. */
  readonly open: (op: Partial<GitOp>) => Promise<string>
  readonly fail: (op: Partial<GitOp>) => Promise<BuildError>
}

async function openBench(env: Readonly<Record<string, string>> = {}): Promise<Bench> {
  const temp = await tempDirectory()
  const root = join(temp.path, 'repositories')
  mkdirSync(root)
  const directory = join(temp.path, 'git')
  mkdirSync(directory)
  const server = await serveGit(root)
  const secrets = new Map<string, string>()
  const options: GitRunnerOptions = {
    directory,
    scratch: () => mkdtempSync(join(temp.path, 'scratch-')),
    stateDirectory: join(temp.path, 'state'),
    env: { PATH: process.env.PATH, ...env },
    findSecret: async (id) => {
      const value = secrets.get(id)
      return value === undefined ? undefined : Buffer.from(value)
    },
    ssh: {},
  }
  const vertexOf = (op: GitOp): Vertex => ({ id: 'v' as Vertex['id'], op, inputs: [], name: 'ADD', ignoreCache: false })
  const full = (op: Partial<GitOp>): GitOp => ({
    ...{ kind: 'git', remote: `${server.url}/smart/repo/.git`, keepGitDir: false, submodules: true },
    ...{ fetchByCommit: false, mtime: 'checkout' },
    ...op,
  })
  const with_ = <T>(op: Partial<GitOp>, use: (runner: OpRunner<GitOp>, op: GitOp) => T): T =>
    use(createGitRunner(options), full(op))
  const open = (op: Partial<GitOp>): Promise<string> =>
    with_(op, async (runner, each) => {
      const result = await runner.run(each, [], vertexOf(each), ctx)
      if (result.kind !== 'files') throw new Error('no files')
      return result.view.lstat('/')?.hostPath ?? ''
    })
  return {
    ...{ root, server, secrets, options, open },
    key: (op) => with_(op, async (runner, each) => (await runner.key?.(each, [], vertexOf(each), ctx))?.components.commit),
    async fail(op) {
      try {
        await open(op)
      } catch (error) {
        if (error instanceof BuildError) return error
        throw error
      }
      throw new Error('there is no error')
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await temp[Symbol.asyncDispose]()
    },
  }
}

function list(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((path) => !path.includes('.git/'))
    .sort()
}

function read(directory: string, path: string): string {
  return readFileSync(join(directory, path), 'utf8')
}

/** v1 (annotated) < side/branch < main; the tip of main is `latest`. */
function makeHistory(root: string, name = 'repo') {
  const repository = makeRepository(join(root, name))
  const first = repository.commit({ 'a.txt': 'one', 'sub/b.txt': 'B', 'sub/run.sh': '#!/bin/sh\n' })
  repository.git('tag', '-a', 'v1', '-m', 'v1')
  repository.git('branch', 'side/branch')
  const second = repository.commit({ 'a.txt': 'two' })
  const latest = repository.commit({ 'c.txt': 'three' })
  return { ...repository, first, second, latest }
}

for (const kind of ['smart', 'dumb']) {
  test(`references of every form are found on a ${kind} server`, async () => {
    await using bench = await openBench()
    const { first, second, latest, git } = makeHistory(bench.root)
    const remote = `${bench.server.url}/${kind}/repo/.git`
    const key = (ref?: string) => bench.key({ remote, ...(ref === undefined ? {} : { ref }) })
    assert.equal([await key(), await key('main'), await key('refs/heads/main')], [latest, latest, latest])
    assert.equal([await key('v1'), await key('refs/tags/v1'), await key('tags/v1')], [first, first, first])
    assert.equal([await key('side/branch'), await key('heads/side/branch')], [first, first])
    assert.is(await key(second.toUpperCase()), second)
    assert.equal(list(await bench.open({ remote, ref: 'v1' })), ['a.txt', 'sub', 'sub/b.txt', 'sub/run.sh'])
    assert.is(read(await bench.open({ remote }), 'c.txt'), 'three')
    assert.is(read(await bench.open({ remote, ref: second }), 'a.txt'), 'two')
    const tag = git('rev-parse', 'v1')
    for (const checksum of [first, first.slice(0, 8), tag.toUpperCase()]) {
      assert.is(read(await bench.open({ remote, ref: 'v1', checksum }), 'a.txt'), 'one')
    }
    const missing = await bench.fail({ remote, ref: first.slice(0, 8) })
    assert.is(missing.code, 'ADD_GIT_FAILED')
    assert.match(missing.message, 'repository does not contain ref')
    assert.match(missing.hint ?? '', '40 hex digits')
    assert.is((await bench.fail({ remote, ref: 'v1', checksum: latest })).code, 'ADD_CHECKSUM_MISMATCH')
    assert.match((await bench.fail({ remote, ref: 'f'.repeat(40) })).message, /no commit ffff/)
  })
}

test('a commit that is known costs no request, an unchanged branch one look-up', async () => {
  await using bench = await openBench()
  const { first, latest, commit } = makeHistory(bench.root)
  const { requests } = bench.server
  await bench.open({})
  assert.ok(requests.splice(0).length > 2)
  await bench.open({ ref: latest, subdir: 'sub' })
  assert.is(await bench.key({ ref: 'main', checksum: first }), first)
  assert.equal(requests.splice(0), [])
  await bench.open({})
  const lookUp = requests.splice(0)
  assert.ok(lookUp.length <= 2, lookUp.join(' '))
  commit({ 'd.txt': 'four' })
  assert.is(read(await bench.open({}), 'd.txt'), 'four')
})

test('a server that names its commits only by branches and tags is asked for these', async () => {
  await using bench = await openBench()
  const { first, second, git } = makeHistory(bench.root)
  git('config', 'uploadpack.allowAnySHA1InWant', 'false')
  git('config', 'protocol.version', '0')
  git('config', 'uploadpack.hideRefs', 'refs/tags')
  assert.is(read(await bench.open({ ref: first }), 'a.txt'), 'one')
  assert.is(read(await bench.open({ ref: second }), 'a.txt'), 'two')
})

test('fetch-by-commit takes the commit although its branch has moved, and needs the whole id', async () => {
  await using bench = await openBench()
  const { first } = makeHistory(bench.root)
  assert.is(read(await bench.open({ ref: 'main', checksum: first, fetchByCommit: true }), 'a.txt'), 'one')
  assert.match((await bench.fail({ checksum: first.slice(0, 7), fetchByCommit: true })).message, 'whole commit id')
})

test('a repository of sha256 objects is fetched', async () => {
  await using bench = await openBench()
  const { commit, git } = makeRepository(join(bench.root, 'repo'), '--object-format=sha256')
  const id = commit({ 'a.txt': 'long' })
  git('tag', 'v1')
  git('update-server-info')
  for (const kind of ['smart', 'dumb']) {
    const remote = `${bench.server.url}/${kind}/repo/.git`
    assert.is(await bench.key({ remote, ref: 'v1' }), id)
    assert.is(read(await bench.open({ remote, ref: 'v1', checksum: id.slice(0, 9) }), 'a.txt'), 'long')
  }
})

test('a kept .git is a repository without history, credentials or paths of this machine, and the same each time', async () => {
  await using bench = await openBench()
  const { first, git } = makeHistory(bench.root)
  bench.server.authorization = `Basic ${Buffer.from('me:pass word').toString('base64')}`
  const remote = bench.server.url.replace('//', '//me:pass%20word@')
  const open = () => bench.open({ remote: `${remote}/smart/repo/.git`, ref: 'v1', keepGitDir: true })
  const tree = await open()
  const repository = { git: (...args: string[]) => makeRepository(join(bench.root, 'other')).git('-C', tree, ...args) }
  assert.is(repository.git('rev-parse', 'HEAD'), first)
  assert.is(repository.git('status', '--porcelain'), '')
  assert.is(repository.git('describe'), 'v1')
  assert.is(repository.git('rev-parse', 'v1'), git('rev-parse', 'v1'))
  assert.is(repository.git('rev-list', '--count', 'HEAD'), '1')
  assert.is(repository.git('config', 'remote.origin.url'), `${bench.server.url}/smart/repo/.git`)
  const again = await open()
  const files = (directory: string) =>
    readdirSync(directory, { recursive: true, withFileTypes: true, encoding: 'utf8' })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => [path.slice(directory.length), readFileSync(path, 'latin1')])
  // git status above wrote times into the index of the first.
  const third = await open()
  assert.equal(files(third), files(again))
  for (const [path, content] of files(third)) {
    assert.not.match(content ?? '', bench.options.directory, path)
    assert.not.match(content ?? '', 'pass', path)
  }
})

test('submodules come along: relative ones, nested ones, and with .git kept they are known to git', async () => {
  await using bench = await openBench()
  const inner = makeRepository(join(bench.root, 'libs/inner'))
  inner.commit({ 'inner.txt': 'i' })
  const middle = makeRepository(join(bench.root, 'libs/middle'))
  middle.commit({ 'middle.txt': 'm' })
  middle.git('submodule', '--quiet', 'add', '--name', 'in', `${bench.root}/libs/inner`, 'deep/in')
  middle.git('config', '--file', '.gitmodules', 'submodule.in.url', '../../inner/.git')
  middle.commit({})
  const outer = makeRepository(join(bench.root, 'repo'))
  outer.git('submodule', '--quiet', 'add', `${bench.root}/libs/middle`, 'mod')
  outer.git('config', '--file', '.gitmodules', 'submodule.mod.url', '../../libs/middle/.git')
  outer.git('config', '--file', '.gitmodules', 'submodule.mod.update', '!touch /tmp/mille-hostile')
  outer.commit({ 'a.txt': 'o' })
  // A later commit in the submodule: the one that is asked for is no tip any more.
  inner.commit({ 'inner.txt': 'later' })
  const wanted = [
    '.gitmodules',
    'a.txt',
    'mod',
    'mod/.gitmodules',
    'mod/deep',
    'mod/deep/in',
    'mod/deep/in/inner.txt',
    'mod/middle.txt',
  ]
  for (const kind of ['smart', 'dumb']) {
    const tree = await bench.open({ remote: `${bench.server.url}/${kind}/repo/.git` })
    assert.equal(list(tree), wanted)
    assert.is(read(tree, 'mod/deep/in/inner.txt'), 'i')
  }
  assert.equal(list(await bench.open({ submodules: false })), ['.gitmodules', 'a.txt', 'mod'])
  outer.git('config', '--file', '.gitmodules', '--unset', 'submodule.mod.update')
  outer.commit({})
  const kept = await bench.open({ keepGitDir: true })
  const status = outer.git('-C', kept, 'submodule', 'status', '--recursive').split('\n')
  assert.equal(
    status.map((line) => line.trim().split(' ')[1]),
    ['mod', 'mod/deep/in'],
  )
  assert.is(outer.git('-C', kept, 'status', '--porcelain'), '')
  assert.not.ok(existsSync('/tmp/mille-hostile'))
})

test('addresses that run programs, read local files or look like options are refused', async () => {
  const parent = parseGitRemote('https://example.org/a/b.git')
  const hostile = [
    ['ext::sh -c touch% /tmp/mille-hostile', 'blank'],
    ['ext::sh', 'no kind'],
    ['file:///etc', 'no kind'],
    ['/etc', 'no kind'],
    ['--upload-pack=touch /tmp/mille-hostile', 'blank'],
    ['--upload-pack=x', 'no kind'],
    ['ssh://-oProxyCommand=touch/x', 'option'],
    ['-oProxyCommand=x:y', 'no kind'],
    ['../../../../../../x', 'out of the server'],
    ['https://example.org/a\nb', 'blank'],
  ]
  for (const [url = '', reason = ''] of hostile) {
    assert.throws(
      () => submoduleRemote(parent, 'm', url),
      (error: Error) => error.message.includes(reason),
      url,
    )
  }
  const found = ['../c.git', './c', '../../x/y', 'git@example.org:c/d.git', 'ssh://git@example.org:22/c'].map(
    (url) => submoduleRemote(parent, 'm', url).url,
  )
  const at = 'https://example.org'
  assert.equal(found, [`${at}/a/c.git`, `${at}/a/b.git/c`, `${at}/x/y`, 'git@example.org:c/d.git', 'ssh://git@example.org:22/c'])
  const copied = parseGitRemote('git@example.org:team/lib.git')
  assert.is(submoduleRemote(copied, 'm', '../other.git').url, 'git@example.org:team/other.git')
  assert.is(submoduleRemote(copied, 'm', '../../other/x.git').url, 'git@example.org:other/x.git')
  assert.is(parseGitRemote('github.com/a/b').url, 'https://github.com/a/b')

  await using bench = await openBench()
  const outer = makeRepository(join(bench.root, 'repo'))
  outer.git('update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},mod`)
  makeTree(outer.path, { '.gitmodules': `[submodule "m"]\n\tpath = mod\n\turl = file://${bench.root}/repo\n` })
  outer.git('add', '.gitmodules')
  outer.git('commit', '--quiet', '-m', 'x')
  assert.match((await bench.fail({})).message, 'the submodule "m"')
  assert.is((await bench.fail({ remote: 'ext::sh' })).code, 'ADD_GIT_FAILED')
  assert.is((await bench.fail({ ref: '--upload-pack=x' })).code, 'ADD_GIT_FAILED')
})

test('a token opens a repository, and is in no error, argument or file', async () => {
  await using bench = await openBench()
  makeHistory(bench.root)
  const token = 'very-secret-token'
  const basic = Buffer.from(`x-access-token:${token}`).toString('base64')
  bench.server.authorization = `Basic ${basic}`
  const asked = await bench.fail({})
  assert.match(asked.hint ?? '', `GIT_AUTH_TOKEN.${bench.server.host}`)
  bench.secrets.set('GIT_AUTH_TOKEN', 'wrong')
  assert.match((await bench.fail({})).hint ?? '', 'does not accept')
  bench.secrets.set(`GIT_AUTH_TOKEN.${bench.server.host}`, `${token}\n`)
  assert.is(read(await bench.open({}), 'a.txt'), 'two')
  bench.secrets.clear()
  bench.secrets.set('GIT_AUTH_HEADER', `Basic ${basic}`)
  assert.is(read(await bench.open({ ref: 'v1' }), 'a.txt'), 'one')
  const withToken = bench.server.url.replace('//', `//${token}@`)
  const refused = await bench.fail({ remote: `${withToken}/smart/repo/.git`, ref: 'none' })
  assert.not.match(`${refused.message} ${refused.hint} ${String(refused.cause)}`, token)
  for (const path of readdirSync(bench.options.directory, { recursive: true, withFileTypes: true, encoding: 'utf8' })) {
    if (!path.isFile()) continue
    const content = readFileSync(join(path.parentPath, path.name), 'latin1')
    assert.not.ok(content.includes(token) || content.includes(basic), path.name)
  }
})

test('the token of one host is not sent to the submodules of another', async () => {
  await using bench = await openBench()
  await using foreign = await serveGit(bench.root)
  const other = makeRepository(join(bench.root, 'other'))
  const id = other.commit({ x: 'x' })
  const outer = makeRepository(join(bench.root, 'repo'))
  outer.git('update-index', '--add', '--cacheinfo', `160000,${id},mod`)
  makeTree(outer.path, { '.gitmodules': `[submodule "m"]\n\tpath = mod\n\turl = ${foreign.url}/smart/other/.git\n` })
  outer.git('add', '.gitmodules')
  outer.git('commit', '--quiet', '-m', 'x')
  bench.secrets.set('GIT_AUTH_TOKEN', 'token')
  foreign.authorization = `Basic ${Buffer.from('x-access-token:token').toString('base64')}`
  const error = await bench.fail({})
  assert.match(error.message, /submodule mod/)
  assert.match(error.hint ?? '', `GIT_AUTH_TOKEN.${foreign.host}`)
  bench.secrets.set(`GIT_AUTH_TOKEN.${foreign.host}`, 'token')
  assert.is(read(await bench.open({}), 'mod/x'), 'x')
})

test("the user's git configuration and hooks do not run", async () => {
  await using bench = await openBench()
  makeHistory(bench.root)
  const home = join(bench.root, 'home')
  const marker = join(bench.root, 'marker')
  makeTree(home, {
    '.gitconfig': `[core]\n\tsshCommand = touch ${marker}\n\tfsmonitor = touch ${marker}\n[credential]\n\thelper = "!touch ${marker}"\n[url "http://127.0.0.1:9/"]\n\tinsteadOf = http://\n`,
  })
  bench.server.authorization = 'Basic x'
  const env = { HOME: home, XDG_CONFIG_HOME: home, GIT_ASKPASS: `touch ${marker}`, GIT_DIR: home, GIT_CONFIG_COUNT: '9' }
  const runner = createGitRunner({ ...bench.options, env: { ...bench.options.env, ...env } })
  const remote = `${bench.server.url}/smart/repo/.git`
  const op: GitOp = { kind: 'git', remote, keepGitDir: false, submodules: true, fetchByCommit: false, mtime: 'checkout' }
  const vertex: Vertex = { id: 'v' as Vertex['id'], op, inputs: [], name: 'ADD', ignoreCache: false }
  const run = async () => runner.key?.(op, [], vertex, ctx)
  try {
    await run()
    assert.unreachable()
  } catch (error) {
    assert.match(String(error), 'could not read Username')
  }
  assert.not.ok(existsSync(marker))
})

test('a directory of the repository is given alone; links in its path do not lead out', async () => {
  await using bench = await openBench()
  const { commit, git } = makeHistory(bench.root)
  commit({ out: '-> /etc', inside: '-> sub' })
  assert.equal(list(await bench.open({ subdir: 'sub' })), ['b.txt', 'run.sh'])
  assert.equal(list(await bench.open({ subdir: '/inside/' })), ['b.txt', 'run.sh'])
  for (const subdir of ['out', 'none', 'a.txt']) {
    assert.match((await bench.fail({ subdir })).message, subdir)
  }
  const timed = await bench.open({ mtime: 'commit' })
  const { mtimeMs } = statSync(join(timed, 'sub/b.txt'))
  assert.is(mtimeMs / 1000, Number(git('log', '-1', '--format=%ct')))
})

test('what a killed fetch left behind, and damage, are no obstacle; builds at the same time share', async () => {
  await using bench = await openBench()
  const { commit } = makeHistory(bench.root)
  const trees = await Promise.all([1, 2, 3].map(() => bench.open({})))
  for (const tree of trees) assert.is(read(tree, 'a.txt'), 'two')
  const name = readdirSync(bench.options.directory).find((each) => each.endsWith('.git')) ?? ''
  const repository = join(bench.options.directory, name)
  makeTree(repository, { 'shallow.lock': '', 'config.lock': '', 'packed-refs.lock': '' })
  commit({ 'a.txt': 'more' })
  assert.is(read(await bench.open({}), 'a.txt'), 'more')
  const packs = join(repository, 'objects/pack')
  for (const file of readdirSync(packs).filter((each) => each.endsWith('.pack'))) {
    chmodSync(join(packs, file), 0o644)
    writeFileSync(join(packs, file), 'damaged')
  }
  assert.is(read(await bench.open({}), 'a.txt'), 'more')
  rmSync(join(repository, 'objects'), { recursive: true })
  assert.is(read(await bench.open({}), 'a.txt'), 'more')
})

test('a git daemon is a server, too', async () => {
  await using bench = await openBench()
  const { first } = makeHistory(bench.root)
  const port = await freePort()
  const daemon = spawn(
    'git',
    ['daemon', '--export-all', '--reuseaddr', '--listen=127.0.0.1', `--port=${port}`, `--base-path=${bench.root}`],
    {
      stdio: 'ignore',
    },
  )
  try {
    const remote = `git://127.0.0.1:${port}/repo/.git`
    for (let tries = 0; ; tries++) {
      try {
        assert.is(await bench.key({ remote, ref: 'v1' }), first)
        break
      } catch (error) {
        if (tries === 50 || !/Connection refused/.test(String(error))) throw error
        await sleep(100)
      }
    }
    assert.is(read(await bench.open({ remote, ref: 'v1' }), 'a.txt'), 'one')
  } finally {
    daemon.kill()
    await once(daemon, 'close')
  }
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

test('ssh reads no configuration, asks nothing, and remembers the keys of servers in the store', () => {
  const knownHosts = '/var/lib/a b c'
  const { stdout, stderr, status } = spawnSync('sh', ['-c', `${sshCommand(knownHosts)} -G example.org`], {
    encoding: 'utf8',
  })
  if (status === 127) return void process.stdout.write('SKIP: there is no ssh\n')
  assert.is(status, 0, stderr)
  for (const line of ['batchmode yes', 'stricthostkeychecking accept-new', 'identityfile none']) assert.match(stdout, line)
  assert.match(stdout, /^userknownhostsfile "?\/var\/lib\/a b c"? \S*\.ssh\/known_hosts$/m)
})

test('without git there is one clear error', async () => {
  await using bench = await openBench({ PATH: '/nowhere' })
  const error = await bench.fail({})
  assert.match(error.message, 'git is not installed')
})

test.run()
