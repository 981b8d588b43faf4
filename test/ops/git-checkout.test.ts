/** What a check-out holds beside the files of one commit: a `.git` where it is asked for, and submodules. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { makeRepository } from '../helpers/git-server.js'
import { list, makeHistory, openBench, read } from './git-bench.js'

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

test.run()
