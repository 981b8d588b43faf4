import * as childProcess from 'node:child_process'
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { decodePath, fsPath } from '../../src/core/path-bytes.js'
import { deviceNumber, getXattr, makeNode, setXattr } from '../../src/io/sys.js'
import { type AppliedLayer, applyLayer } from '../../src/layer/apply.js'
import { digestLayer } from '../../src/layer/digest.js'
import { layerStack } from '../../src/layer/stack.js'
import { packLayer } from '../../src/layer/tar.js'
import { tempDirectory } from '../helpers/temp-store.js'

const never = new AbortController().signal

/** A tree with everything a layer can hold. */
function makeTree(root: string): void {
  mkdirSync(`${root}/usr/bin`, { recursive: true })
  writeFileSync(`${root}/usr/bin/tool`, 'x'.repeat(3000))
  chownSync(`${root}/usr/bin/tool`, 1000, 2000)
  chmodSync(`${root}/usr/bin/tool`, 0o4755)
  writeFileSync(`${root}/usr/bin/ping`, 'capable')
  setXattr(`${root}/usr/bin/ping`, 'security.capability', Buffer.from('0100000200200000000000000000000000000000', 'hex'))
  setXattr(`${root}/usr/bin/ping`, 'user.note', Buffer.from([0, 10, 255, 61]))
  linkSync(`${root}/usr/bin/tool`, `${root}/usr/zlink`)
  linkSync(`${root}/usr/bin/tool`, `${root}/usr/bin/another`)
  symlinkSync('../bin/tool', `${root}/usr/link`)
  symlinkSync('t/'.repeat(150), `${root}/usr/long-link`)
  symlinkSync(fsPath(decodePath(Buffer.from([0xff, 0x2f, 0xc3, 0xa9]))), `${root}/usr/raw-link`)
  makeNode(`${root}/pipe`, 'fifo', 0o640, 0)
  makeNode(`${root}/null`, 'character', 0o666, deviceNumber(1, 3))
  makeNode(`${root}/disk`, 'block', 0o600, deviceNumber(259, 70000))
  makeNode(`${root}/usr/deleted`, 'character', 0, 0)
  mkdirSync(`${root}/opaque`)
  setXattr(`${root}/opaque`, 'trusted.overlay.opaque', Buffer.from('y'))
  writeFileSync(`${root}/opaque/a`, '')
  writeFileSync(`${root}/${'n'.repeat(101)}`, 'long')
  const deep = `${root}/${'d'.repeat(60)}/${'e'.repeat(60)}`
  mkdirSync(deep, { recursive: true })
  writeFileSync(`${deep}/split`, 'prefix and name')
  writeFileSync(`${deep}/${'f'.repeat(200)}`, 'pax')
  writeFileSync(fsPath(`${root}/${decodePath(Buffer.from([0x72, 0xff, 0xfe]))}`), 'not utf-8')
  writeFileSync(`${root}/grüße\n`, 'utf-8 and a newline')
  writeFileSync(`${root}/big-ids`, '')
  chownSync(`${root}/big-ids`, 3_000_000_000, 4_000_000)
  writeFileSync(`${root}/sparse`, '')
  truncateSync(`${root}/sparse`, 5 << 20)
  const fd = openSync(`${root}/sparse`, 'r+')
  writeSync(fd, 'in the middle', 3 << 20)
  writeFileSync(`${root}/exact`, Buffer.alloc(1 << 20, 7))
  mkdirSync(`${root}/sticky`)
  chmodSync(`${root}/sticky`, 0o1777)
  utimesSync(`${root}/usr/bin/ping`, 1_000_000_000, 1_000_000_000)
  utimesSync(`${root}/pipe`, new Date(-5000), new Date(-5000))
  utimesSync(`${root}/usr`, 1_234_567_890.75, 1_234_567_890.75)
}

async function copyOf(source: string, target: string): Promise<AppliedLayer> {
  return applyLayer(packLayer(source), target, {}, never)
}

test('everything a layer can hold survives packing and unpacking', async () => {
  await using source = tempDirectory()
  await using target = tempDirectory()
  chmodSync(target.path, 0o755)
  chmodSync(source.path, 0o755)
  makeTree(source.path)
  const before = digestLayer(source.path)
  const applied = await copyOf(source.path, target.path)
  const after = digestLayer(target.path)
  assert.is(applied.diffId, before.diffId)
  assert.is(applied.tarSize, before.tarSize)
  assert.is(applied.size, before.size)
  assert.is(after.diffId, before.diffId)
  assert.is(after.contentId, before.contentId)
  assert.is(after.entries, before.entries)
  assert.is([...applied.entries.split('\n')].sort().join('\n'), [...before.entries.split('\n')].sort().join('\n'))
  const tool = lstatSync(`${target.path}/usr/bin/tool`)
  assert.is(tool.nlink, 3)
  assert.is(tool.mode & 0o7777, 0o4755)
  assert.is(tool.uid, 1000)
  assert.is(getXattr(`${target.path}/usr/bin/ping`, 'security.capability')?.length, 20)
  assert.is(readlinkSync(`${target.path}/usr/long-link`), 't/'.repeat(150))
  assert.is(lstatSync(`${target.path}/usr/bin/ping`).mtimeMs, 1e12)
  assert.is(lstatSync(`${target.path}/usr`).mtimeMs, 1_234_567_890_000)
  assert.is(lstatSync(`${target.path}/pipe`).mtimeMs, -5000)
  assert.is(lstatSync(`${target.path}/disk`).rdev, deviceNumber(259, 70000))
  assert.ok(lstatSync(`${target.path}/sparse`).blocks * 512 < 1 << 20, 'holes stay holes')
  assert.ok(layerStack([target.path]).lstat('/usr/deleted') === undefined)
})

test('GNU tar reads what was packed', async () => {
  await using source = tempDirectory()
  await using target = tempDirectory()
  chmodSync(source.path, 0o755)
  makeTree(source.path)
  const tar = childProcess.spawn('tar', ['-x', '--xattrs', '--xattrs-include=*', '-C', target.path], {
    stdio: ['pipe', 'inherit', 'pipe'],
  })
  packLayer(source.path).pipe(tar.stdin)
  let complaints = ''
  tar.stderr.on('data', (data: Buffer) => {
    complaints += data.toString()
  })
  const code = await new Promise((resolve) => tar.on('close', resolve))
  assert.is(code, 0, complaints)
  assert.is(complaints.replace(/.*implausibly old time stamp.*\n/, ''), '')
  assert.ok(readdirSync(`${target.path}/usr`).includes('.wh.deleted'))
  assert.is(lstatSync(`${target.path}/usr/bin/tool`).nlink, 3)
  assert.is(lstatSync(`${target.path}/big-ids`).uid, 3_000_000_000)
  const names = readdirSync(target.path, 'buffer').map((name) => name.toString('latin1'))
  assert.ok(names.includes('r\xff\xfe'))
  assert.equal([...(getXattr(`${target.path}/usr/bin/ping`, 'user.note') ?? [])], [0, 10, 255, 61])
})

test('the content id leaves times out and has everything else in it', async () => {
  await using source = tempDirectory()
  const file = `${source.path}/file`
  writeFileSync(file, 'one')
  const first = digestLayer(source.path)
  utimesSync(file, 1, 1)
  const touched = digestLayer(source.path)
  assert.is(touched.contentId, first.contentId)
  assert.is.not(touched.diffId, first.diffId)
  const seen = new Set([first.contentId])
  const changes = [
    () => writeFileSync(file, 'two'),
    () => chmodSync(file, 0o600),
    () => chownSync(file, 1, 0),
    () => setXattr(file, 'user.a', Buffer.from('b')),
    () => linkSync(file, `${source.path}/name`),
  ]
  for (const change of changes) {
    change()
    const { contentId } = digestLayer(source.path)
    assert.not(seen.has(contentId), `${change}`)
    seen.add(contentId)
  }
})

test('an epoch makes later times earlier and leaves earlier ones alone', async () => {
  await using source = tempDirectory()
  await using target = tempDirectory()
  writeFileSync(`${source.path}/late`, '')
  writeFileSync(`${source.path}/early`, '')
  utimesSync(`${source.path}/early`, 5, 5)
  const { diffId } = digestLayer(source.path, { epoch: 100 })
  const applied = await applyLayer(packLayer(source.path, { epoch: 100 }), target.path, {}, never)
  assert.is(applied.diffId, diffId)
  assert.is(lstatSync(`${target.path}/late`).mtimeMs, 100_000)
  assert.is(lstatSync(`${target.path}/early`).mtimeMs, 5000)
})

test('a deletion is left out where the layers below have nothing of that name', async () => {
  await using lower = tempDirectory()
  await using upper = tempDirectory()
  chmodSync(upper.path, 0o755)
  writeFileSync(`${lower.path}/there`, '')
  makeNode(`${upper.path}/there`, 'character', 0, 0)
  makeNode(`${upper.path}/never`, 'character', 0, 0)
  assert.is(digestLayer(upper.path).entries, 'w never\nw there\n')
  assert.is(digestLayer(upper.path, { lowers: layerStack([lower.path]) }).entries, 'w there\n')
})

test('known digests of files give the same ids', async () => {
  await using source = tempDirectory()
  writeFileSync(`${source.path}/file`, 'content')
  const plain = digestLayer(source.path)
  const sum = childProcess.execFileSync('sha256sum', [`${source.path}/file`], { encoding: 'utf8' }).slice(0, 64)
  assert.equal(digestLayer(source.path, { knownContent: new Map([['file', sum]]) }), plain)
})

test('an empty directory is an empty layer', async () => {
  await using source = tempDirectory()
  chmodSync(source.path, 0o755)
  const digest = digestLayer(source.path)
  assert.is(digest.count, 0)
  assert.is(digest.diffId, 'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef')
  chmodSync(source.path, 0o700)
  assert.is(digestLayer(source.path).count, 1)
})

test('a name that begins like a deletion is refused', async () => {
  await using source = tempDirectory()
  writeFileSync(`${source.path}/.wh.trap`, '')
  assert.throws(
    () => digestLayer(source.path),
    (error: { code?: string }) => error.code === 'LAYER_UNSUPPORTED',
  )
})

test.run()
