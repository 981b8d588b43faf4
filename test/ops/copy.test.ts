import {
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  lstatSync,
  openSync,
  rmSync,
  type Stats,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BuildError } from '../../src/core/errors.js'
import { fsPath } from '../../src/core/path-bytes.js'
import { getXattr, makeNode, setXattr } from '../../src/io/sys.js'
import { layerStack } from '../../src/layer/stack.js'
import { type Bench, openBench } from '../helpers/copying.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeTree, showTree } from '../helpers/tree.js'

type Options = Parameters<Bench['copy']>[1]
type Files = Readonly<Record<string, string>>

/** Copies from a context of `files` onto a base of `base`; gives the layer as text lines. */
async function copy(files: Files, options: Options, base?: Files, prepare?: (root: string) => void): Promise<string[]> {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'context'), files)
  prepare?.(root)
  const bases = base === undefined ? undefined : [makeTree(join(temp.path, 'base'), base)]
  return showTree(await bench.copy(bench.context(root), options, bases))
}

async function failure(files: Files, options: Options, base?: Files): Promise<BuildError> {
  try {
    await copy(files, options, base)
  } catch (error) {
    if (error instanceof BuildError) return error
    throw error
  }
  throw new Error('the copy succeeded')
}

test('a directory gives its contents, a file goes where the destination says', async () => {
  const files = { 'src/a': 'A', 'src/d/b': 'B', 'src/link': '-> a' }
  assert.equal(await copy(files, { from: ['src'], destination: '/app' }), [
    'app/ 755 0:0',
    'app/a 644 0:0 A',
    'app/d/ 755 0:0',
    'app/d/b 644 0:0 B',
    'app/link -> a',
  ])
  assert.equal(await copy(files, { from: ['src/a'], destination: '/x/y' }), ['x/ 755 0:0', 'x/y 644 0:0 A'])
  assert.equal(await copy(files, { from: ['src/a'], destination: '/x/y/' }), ['x/ 755 0:0', 'x/y/ 755 0:0', 'x/y/a 644 0:0 A'])
  assert.equal(await copy(files, { from: ['src/a'], destination: '/x' }, { 'x/': '700' }), ['x/ 700 0:0', 'x/a 644 0:0 A'])
  assert.equal(await copy(files, { from: ['src/a'], destination: '/' }), ['a 644 0:0 A'])
})

test('a new destination is 0755 whatever the source directory; what is below keeps its modes', async () => {
  const lines = await copy({ 'src/': '700', 'src/d/': '750', 'src/d/f': 'F' }, { from: ['src'], destination: '/app' })
  assert.equal(lines, ['app/ 755 0:0', 'app/d/ 750 0:0', 'app/d/f 644 0:0 F'])
})

test("a directory that exists keeps its metadata at the top and takes the source's below", async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'context'), { 'top/': '755', 'top/sub/': '711', 'top/sub/f': 'F' })
  const base = makeTree(join(temp.path, 'base'), { 'app/': '2770', 'app/sub/': '700', 'app/sub/old': 'O' })
  setXattr(join(base, 'app'), 'user.kept', Buffer.from('1'))
  utimesSync(join(base, 'app'), 1_000_000, 1_000_000)
  const layer = await bench.copy(bench.context(root), { from: ['top'], destination: '/app' }, [base])
  assert.equal(showTree(layer), ['app/ 2770 0:0', 'app/sub/ 711 0:0', 'app/sub/f 644 0:0 F'])
  assert.is(statSync(join(layer, 'app')).mtimeMs, 1_000_000_000)
  assert.is(getXattr(join(layer, 'app'), 'user.kept')?.toString(), '1')
  const merged = layerStack([base, layer])
  assert.equal(merged.readdir('/app/sub'), ['f', 'old'])
})

test('wildcards: no match is success but a missing directory is not, directories are merged flat, * does not cross a slash', async () => {
  const files = { 'a.txt': 'A', 'b.txt': 'B', 'x/c.txt': 'C', 'y/d.txt': 'D', 'y/e/f': 'F' }
  assert.equal(await copy(files, { from: ['*.md'], destination: '/d/' }), [])
  assert.equal(await copy(files, { from: ['*.txt'], destination: '/d/' }), [
    'd/ 755 0:0',
    'd/a.txt 644 0:0 A',
    'd/b.txt 644 0:0 B',
  ])
  const flat = ['d/ 755 0:0', 'd/c.txt 644 0:0 C', 'd/d.txt 644 0:0 D', 'd/e/ 755 0:0', 'd/e/f 644 0:0 F']
  assert.equal(await copy(files, { from: ['[xy]'], destination: '/d/' }), flat)
  assert.equal(await copy(files, { from: ['*/*.txt'], destination: '/d/' }), [
    'd/ 755 0:0',
    'd/c.txt 644 0:0 C',
    'd/d.txt 644 0:0 D',
  ])
  const error = await failure(files, { from: ['nowhere/*'], destination: '/d/' })
  assert.is(error.code, 'COPY_SOURCE_NOT_FOUND')
  assert.match(error.message, '"nowhere" does not exist')
})

test('several files need a destination that is a directory', async () => {
  const error = await failure({ a: '', b: '' }, { from: ['a', 'b'], destination: '/x' })
  assert.is(error.code, 'COPY_DESTINATION_CONFLICT')
  assert.match(error.hint ?? '', '/x/')
})

test('a later source of one COPY replaces what an earlier one put', async () => {
  const files = { 'one/f': '1', 'one/g': '1', 'two/f': '2' }
  assert.equal(await copy(files, { from: ['one', 'two'], destination: '/d/' }), ['d/ 755 0:0', 'd/f 644 0:0 2', 'd/g 644 0:0 1'])
})

test('symlinks in the destination are followed inside the root filesystem, the last one too', async () => {
  const base = {
    'real/': '',
    dir: '-> /real',
    up: '-> ../../../real/in',
    'file.link': '-> target.txt',
    dangling: '-> /new/place',
  }
  assert.equal(await copy({ f: 'F' }, { from: ['f'], destination: '/dir/' }, base), ['real/ 755 0:0', 'real/f 644 0:0 F'])
  assert.equal(await copy({ f: 'F' }, { from: ['f'], destination: '/up/x' }, base), [
    'real/ 755 0:0',
    'real/in/ 755 0:0',
    'real/in/x 644 0:0 F',
  ])
  assert.equal(await copy({ f: 'F' }, { from: ['f'], destination: '/file.link' }, base), ['target.txt 644 0:0 F'])
  assert.equal(await copy({ f: 'F' }, { from: ['f'], destination: '/dangling' }, base), ['new/ 755 0:0', 'new/place 644 0:0 F'])
})

test('a symlink below the destination is replaced by a file and refuses a directory', async () => {
  const base = { 'd/x': '-> /elsewhere', elsewhere: 'kept' }
  assert.equal(await copy({ 's/x': 'X' }, { from: ['s'], destination: '/d' }, base), ['d/ 755 0:0', 'd/x 644 0:0 X'])
  const error = await failure({ 's/x/f': 'X' }, { from: ['s'], destination: '/d' }, base)
  assert.is(error.code, 'COPY_DESTINATION_CONFLICT')
  assert.match(error.message, '"/d/x", which is a symlink')
})

test('a file cannot replace a directory, a directory cannot land on a file', async () => {
  const one = await failure({ 's/x': 'X' }, { from: ['s'], destination: '/d' }, { 'd/x/y': '' })
  assert.is(one.code, 'COPY_DESTINATION_CONFLICT')
  assert.match(one.message, '"/d/x" is a directory')
  const two = await failure({ 's/x': 'X' }, { from: ['s'], destination: '/f' }, { f: '' })
  assert.match(two.message, '"/f", which is a file')
  const three = await failure({ x: 'X' }, { from: ['x'], destination: '/f/g/h' }, { f: '' })
  assert.match(three.message, '"/f" is a file, where a directory is needed')
})

test('owners: contexts are 0:0, --chown takes numbers and names of the rootfs, created parents follow it', async () => {
  const base = { 'etc/passwd': 'root:x:0:0::/:\napp:x:1000:1001::/:/bin/sh\n', 'etc/group': 'root:x:0:\nweb:x:33:\n' }
  const to = { from: ['f'], destination: '/n/f' }
  const line = (owner: string): string[] => [`n/ 755 ${owner}`, `n/f 644 ${owner} F`]
  assert.equal(await copy({ f: 'F' }, { ...to, owner: { user: 'app' } }, base), line('1000:1001'))
  assert.equal(await copy({ f: 'F' }, { ...to, owner: { user: 'app', group: 'web' } }, base), line('1000:33'))
  assert.equal(await copy({ f: 'F' }, { ...to, owner: { user: '7' } }, base), line('7:7'))
  assert.equal(await copy({ f: 'F' }, { ...to, owner: { user: '7', group: '8' } }), line('7:8'))
  const unknown = await failure({ f: 'F' }, { ...to, owner: { user: 'appp' } }, base)
  assert.is(unknown.code, 'COPY_UNKNOWN_USER')
  assert.is(unknown.hint, 'did you mean app?')
  assert.is((await failure({ f: 'F' }, { ...to, owner: { user: 'app' } })).code, 'COPY_UNKNOWN_USER')
  assert.equal(await copy({ f: 'F' }, to, undefined, (root) => chownSync(join(root, 'f'), 9, 9)), line('0:0'))
})

test('--chmod: octal and symbolic, for files and directories, not for created parents', async () => {
  const files = { 's/f': 'F', 's/d/': '700' }
  const options = { from: ['s'], destination: '/a/b' }
  assert.equal(await copy(files, { ...options, chmod: '4711' }), [
    'a/ 755 0:0',
    'a/b/ 755 0:0',
    'a/b/d/ 4711 0:0',
    'a/b/f 4711 0:0 F',
  ])
  assert.equal((await copy(files, { ...options, chmod: 'go=u,u+s,a-w,+X' })).slice(2), ['a/b/d/ 4555 0:0', 'a/b/f 4444 0:0 F'])
  assert.is((await failure(files, { ...options, chmod: 'u+q' })).code, 'DOCKERFILE_BAD_FLAG')
})

test('--exclude leaves out by paths relative to the source directory', async () => {
  const files = { 's/a.log': '', 's/a.txt': 'A', 's/d/b.log': '', 's/d/c.txt': 'C', 's/n/m/x': '', 's/n/keep': 'K' }
  const lines = await copy(files, { from: ['s'], destination: '/d', exclude: ['**/*.log', 'n', '!n/keep'] })
  assert.equal(lines, [
    'd/ 755 0:0',
    'd/a.txt 644 0:0 A',
    'd/d/ 755 0:0',
    'd/d/c.txt 644 0:0 C',
    'd/n/ 755 0:0',
    'd/n/keep 644 0:0 K',
  ])
})

test('--parents keeps the path, all of it or from the pivot on, and knows **', async () => {
  const files = { 'a/b/c.txt': 'C', 'a/b/d.md': 'D', 'a/e/f.txt': 'F', 'g.txt': 'G', 'a/b/': '711' }
  const parents = (path: string): Promise<string[]> => copy(files, { from: [path], destination: '/p/', parents: true })
  assert.equal(await parents('a/b/c.txt'), ['p/ 755 0:0', 'p/a/ 755 0:0', 'p/a/b/ 711 0:0', 'p/a/b/c.txt 644 0:0 C'])
  assert.equal(await parents('a/./b/c.txt'), ['p/ 755 0:0', 'p/b/ 711 0:0', 'p/b/c.txt 644 0:0 C'])
  assert.equal(
    (await parents('**/*.txt')).filter((line) => line.includes('.txt')),
    ['p/a/b/c.txt 644 0:0 C', 'p/a/e/f.txt 644 0:0 F', 'p/g.txt 644 0:0 G'],
  )
  assert.equal(await parents('*/./e/*'), ['p/ 755 0:0', 'p/e/ 755 0:0', 'p/e/f.txt 644 0:0 F'])
  assert.equal((await parents('a/b')).slice(2), ['p/a/b/ 711 0:0', 'p/a/b/c.txt 644 0:0 C', 'p/a/b/d.md 644 0:0 D'])
  const error = await failure(files, { from: ['a/none'], destination: '/p/', parents: true })
  assert.is(error.code, 'COPY_SOURCE_NOT_FOUND')
})

test('sources above the root stop at the root; a source symlink is followed, one inside a directory is copied', async () => {
  const files = { 'd/f': 'F', 'd/l': '-> f', s: '-> d', one: '-> d/f' }
  assert.equal(await copy(files, { from: ['s'], destination: '/x' }), ['x/ 755 0:0', 'x/f 644 0:0 F', 'x/l -> f'])
  assert.equal(await copy(files, { from: ['one'], destination: '/x/' }), ['x/ 755 0:0', 'x/one 644 0:0 F'])
})

test('mtimes, xattrs, capabilities, hard links, fifos, special modes and odd names survive', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'context'), { a: 'A', 'd/x': 'X', tool: 'T', link: '-> a' })
  linkSync(join(root, 'a'), join(root, 'd/a2'))
  setXattr(join(root, 'a'), 'user.note', Buffer.from('n'))
  const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex')
  setXattr(join(root, 'tool'), 'security.capability', capability)
  makeNode(join(root, 'fifo'), 'fifo', 0o640, 0)
  makeNode(join(root, 'socket'), 'socket', 0o640, 0)
  chmodSync(join(root, 'fifo'), 0o640)
  chmodSync(join(root, 'd/x'), 0o6755)
  writeFileSync(fsPath(join(root, 'odd\udcff')), 'O')
  utimesSync(join(root, 'a'), 1_234_567, 1_234_567)
  utimesSync(join(root, 'd'), 1_111_111, 1_111_111)
  const layer = await bench.copy(bench.context(root), { destination: '/t', owner: { user: '5' } })
  const at = (path: string): Stats => lstatSync(fsPath(join(layer, 't', path)))
  assert.is(at('a').mtimeMs, 1_234_567_000)
  assert.is(at('d').mtimeMs, 1_111_111_000)
  assert.is(at('a').ino, at('d/a2').ino)
  assert.is(at('d/x').mode & 0o7777, 0o6755)
  assert.is(at('fifo').isFIFO(), true)
  assert.ok(at('socket').isFile() && at('socket').size === 0, 'a socket becomes an empty file')
  assert.is(at('fifo').mode & 0o7777, 0o640)
  assert.is(at('odd\udcff').size, 1)
  assert.is(at('link').uid, 5)
  assert.is(getXattr(join(layer, 't/a'), 'user.note')?.toString(), 'n')
  assert.equal(getXattr(join(layer, 't/tool'), 'security.capability'), capability)
})

test('many files are written by workers as by one', async () => {
  const files = Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`d${i % 20}/f${i}`, `content ${i}`]))
  const lines = await copy({ ...files, big: 'x'.repeat(3_000_000) }, { destination: '/all', chmod: '640' })
  assert.is(lines.length, 1 + 20 + 2_000 + 1)
  assert.ok(lines.includes('all/d7/f1947 640 0:0 content 1947'))
  assert.ok(lines.includes(`all/big 640 0:0 ${'x'.repeat(3_000_000)}`))
})

test('holes of sparse files stay holes', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'context'), { a: '' })
  const fd = openSync(join(root, 'a'), 'w')
  writeSync(fd, 'end', 64 << 20)
  closeSync(fd)
  const layer = await bench.copy(bench.context(root), { destination: '/t/' })
  const stats = statSync(join(layer, 't/a'))
  assert.is(stats.size, (64 << 20) + 3)
  assert.ok(stats.blocks * 512 < 2 << 20)
})

test('a file that changes between key and copy fails the step and is named', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const changes: ((file: string) => void)[] = [(file) => writeFileSync(file, 'C'), (file) => rmSync(file)]
  for (const [i, change] of changes.entries()) {
    const root = makeTree(join(temp.path, `context${i}`), { a: 'A', b: 'B' })
    setXattr(join(root, 'b'), 'user.x', Buffer.from('1'))
    const view = bench.context(root)
    await bench.key(view, {})
    change(join(root, 'b'))
    try {
      await bench.copy(view, { destination: '/t' })
      assert.unreachable()
    } catch (error) {
      assert.ok(error instanceof BuildError)
      assert.is(error.code, 'CONTEXT_CHANGED')
      assert.match(error.message, 'b" changed')
    }
  }
})

test('copies from a stage keep its owners and see through its layers', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const low = makeTree(join(temp.path, 'low'), { 'o/a': 'low', 'o/b': 'B', 'o/gone': 'G' })
  const high = makeTree(join(temp.path, 'high'), { 'o/a': 'high' })
  makeNode(join(high, 'o/gone'), 'character', 0o600, 0)
  chownSync(join(low, 'o/b'), 3, 4)
  const from = [{ path: 'o', keepOwner: true }]
  const layer = await bench.copy(layerStack([low, high]), { from, destination: '/x' })
  assert.equal(showTree(layer), ['x/ 755 0:0', 'x/a 644 0:0 high', 'x/b 644 3:4 B'])
})

test.run()
