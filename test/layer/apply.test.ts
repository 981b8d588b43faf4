import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { digestOf } from '../../src/core/digest.js'
import type { BuildError, ErrorCode } from '../../src/core/errors.js'
import { getXattr } from '../../src/io/sys.js'
import { type AppliedLayer, type ApplyOptions, applyLayer } from '../../src/layer/apply.js'
import { decompress } from '../../src/layer/compress.js'
import { digestLayer } from '../../src/layer/digest.js'
import { pax, type RawEntry, rawTar } from '../helpers/raw-tar.js'
import { type TempDirectory, tempDirectory } from '../helpers/temp-store.js'

const never = new AbortController().signal

/** Unpacks into `root/inside`; what is beside it must stay as it was. */
async function unpack(
  directory: TempDirectory,
  tar: Buffer | readonly RawEntry[],
  options: ApplyOptions = {},
  chunkSize = 1 << 20,
): Promise<AppliedLayer> {
  const target = `${directory.path}/inside`
  mkdirSync(target, { recursive: true })
  const bytes = Buffer.isBuffer(tar) ? tar : rawTar(tar as readonly RawEntry[])
  const chunks = Array.from({ length: Math.ceil(bytes.length / chunkSize) }, (_, i) =>
    bytes.subarray(i * chunkSize, (i + 1) * chunkSize),
  )
  return applyLayer(Readable.from(chunks), target, options, never)
}

async function refuses(code: ErrorCode, tar: Buffer | readonly RawEntry[], options: ApplyOptions = {}): Promise<BuildError> {
  await using directory = tempDirectory()
  writeFileSync(`${directory.path}/victim`, 'untouched')
  try {
    await unpack(directory, tar, options)
  } catch (error) {
    assert.is((error as BuildError).code, code, String(error))
    assert.is(readFileSync(`${directory.path}/victim`, 'utf8'), 'untouched')
    assert.equal(readdirSync(directory.path).sort(), ['inside', 'victim'])
    assert.is(statSync(`${directory.path}/victim`).nlink, 1)
    return error as BuildError
  }
  throw new Error(`expected ${code}`)
}

test('names that climb out with ".." are refused', async () => {
  for (const name of ['../victim', 'a/../../victim', './../victim', '/../victim', 'a/b/../../../victim']) {
    const error = await refuses('LAYER_ESCAPES_ROOT', [{ name, content: 'x' }])
    assert.match(error.message, name)
  }
})

test('absolute names and ".." that stay inside are names below the root', async () => {
  await using directory = tempDirectory()
  await unpack(directory, [
    { name: '/etc//conf', content: 'x' },
    { name: 'etc/../etc/./other', content: 'y' },
  ])
  assert.equal(readdirSync(`${directory.path}/inside/etc`), ['conf', 'other'])
})

test('links among the parents do not lead out', async () => {
  const link = (target: string): RawEntry => ({ name: 'link', type: '2', target })
  for (const target of ['..', '../..', '/..', '/etc', '/victim', 'missing', 'link']) {
    await refuses('LAYER_ESCAPES_ROOT', [link(target), { name: 'link/victim', content: 'x' }])
    await refuses('LAYER_ESCAPES_ROOT', [link(target), { name: 'link/directory', type: '5' }])
    await refuses('LAYER_ESCAPES_ROOT', [link(target), { name: 'link/.wh.victim' }])
    await refuses('LAYER_ESCAPES_ROOT', [link(target), { name: 'other', type: '1', target: 'link/victim' }])
  }
})

test('links among the parents are followed inside, with the layer as root', async () => {
  await using directory = tempDirectory()
  const { entries } = await unpack(directory, [
    { name: 'usr/lib/', type: '5' },
    { name: 'lib', type: '2', target: '/usr/lib' },
    { name: 'lib64', type: '2', target: 'usr/../lib' },
    { name: 'lib/one', content: '1' },
    { name: 'lib64/two', content: '2' },
  ])
  assert.equal(readdirSync(`${directory.path}/inside/usr/lib`), ['one', 'two'])
  assert.match(entries, 'f1 usr/lib/two\n')
})

test('a file replaces a link of its name and is not written through it', async () => {
  await using directory = tempDirectory()
  writeFileSync(`${directory.path}/victim`, 'untouched')
  await unpack(directory, [
    { name: 'file', type: '2', target: '../victim' },
    { name: 'file', content: 'new' },
    { name: 'directory', type: '2', target: '..' },
    { name: 'directory/', type: '5', mode: 0o700 },
  ])
  assert.is(readFileSync(`${directory.path}/victim`, 'utf8'), 'untouched')
  assert.is(readFileSync(`${directory.path}/inside/file`, 'utf8'), 'new')
  assert.ok(lstatSync(`${directory.path}/inside/directory`).isDirectory())
  assert.is(statSync(directory.path).mode & 0o777, 0o700)
})

test('hard links lead to files of the layer only', async () => {
  const hard = (target: string): RawEntry => ({ name: 'hard', type: '1', target })
  await refuses('LAYER_ESCAPES_ROOT', [hard('../victim')])
  await refuses('LAYER_BAD_TAR', [hard('/victim')])
  await refuses('LAYER_BAD_TAR', [hard('missing')])
  await refuses('LAYER_BAD_TAR', [{ name: 'd/', type: '5' }, hard('d')])
  await refuses('LAYER_BAD_TAR', [
    { name: 'a/b', content: 'x' },
    { name: 'a', type: '1', target: 'a/b' },
  ])
})

test('the last entry of a name wins, whatever it replaces', async () => {
  await using directory = tempDirectory()
  const { entries, size } = await unpack(directory, [
    { name: 'a', content: 'first' },
    { name: 'a', content: 'second!', mode: 0o600 },
    { name: 'b/c/d', content: 'deep' },
    { name: 'b', content: 'file' },
    { name: 'e', content: 'file' },
    { name: 'e/', type: '5' },
    { name: 'e/f', content: 'in it' },
    { name: 'e/', type: '5', mode: 0o700 },
  ])
  const inside = `${directory.path}/inside`
  assert.is(readFileSync(`${inside}/a`, 'utf8'), 'second!')
  assert.is(readFileSync(`${inside}/b`, 'utf8'), 'file')
  assert.is(readFileSync(`${inside}/e/f`, 'utf8'), 'in it')
  assert.is(statSync(`${inside}/e`).mode & 0o777, 0o700)
  assert.is(size, 16)
  assert.is(entries.split('\n').sort().join(), digestLayer(inside).entries.split('\n').sort().join())
})

test('deletions become what overlay understands', async () => {
  await using directory = tempDirectory()
  await unpack(
    directory,
    [
      { name: 'd/.wh.gone' },
      { name: 'o/.wh..wh..opq' },
      { name: 'o/new', content: 'x' },
      { name: '.wh.replaced' },
      { name: 'replaced/', type: '5' },
      { name: 'again/', type: '5' },
      { name: '.wh.again' },
      { name: '.wh.file' },
      { name: 'file', content: 'now a file' },
      { name: '.wh..wh.plnk/1', content: 'aufs' },
    ].filter(({ name }) => !name.includes('plnk')),
  )
  const inside = `${directory.path}/inside`
  const gone = lstatSync(`${inside}/d/gone`)
  assert.ok(gone.isCharacterDevice() && gone.rdev === 0)
  for (const name of ['o', 'replaced', 'again'])
    assert.is(getXattr(`${inside}/${name}`, 'trusted.overlay.opaque')?.toString(), 'y')
  assert.is(readFileSync(`${inside}/file`, 'utf8'), 'now a file')
  await refuses('LAYER_BAD_TAR', [{ name: 'a/.wh.' }])
  await refuses('LAYER_BAD_TAR', [{ name: 'a/.wh...' }])
  await refuses('LAYER_UNSUPPORTED', [{ name: 'a', type: '3', device: [0, 0] }])
})

test('in a plain archive ".wh." names are files', async () => {
  await using directory = tempDirectory()
  await unpack(directory, [{ name: '.wh.a', content: 'x' }], { form: 'plain' })
  assert.is(readFileSync(`${directory.path}/inside/.wh.a`, 'utf8'), 'x')
})

test('overlay attributes and labels of another machine do not get in', async () => {
  await using directory = tempDirectory()
  await unpack(directory, [
    pax({
      'SCHILY.xattr.trusted.overlay.redirect': '/etc',
      'SCHILY.xattr.trusted.overlay.opaque': 'y',
      'SCHILY.xattr.user.overlay.opaque': 'y',
      'SCHILY.xattr.security.selinux': 'label',
      'SCHILY.xattr.user.kept': Buffer.from([0, 255]),
    }),
    { name: 'd/', type: '5' },
  ])
  const path = `${directory.path}/inside/d`
  assert.is(getXattr(path, 'trusted.overlay.redirect'), undefined)
  assert.is(getXattr(path, 'trusted.overlay.opaque'), undefined)
  assert.is(getXattr(path, 'user.overlay.opaque'), undefined)
  assert.equal([...(getXattr(path, 'user.kept') ?? [])], [0, 255])
})

test('every place where a tar can be cut is noticed or leaves whole entries', async () => {
  const tar = rawTar([pax({ path: 'long/'.repeat(30) }), { name: 'x', type: '5' }, { name: 'file', content: 'x'.repeat(700) }])
  for (let length = 100; length < tar.length - 1024; length += 100) {
    if (length % 512 === 0) continue
    await refuses('LAYER_TRUNCATED', tar.subarray(0, length))
  }
  await refuses('LAYER_TRUNCATED', tar.subarray(0, 512))
  await refuses('LAYER_TRUNCATED', tar.subarray(0, 1024))
})

test('garbage is refused', async () => {
  await refuses('LAYER_BAD_TAR', Buffer.from('<html>not found</html>'.repeat(100)))
  const damaged = rawTar([{ name: 'a', content: 'x' }])
  damaged[5] = 1
  await refuses('LAYER_BAD_TAR', damaged)
  await refuses('LAYER_UNSUPPORTED', [{ name: 'a', type: 'V' }])
  await refuses('LAYER_BAD_TAR', [pax({ size: 'many' }), { name: 'a' }])
  await refuses('LAYER_BAD_TAR', [{ name: 'pax', type: 'x', content: '99 path=short\n' }, { name: 'a' }])
  await refuses('LAYER_BAD_TAR', [{ name: 'pax', type: 'x', size: 1 << 30 }])
  await refuses('LAYER_BAD_TAR', [pax({ path: 'a\0b' }), { name: 'a' }])
  await refuses('LAYER_BAD_TAR', [pax({ uid: '-1' }), { name: 'a' }])
  await refuses('LAYER_BAD_TAR', [pax({ path: 'n'.repeat(300) }), { name: 'a' }])
  await refuses('LAYER_BAD_TAR', [
    { name: 'f', content: 'x' },
    { name: 'f/below', content: 'x' },
  ])
})

test('an archive that unpacks without end is stopped', async () => {
  await refuses('LAYER_BAD_TAR', rawTar([{ name: 'a', content: Buffer.alloc(1 << 20) }]), { limitBytes: 1 << 19 })
})

test('the chunks in which a tar comes make no difference', async () => {
  const tar = rawTar([
    pax({ 'SCHILY.xattr.user.a': 'b', mtime: '12.9' }),
    { name: 'file', content: 'y'.repeat(1300) },
    { name: '././@LongLink', type: 'L', content: `${'long'.repeat(40)}\0` },
    { name: 'cut', content: 'z' },
    { name: 'empty' },
  ])
  const ids = new Set<string>()
  for (const size of [1, 7, 511, 512, 513, 5000]) {
    await using directory = tempDirectory()
    const applied = await unpack(directory, tar, {}, size)
    assert.is(applied.diffId, digestOf(tar))
    ids.add(digestLayer(`${directory.path}/inside`).diffId)
    assert.ok(existsSync(`${directory.path}/inside/${'long'.repeat(40)}`))
  }
  assert.is(ids.size, 1)
})

test('archives of GNU tar in all its formats are read', async () => {
  await using source = tempDirectory()
  const name = 'n'.repeat(120)
  writeFileSync(`${source.path}/${name}`, 'long')
  execFileSync('truncate', ['-s', '3M', `${source.path}/sparse`])
  execFileSync('sh', [
    '-c',
    `for i in 0 5 9 20 33 47 60 80 99 120 140; do printf part$i | dd of=${source.path}/sparse bs=4k seek=$((i*5)) conv=notrunc status=none; done`,
  ])
  const expected = readFileSync(`${source.path}/sparse`)
  const forms = [
    ['--format=gnu'],
    ['--format=pax'],
    ['--format=gnu', '-S'],
    ['--format=pax', '-S'],
    ['--format=pax', '-S', '--sparse-version=0.1'],
  ]
  for (const form of forms) {
    await using directory = tempDirectory()
    const tar = execFileSync('tar', ['-c', ...form, '-C', source.path, '.'], { maxBuffer: 64 << 20 })
    await unpack(directory, tar, {}, 1000)
    const found = `${directory.path}/inside`
    assert.is(readFileSync(`${found}/${name}`, 'utf8'), 'long', form.join(' '))
    assert.ok(readFileSync(`${found}/sparse`).equals(expected), form.join(' '))
    assert.equal(readdirSync(found).sort(), [name, 'sparse'].sort())
  }
})

test('sizes above 8 GiB are read in both forms', async () => {
  const big = 9 * 2 ** 30
  await using directory = tempDirectory()
  const map = Buffer.from('1\n9663676415\n1\n'.padEnd(512, '\0'))
  const { size } = await unpack(directory, [
    pax({ 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'big', 'GNU.sparse.realsize': String(big) }),
    { name: 'x', content: Buffer.concat([map, Buffer.from('!')]) },
  ])
  assert.is(size, big)
  assert.is(statSync(`${directory.path}/inside/big`).size, big)
  await refuses('LAYER_TRUNCATED', [pax({ size: String(big) }), { name: 'a', content: 'x', size: 0 }])
  const header = rawTar([{ name: 'a', content: '' }]).subarray(0, 512)
  Buffer.from([0x80, 0, 0, 0, 0, 0, 0, 2, 0x40, 0, 0, 0]).copy(header, 124)
  header.fill(' ', 148, 156)
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
    'latin1',
  )
  await refuses('LAYER_TRUNCATED', Buffer.concat([header, Buffer.alloc(1024)]))
})

test('damaged and cut gzip data is told apart', async () => {
  await using directory = tempDirectory()
  const packed = gzipSync(rawTar([{ name: 'a', content: Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * i) % 251)) }]))
  const codeOf = async (bytes: Buffer): Promise<string> => {
    try {
      await applyLayer(decompress(Readable.from([bytes]), 'detect'), directory.path, {}, never)
      return 'none'
    } catch (error) {
      return (error as BuildError).code
    }
  }
  assert.is(await codeOf(packed), 'none')
  assert.is(await codeOf(packed.subarray(0, packed.length - 20)), 'LAYER_TRUNCATED')
  const damaged = Buffer.from(packed)
  damaged.fill(0xff, 60, 90)
  assert.is(await codeOf(damaged), 'LAYER_BAD_TAR')
})

test.run()
