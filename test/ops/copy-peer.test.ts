/** COPY and ADD beside buildah: the same instructions from scratch must leave the same files. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { FileView } from '../../src/core/view.js'
import { layerStack } from '../../src/layer/stack.js'
import { type Bench, openBench } from '../helpers/copying.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeTree, showTree } from '../helpers/tree.js'

type Options = Parameters<Bench['copy']>[1]

/** Instructions in order, each with what the planner makes of it. */
const steps: readonly (readonly [string, Options])[] = [
  ['COPY src /dir', { from: ['src'], destination: '/dir' }],
  ['COPY src/a /file', { from: ['src/a'], destination: '/file' }],
  ['COPY src/a /new/deep/', { from: ['src/a'], destination: '/new/deep/' }],
  ['COPY src/a src/sub /several/', { from: ['src/a', 'src/sub'], destination: '/several/' }],
  ['COPY src/*.txt /wild/', { from: ['src/*.txt'], destination: '/wild/' }],
  ['COPY src/s* /flat/', { from: ['src/s*'], destination: '/flat/' }],
  ['COPY links /links', { from: ['links'], destination: '/links' }],
  ['COPY src/a /links/into/', { from: ['src/a'], destination: '/links/into/' }],
  ['COPY links/to-a /followed', { from: ['links/to-a'], destination: '/followed' }],
  ['COPY src/sub /dir/sub', { from: ['src/sub'], destination: '/dir/sub' }],
  ['COPY over /dir', { from: ['over'], destination: '/dir' }],
  ['COPY --chown=5:6 src /owned/by', { from: ['src'], destination: '/owned/by', owner: { user: '5', group: '6' } }],
  ['COPY --chmod=0751 src/a /modes/a', { from: ['src/a'], destination: '/modes/a', chmod: '0751' }],
  ['COPY ../src/../src/a /clamped', { from: ['src/a'], destination: '/clamped' }],
  ['ADD archive.tgz /unpacked', { from: [{ path: 'archive.tgz', unpack: 'auto' }], destination: '/unpacked' }],
  ['ADD archive.tgz /dir/', { from: [{ path: 'archive.tgz', unpack: 'auto' }], destination: '/dir/' }],
]

const files = {
  'src/a': 'A',
  'src/b.txt': 'B',
  'src/c.txt': 'C',
  'src/sub/d': 'D',
  'src/sub/empty/': '',
  'links/real/x': 'X',
  'links/into': '-> real',
  'links/to-a': '-> ../src/a',
  'links/broken': '-> /nowhere',
  'over/a': 'other A',
  'over/sub/d': 'other D',
}

/** The merged files of a view in the form of `showTree`. */
function showView(view: FileView, path = ''): string[] {
  return view.readdir(path === '' ? '/' : path).flatMap((name) => {
    const inner = `${path}/${name}`
    const entry = view.lstat(inner)
    if (entry === undefined) return []
    const shown = inner.slice(1)
    const owner = `${entry.mode.toString(8)} ${entry.uid}:${entry.gid}`
    if (entry.type === 'directory') return [`${shown}/ ${owner}`, ...showView(view, inner)]
    if (entry.type === 'symlink') return [`${shown} -> ${view.readlink(inner)}`]
    return [`${shown} ${owner} ${readFileSync(entry.hostPath, 'utf8')}`]
  })
}

test('the files are those that buildah copies', async () => {
  if (spawnSync('buildah', ['--version']).status !== 0) {
    console.log('SKIP: buildah is not installed.')
    return
  }
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const context = makeTree(join(temp.path, 'context'), files)
  // No entry for the directory itself: buildah gives its owner to the destination, docker does not.
  execFileSync('tar', ['-C', join(context, 'src'), '--owner=7', '--group=8', '-czf', join(context, 'archive.tgz'), 'a', 'sub'])
  const stack: string[] = []
  for (const [, options] of steps) stack.push(await bench.copy(bench.context(context), options, stack))
  const ours = showView(layerStack(stack))

  writeFileSync(join(temp.path, 'Dockerfile'), ['FROM scratch', ...steps.map(([text]) => text), ''].join('\n'))
  const buildah = (...args: string[]): string =>
    execFileSync(
      'buildah',
      ['--root', join(temp.path, 'root'), '--runroot', join(temp.path, 'run'), '--storage-driver', 'vfs', ...args],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    ).trim()
  buildah('build', '--isolation', 'chroot', '-q', '-t', 'peer', '-f', join(temp.path, 'Dockerfile'), context)
  const container = buildah('from', 'peer')
  const theirs = showTree(buildah('mount', container))
  buildah('umount', container)
  assert.equal(ours.sort(), theirs.sort())
})

test.run()
