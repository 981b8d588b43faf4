import {
  appendFileSync,
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fingerprint } from '../../src/context/fingerprint.js'
import { ContextTree } from '../../src/context/tree.js'
import { BuildError } from '../../src/core/errors.js'
import { fsPath } from '../../src/core/path-bytes.js'
import { compileIgnore } from '../../src/frontend/dockerignore.js'
import { setXattr } from '../../src/io/sys.js'
import { type Bench, openBench } from '../helpers/copying.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeTree } from '../helpers/tree.js'

type Options = Parameters<Bench['key']>[1]

async function digest(bench: Bench, root: string, options: Options = {}, ignore: readonly string[] = []): Promise<string> {
  const parts = await bench.key(bench.context(root, ignore), options)
  return parts.components['files.0'] ?? ''
}

function codeOf(error: unknown): string {
  return error instanceof BuildError ? error.code : String(error)
}

test('a selection has the same digest when nothing but times changed', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { 'a.txt': 'a', 'src/b.txt': 'b' })
  const before = await digest(bench, root)
  utimesSync(join(root, 'a.txt'), 1, 1)
  utimesSync(join(root, 'src'), 1, 1)
  assert.is(await digest(bench, root), before)
})

test('a copy of the context elsewhere has the same digest', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const files = { 'a.txt': 'a', 'src/b.txt': 'b', 'src/empty/': '', link: '-> a.txt' }
  const one = await digest(bench, makeTree(join(temp.path, 'one'), files))
  assert.is(await digest(bench, makeTree(join(temp.path, 'two'), files)), one)
})

test('content, mode, type, name, link target, xattr and hard links are in the digest', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const seen = new Set<string>()
  const make = async (name: string, change: (root: string) => void): Promise<void> => {
    const root = makeTree(join(temp.path, name), { 'a.txt': 'a', 'b.txt': 'a', link: '-> a.txt', 'd/': '755' })
    change(root)
    seen.add(await digest(bench, root))
  }
  await make('same', () => undefined)
  await make('content', (root) => writeFileSync(join(root, 'a.txt'), 'b'))
  await make('mode', (root) => writeFileSync(join(root, 'c.txt'), 'x', { mode: 0o600 }))
  await make('name', (root) => renameSync(join(root, 'b.txt'), join(root, 'c.txt')))
  await make('directory', (root) => mkdirSync(join(root, 'd/e')))
  await make('target', (root) => {
    rmSync(join(root, 'link'))
    symlinkSync('b.txt', join(root, 'link'))
  })
  await make('hard link', (root) => {
    rmSync(join(root, 'b.txt'))
    linkSync(join(root, 'a.txt'), join(root, 'b.txt'))
  })
  await make('xattr', (root) => setXattr(join(root, 'a.txt'), 'user.mille', Buffer.from('1')))
  assert.is(seen.size, 8)
})

test('an edit that restores size and mtime is noticed, at once and later', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { 'a.txt': 'one', 'b.txt': 'b' })
  const path = join(root, 'a.txt')
  const edit = (text: string): void => {
    const { atimeMs, mtimeMs } = statSync(path)
    writeFileSync(path, text)
    utimesSync(path, atimeMs / 1000, mtimeMs / 1000)
  }
  const seen = [await digest(bench, root)]
  edit('two')
  seen.push(await digest(bench, root))
  edit('six')
  seen.push(await digest(bench, root))
  await sleep(150)
  assert.is(await digest(bench, root), seen[2])
  assert.is(await digest(bench, root), seen[2])
  edit('ten')
  seen.push(await digest(bench, root))
  assert.is(new Set(seen).size, 4)
})

test('files that changed within the last moments are not believed the next time', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { 'a.txt': 'a' })
  const view = bench.context(root)
  await bench.key(view, {})
  const entry = view.lstat('/a.txt')
  assert.ok(entry !== undefined)
  assert.is(view.known(entry), undefined)
  await sleep(150)
  const later = bench.context(root)
  await bench.key(later, {})
  const again = later.lstat('/a.txt')
  assert.ok(again !== undefined && later.known(again) !== undefined)
})

test('many files are hashed in workers to the same digest as alone', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const files = Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`d${i % 30}/f${i}`, `content ${i}`]))
  const root = makeTree(join(temp.path, 'c'), files)
  const together = await digest(bench, root)
  writeFileSync(join(root, 'd1/f1'), 'changed')
  const changed = await digest(bench, root)
  writeFileSync(join(root, 'd1/f1'), 'content 1')
  assert.is.not(changed, together)
  assert.is(await digest(bench, root), together)
})

test('what is ignored or not selected is never opened and changes nothing', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { 'a.txt': 'a', 'x.log': '1', 'deep/x.log': '1', 'other/b': 'b' })
  const ignore = ['**/*.log', 'secret']
  const all = await digest(bench, root, {}, ignore)
  const one = await digest(bench, root, { from: ['a.txt'] }, ignore)
  appendFileSync(join(root, 'x.log'), '2')
  makeTree(root, { 'secret/key': 'k', 'deep/y.log': '' })
  assert.is(await digest(bench, root, {}, ignore), all)
  appendFileSync(join(root, 'other/b'), 'c')
  assert.is.not(await digest(bench, root, {}, ignore), all)
  assert.is(await digest(bench, root, { from: ['a.txt'] }, ignore), one)
})

test('an ignored file is never opened and an ignored directory never listed', async () => {
  if (process.geteuid?.() !== 0) {
    console.log("SKIP: only root can take another user's place.")
    return
  }
  await using temp = await tempDirectory()
  const own = join(temp.path, 'own')
  mkdirSync(own)
  chownSync(own, 65534, 65534)
  await using rootBench = openBench(temp.path)
  await using bench = openBench(own)
  const root = makeTree(join(temp.path, 'c'), { a: 'a', 'd/b': 'b', 'd/secret': 's', 'closed/f': 'f', 'other/f': 'f' })
  const before = await digest(rootBench, root, {}, ['**/secret', 'closed', 'other'])
  chmodSync(temp.path, 0o755)
  chmodSync(join(root, 'd/secret'), 0)
  chmodSync(join(root, 'closed'), 0)
  chmodSync(join(root, 'other'), 0)
  process.seteuid?.(65534)
  try {
    assert.is(await digest(bench, root, {}, ['**/secret', 'closed', 'other']), before)
    await digest(bench, root, { from: ['d'] }, ['**/secret'])
    await digest(bench, root, { from: ['a', 'd/b'] })
    assert.is(await failureOf(digest(bench, root, { from: ['d'] })), 'CONTEXT_UNREADABLE')
    assert.is(await failureOf(digest(bench, root, {}, ['**/secret', 'closed'])), 'CONTEXT_UNREADABLE')
  } finally {
    process.seteuid?.(0)
  }
})

async function failureOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => 'it succeeded',
    (reason: unknown) => reason,
  )
  return codeOf(error)
}

test('only the base name of a source counts: a renamed parent still hits', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { 'one/app/f': 'x', 'two/app/f': 'x', 'two/other/f': 'x' })
  const first = await digest(bench, root, { from: ['one/app'] })
  assert.is(await digest(bench, root, { from: ['two/app'] }), first)
  assert.is(await digest(bench, root, { from: ['two/other'] }), first)
  const file = await digest(bench, root, { from: ['one/app/f'] })
  assert.is(await digest(bench, root, { from: ['two/other/f'] }), file)
})

test('directories that "!" reaches into are there with only what it includes', () => {
  const list = (root: string, ignore: readonly string[], path: string): readonly string[] =>
    new ContextTree(root, compileIgnore(ignore)).readdir(path)
  return tempDirectory().then(async (made) => {
    await using temp = made
    const root = makeTree(join(temp.path, 'c'), { 'src/app/a.ts': '', 'src/app/b.js': '', 'src/c': '', 'lib/d': '', 'e/': '' })
    assert.equal(list(root, ['*', '!src/app/*.ts'], '/'), ['src'])
    assert.equal(list(root, ['*', '!src/app/*.ts'], '/src'), ['app'])
    assert.equal(list(root, ['*', '!src/app/*.ts'], '/src/app'), ['a.ts'])
    assert.equal(list(root, ['lib'], '/'), ['e', 'src'])
    const view = new ContextTree(root, compileIgnore(['*', '!src/app/*.ts']))
    assert.is(view.lstat('/src/c'), undefined)
    assert.is(view.lstat('/src/app/a.ts')?.type, 'file')
  })
})

test('a socket has no content; names that are not UTF-8 are kept', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { a: 'a' })
  const server = createServer().listen(join(root, 'socket'))
  await new Promise((resolve) => server.once('listening', resolve))
  const odd = 'odd\udcff'
  writeFileSync(fsPath(join(root, odd)), 'x')
  const view = bench.context(root)
  assert.equal(view.readdir('/'), ['a', odd, 'socket'])
  assert.is(view.lstat('/socket')?.type, 'socket')
  assert.is(view.lstat(`/${odd}`)?.size, 1)
  await bench.key(view, {})
  server.close()
})

test('a missing source is explained: near name, ignore file, broken link', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { 'src/main.ts': '', secret: '', broken: '-> nowhere' })
  const fail = async (path: string): Promise<BuildError> => {
    try {
      await digest(bench, root, { from: [path] }, ['secret'])
    } catch (error) {
      if (error instanceof BuildError) return error
    }
    throw new Error(`${path} was found`)
  }
  const near = await fail('src/mian.ts')
  assert.is(near.code, 'COPY_SOURCE_NOT_FOUND')
  assert.match(near.message, '"src/mian.ts" does not exist in the build context')
  assert.match(near.message, root)
  assert.is(near.hint, 'did you mean src/main.ts?')
  assert.match((await fail('secret')).message, 'excluded by .dockerignore')
  assert.match((await fail('broken')).message, 'symlink to "nowhere"')
  await digest(bench, root, { from: ['nothing*'] })
})

test('a context that is missing or no directory is named', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const file = join(temp.path, 'file')
  writeFileSync(file, '')
  for (const [path, code] of [
    [join(temp.path, 'none'), 'CONTEXT_NOT_FOUND'],
    [file, 'CONTEXT_UNSUPPORTED'],
  ] as const) {
    assert.throws(
      () => bench.context(path),
      (error: unknown) => codeOf(error) === code && (error as Error).message.includes(path),
    )
  }
})

test('a file that cannot be read is named', async () => {
  if (process.geteuid?.() !== 0) {
    console.log("SKIP: only root can take another user's place.")
    return
  }
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { open: 'o', 'd/closed': 'c' })
  chmodSync(temp.path, 0o755)
  chmodSync(join(root, 'd/closed'), 0o600)
  process.seteuid?.(65534)
  try {
    await digest(bench, root)
    assert.unreachable()
  } catch (error) {
    assert.is(codeOf(error), 'CONTEXT_UNREADABLE')
    assert.match((error as Error).message, 'd/closed')
  } finally {
    process.seteuid?.(0)
  }
})

test('a file that vanishes after it was listed was never there', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { a: 'a', 'd/b': 'b', 'd/gone': 'g', gone: 'g' })
  const view = bench.context(root)
  view.readdir('/d')
  view.readdir('/')
  rmSync(join(root, 'gone'))
  rmSync(join(root, 'd/gone'))
  const parts = await bench.key(view, {})
  assert.is(parts.components['files.0'], await digest(bench, root))
  assert.equal(view.readdir('/d'), ['b'])
})

test('very large contexts have their fingerprint by xxh64', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { a: 'a' })
  const entry = bench.context(root).lstat('/a')
  assert.ok(entry !== undefined)
  const entries = Array.from({ length: 20 }, () => entry)
  const names = (last: string): string[] => entries.map((_, i) => 'n'.repeat(500_000) + (i === 19 ? last : ''))
  const one = await fingerprint(names('1'), entries)
  assert.match(one, /^xxh64:[0-9a-f]{16}$/)
  assert.is(await fingerprint(names('1'), entries), one)
  assert.is.not(await fingerprint(names('2'), entries), one)
  assert.match(await fingerprint(['a'], [entry]), /^[0-9a-f]{64}$/)
})

test('symlinks in a source path stay inside the context', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { 'etc/name': 'inside', up: '-> ../../../etc', abs: '-> /etc' })
  const plain = await digest(bench, root, { from: ['etc'] })
  assert.is(await digest(bench, root, { from: ['up'] }), plain)
  assert.is(await digest(bench, root, { from: ['abs'] }), plain)
})

test('a damaged memo costs time, not correctness', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'c'), { a: 'a', b: 'b' })
  await sleep(150)
  const before = await digest(bench, root)
  for (const name of readdirSync(join(temp.path, 'memo'))) {
    const path = join(temp.path, 'memo', name)
    const bytes = readFileSync(path)
    bytes[bytes.length - 5] = (bytes[bytes.length - 5] ?? 0) ^ 1
    writeFileSync(path, bytes)
  }
  assert.is(await digest(bench, root), before)
})

test.run()
