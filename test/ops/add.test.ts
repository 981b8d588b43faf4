import { execFileSync } from 'node:child_process'
import { chownSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getXattr, setXattr } from '../../src/io/sys.js'
import { layerStack } from '../../src/layer/stack.js'
import { type Bench, openBench } from '../helpers/copying.js'
import { failure } from '../helpers/failure.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeTree, showTree } from '../helpers/tree.js'

function tar(directory: string, archive: string, ...options: string[]): void {
  execFileSync('tar', ['-C', directory, '-cf', archive, ...options, '.'])
}

async function add(
  bench: Bench,
  context: string,
  options: Parameters<Bench['copy']>[1] & { readonly path: string },
  base?: string,
) {
  const { path, ...rest } = options
  const from = [{ path, unpack: 'auto' as const }]
  return bench.copy(bench.context(context), { from, ...rest }, base === undefined ? undefined : [base])
}

test('archives are unpacked by content, whatever compresses them and whatever they are called', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const source = makeTree(join(temp.path, 'source'), { 'd/f': 'F', link: '-> d/f' })
  chownSync(join(source, 'd/f'), 3, 4)
  const context = makeTree(join(temp.path, 'context'), {})
  const forms = [['plain'], ['gzip', '-z'], ['bzip2', '-j'], ['xz', '-J'], ['zstd', '--zstd']] as const
  for (const [name, ...options] of forms) {
    tar(source, join(context, `${name}.data`), ...options)
    const layer = await add(bench, context, { path: `${name}.data`, destination: '/x' })
    assert.equal(showTree(layer), ['x/ 755 0:0', 'x/d/ 755 0:0', 'x/d/f 644 3:4 F', 'x/link -> d/f'], name)
  }
})

test('what is no archive is copied as it is, also when it only looks compressed', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const context = makeTree(join(temp.path, 'context'), { 'a.tar': 'no tar at all', 'b.tar.gz': '', 'empty.tar': '' })
  execFileSync('sh', ['-c', 'echo text | gzip > b.tar.gz'], { cwd: context })
  writeFileSync(join(context, 'c.gz'), Buffer.from([0x1f, 0x8b, 1, 2, 3]))
  for (const path of ['a.tar', 'b.tar.gz', 'empty.tar', 'c.gz']) {
    const layer = await add(bench, context, { path, destination: '/x/' })
    assert.equal(readFileSync(join(layer, 'x', path)), readFileSync(join(context, path)))
  }
  const from = [{ path: 'a.tar', unpack: 'always' as const }]
  const error = await failure(bench.copy(bench.context(context), { from, destination: '/x/' }))
  assert.is(error.code, 'COPY_BAD_ARCHIVE')
})

test('a damaged archive is an error that names it, and leaves nothing behind', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const source = makeTree(join(temp.path, 'source'), { f: 'x'.repeat(100_000) })
  const context = makeTree(join(temp.path, 'context'), {})
  for (const [name, ...options] of [['cut.tar'], ['cut.gz', '-z'], ['cut.xz', '-J']] as const) {
    tar(source, join(temp.path, 'whole'), ...options)
    const whole = readFileSync(join(temp.path, 'whole'))
    writeFileSync(join(context, name), whole.subarray(0, whole.length - (name === 'cut.tar' ? 60_000 : 20)))
    const error = await failure(add(bench, context, { path: name, destination: '/' }))
    assert.is(error.code, 'COPY_BAD_ARCHIVE')
    assert.match(error.message, name)
  }
  assert.equal(
    readdirSync(temp.path).filter((name) => name.startsWith('layer-')),
    [],
  )
})

test('entries that lead out of the destination are refused, links do not lead out of it either', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const context = makeTree(join(temp.path, 'context'), { evil: 'E', 'sub/evil': 'S' })
  execFileSync('tar', ['-C', join(context, 'sub'), '-P', '-cf', join(context, 'up.tar'), '../evil'])
  execFileSync('tar', ['-C', context, '-P', '--transform=s,^,/,', '-cf', join(context, 'abs.tar'), 'evil'])
  const error = await failure(add(bench, context, { path: 'up.tar', destination: '/x' }))
  assert.is(error.code, 'COPY_BAD_ARCHIVE')
  assert.match(error.message, '"../evil" leads out')
  assert.equal(showTree(await add(bench, context, { path: 'abs.tar', destination: '/x' })), ['x/ 755 0:0', 'x/evil 644 0:0 E'])
  makeTree(join(temp.path, 'link'), { l: '-> /../../etc' })
  execFileSync('tar', ['-C', join(temp.path, 'link'), '-cf', join(context, 'link.tar'), 'l'])
  execFileSync('tar', ['-C', context, '--transform=s,^,l/,', '-rf', join(context, 'link.tar'), 'evil'])
  const layer = await add(bench, context, { path: 'link.tar', destination: '/x' })
  assert.equal(showTree(layer), ['x/ 755 0:0', 'x/etc/ 755 0:0', 'x/etc/evil 644 0:0 E', 'x/l -> /../../etc'])
  const base = makeTree(join(temp.path, 'base'), { 'x/l': '-> /out', 'out/old': 'O' })
  execFileSync('tar', ['-C', context, '--transform=s,^,l/,', '-cf', join(context, 'into.tar'), 'evil'])
  const into = await add(bench, context, { path: 'into.tar', destination: '/x' }, base)
  assert.equal(showTree(into), ['x/ 755 0:0', 'x/out/ 755 0:0', 'x/out/evil 644 0:0 E'])
})

test('entries replace what is there, directories merge; hard links, modes, times and xattrs are kept', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const source = makeTree(join(temp.path, 'source'), {
    'dir/new': 'N',
    file: 'now a file',
    'was-file/': '755',
    a: 'A',
    tool: 'T',
  })
  linkSync(join(source, 'a'), join(source, 'a2'))
  setXattr(join(source, 'tool'), 'user.x', Buffer.from('1'))
  chownSync(join(source, 'tool'), 8, 9)
  execFileSync('chmod', ['4755', join(source, 'tool')])
  utimesSync(join(source, 'tool'), 1_000_000, 1_000_000)
  const context = makeTree(join(temp.path, 'context'), {})
  tar(source, join(context, 'a.tar'), '--xattrs')
  const base = makeTree(join(temp.path, 'base'), { 'dir/old': 'O', 'file/inner': 'I', 'was-file': 'W' })
  const layer = await add(bench, context, { path: 'a.tar', destination: '/' }, base)
  const merged = layerStack([base, layer])
  assert.equal(merged.readdir('/dir'), ['new', 'old'])
  assert.is(merged.lstat('/file')?.type, 'file')
  assert.is(merged.lstat('/was-file')?.type, 'directory')
  const tool = lstatSync(join(layer, 'tool'))
  assert.equal([tool.mode & 0o7777, tool.uid, tool.gid, tool.mtimeMs], [0o4755, 8, 9, 1_000_000_000])
  assert.is(getXattr(join(layer, 'tool'), 'user.x')?.toString(), '1')
  assert.is(lstatSync(join(layer, 'a')).ino, lstatSync(join(layer, 'a2')).ino)
  const owned = await add(bench, context, { path: 'a.tar', destination: '/', owner: { user: '5', group: '6' } }, base)
  assert.is(lstatSync(join(owned, 'tool')).uid, 5)
})

test('an archive is not unpacked by COPY', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const context = join(temp.path, 'context')
  mkdirSync(context)
  tar(makeTree(join(temp.path, 'source'), { f: 'F' }), join(context, 'a.tar'))
  const layer = await bench.copy(bench.context(context), { from: ['a.tar'], destination: '/x/' })
  assert.equal(readdirSync(join(layer, 'x')), ['a.tar'])
})

test.run()
