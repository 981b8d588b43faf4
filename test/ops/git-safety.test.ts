/** What a git address, a repository, a server and the configuration of the user must not do. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quietContext } from '../../src/core/context.js'
import type { GitOp, Vertex } from '../../src/graph/op.js'
import { createGitRunner } from '../../src/ops/git.js'
import { sshCommand } from '../../src/ops/git-access.js'
import { parseGitRemote, submoduleRemote } from '../../src/ops/git-remote.js'
import { makeRepository, serveGit } from '../helpers/git-server.js'
import { makeTree } from '../helpers/tree.js'
import { makeHistory, openBench, read } from './git-bench.js'

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
  const run = async () => runner.key?.(op, [], vertex, quietContext())
  try {
    await run()
    assert.unreachable()
  } catch (error) {
    assert.match(String(error), 'could not read Username')
  }
  assert.not.ok(existsSync(marker))
})

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

test.run()
