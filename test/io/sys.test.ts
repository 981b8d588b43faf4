import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fsPath } from '../../src/core/path-bytes.js'
import {
  deviceNumber,
  deviceParts,
  getXattr,
  listXattrs,
  makeNode,
  openInRoot,
  releaseLock,
  setTimes,
  setXattr,
  spreadDirectories,
  tryLock,
} from '../../src/io/sys.js'

function withDirectory(work: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'mille-sys-'))
  try {
    work(directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

test('a lock held through one open file keeps another out until it is released', () =>
  withDirectory((directory) => {
    const first = openSync(join(directory, 'lock'), 'w')
    const second = openSync(join(directory, 'lock'), 'w')
    assert.is(tryLock(first, 'exclusive'), true)
    assert.is(tryLock(second, 'shared'), false)
    releaseLock(first)
    assert.is(tryLock(second, 'shared'), true)
    assert.is(tryLock(first, 'shared'), true)
    closeSync(first)
    closeSync(second)
  }))

test('extended attributes keep bytes that are no text, of files whose names are no UTF-8', () =>
  withDirectory((directory) => {
    const path = join(directory, 'caf\udce9')
    writeFileSync(fsPath(path), 'x')
    const value = Buffer.from([0, 255, 10, 0])
    setXattr(path, 'user.mille', value)
    assert.equal(listXattrs(path), ['user.mille'])
    assert.equal(getXattr(path, 'user.mille'), value)
    assert.is(getXattr(path, 'user.other'), undefined)
  }))

test('an error has the code, the call and the path', () => {
  try {
    listXattrs('/nonexistent/file')
    assert.unreachable()
  } catch (error) {
    assert.is((error as NodeJS.ErrnoException).code, 'ENOENT')
    assert.is((error as NodeJS.ErrnoException).path, '/nonexistent/file')
  }
})

test('a fifo and a time to the nanosecond', () =>
  withDirectory((directory) => {
    const path = join(directory, 'pipe')
    makeNode(path, 'fifo', 0o600, 0)
    setTimes(path, 1n, 1_700_000_000_123_456_789n)
    const stat = lstatSync(path, { bigint: true })
    assert.ok(stat.isFIFO())
    assert.is(stat.mtimeNs, 1_700_000_000_123_456_789n)
  }))

test('device numbers survive taking apart', () => {
  for (const [major, minor] of [
    [0, 0],
    [1, 3],
    [8, 257],
    [259, 70_000],
    [4095, 1_048_575],
  ] as const) {
    assert.equal(deviceParts(deviceNumber(major, minor)), { major, minor })
  }
  assert.is(deviceNumber(1, 3), lstatSync('/dev/null').rdev)
})

test('opening below a root does not leave it through links or dots', () =>
  withDirectory((directory) => {
    mkdirSync(join(directory, 'root/etc'), { recursive: true })
    writeFileSync(join(directory, 'root/etc/hostname'), 'inside')
    symlinkSync('/etc/hostname', join(directory, 'root/link'))
    const root = openSync(join(directory, 'root'), constants.O_RDONLY | constants.O_DIRECTORY)
    for (const path of ['link', '../../etc/hostname', '/etc/hostname']) {
      const fd = openInRoot(root, path, constants.O_RDONLY)
      assert.is(readFileSync(fd, 'utf8'), 'inside')
      closeSync(fd)
    }
    closeSync(root)
  }))

test('asking for directories far apart is no error, whatever the filesystem', () => {
  withDirectory((directory) => {
    spreadDirectories(directory)
    mkdirSync(join(directory, 'child'))
  })
  spreadDirectories('/proc/self')
  assert.throws(() => spreadDirectories('/nonexistent'), /ENOENT/)
})

test.run()
