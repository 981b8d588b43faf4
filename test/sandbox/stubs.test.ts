/** Mount points leave no trace in the layer. */
import { existsSync, lstatSync, mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { resolveInside } from '../../sandbox/stubs.js'
import { sandboxBench, skipped } from '../helpers/sandbox.js'
import { within } from '../helpers/within.js'

test('mount points that the image lacks are made and taken away again', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const mounts = [
    { kind: 'tmpfs' as const, target: '/a/b/c' },
    { kind: 'memory-file' as const, target: '/run/secrets/x', content: Buffer.from('x'), uid: 0, gid: 0, mode: 0o400 },
    { kind: 'bind' as const, hostPath: bench.base, target: '/home/user/deep/er', readonly: true },
  ]
  const done = await within(20_000, bench.run('ls -d /a/b/c /run/secrets/x /home/user/deep/er', { mounts }))
  assert.is(done.exitCode, 0, done.stderr)
  assert.equal(readdirSync(done.upper), [])
})

test('the times of a directory that got a mount point stay, unless the command changed it', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const then = new Date('2001-02-03T04:05:06Z')
  for (const name of ['etc', 'tmp']) utimesSync(join(bench.base, name), then, then)
  const mounts = [{ kind: 'tmpfs' as const, target: '/tmp/mounted' }]
  const done = await within(20_000, bench.run('echo more >> /etc/passwd; touch /tmp/new', { mounts }))
  assert.equal(readdirSync(done.upper).sort(), ['etc', 'tmp'])
  assert.equal(readdirSync(join(done.upper, 'etc')), ['passwd'])
  assert.equal(readdirSync(join(done.upper, 'tmp')), ['new'])
  assert.is(lstatSync(join(done.upper, 'etc')).mtimeMs, then.getTime())
  assert.ok(lstatSync(join(done.upper, 'tmp')).mtimeMs > then.getTime())
})

test('what the command wrote beside a mount point stays in the layer', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const mounts = [{ kind: 'tmpfs' as const, target: '/work/cache' }]
  const done = await within(20_000, bench.run('echo in > /work/cache/lost; echo out > /work/kept', { mounts }))
  assert.equal(readdirSync(join(done.upper, 'work')), ['kept'])
})

test('a container on an empty root filesystem leaves an empty layer', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const mounts = [{ kind: 'bind' as const, hostPath: join(bench.base, 'bin'), target: '/bin', readonly: true }]
  const rootfs = { ...bench.plan().rootfs, hostLowers: [] }
  const done = await within(20_000, bench.run('test -d /proc/1 && test -c /dev/null && echo fine', { mounts, rootfs }))
  assert.is(done.stdout, 'fine\n')
  assert.equal(readdirSync(rootfs.hostUpper), [])
})

test('a link as mount target leads inside the image only', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const outside = join(bench.directory, 'outside')
  mkdirSync(outside)
  symlinkSync(outside, join(bench.base, 'etc/link'))
  symlinkSync('../run/stub/resolv.conf', join(bench.base, 'etc/resolv.conf'))
  const mounts = [{ kind: 'tmpfs' as const, target: '/etc/link/point' }]
  const done = await within(
    20_000,
    bench.run('cat /etc/resolv.conf > /dev/null && touch /etc/link/point/x && echo fine', { mounts }),
  )
  assert.is(done.stdout, 'fine\n', done.stderr)
  assert.equal(readdirSync(outside), [])
  assert.not.ok(existsSync(join(done.upper, 'run')))
})

test('after the command swapped a parent for a link nothing outside is removed', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const outside = join(bench.directory, 'outside')
  mkdirSync(join(outside, 'cache'), { recursive: true })
  const mounts = [{ kind: 'tmpfs' as const, target: '/other/x' }]
  // The mount keeps its own parent in place; a sibling stub's parent can be moved.
  const done = await within(20_000, bench.run(`mv /other /gone 2>/dev/null; ln -s ${outside} /elsewhere; true`, { mounts }))
  assert.is(done.exitCode, 0)
  assert.ok(existsSync(join(outside, 'cache')))
})

test('a name is followed as from inside the root', () => {
  const bench = sandboxBench()
  try {
    mkdirSync(join(bench.base, 'srv'))
    writeFileSync(join(bench.base, 'srv/file'), '')
    symlinkSync('/srv', join(bench.base, 'absolute'))
    symlinkSync('../../../srv', join(bench.base, 'etc/climbing'))
    assert.equal(resolveInside(bench.base, '/absolute/file'), { path: '/srv/file', existing: 2 })
    assert.equal(resolveInside(bench.base, '/etc/climbing/file'), { path: '/srv/file', existing: 2 })
    assert.equal(resolveInside(bench.base, '/srv/../../srv/none/more'), { path: '/srv/none/more', existing: 1 })
  } finally {
    void bench[Symbol.asyncDispose]()
  }
})

test.run()
