/** Fetching git sources: what is asked of servers of every kind, and what is kept of it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { makeRepository } from '../helpers/git-server.js'
import { makeTree } from '../helpers/tree.js'
import { list, makeHistory, openBench, read } from './git-bench.js'

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

test('without git there is one clear error', async () => {
  await using bench = await openBench({ PATH: '/nowhere' })
  const error = await bench.fail({})
  assert.match(error.message, 'git is not installed')
})

test.run()

test.run()
