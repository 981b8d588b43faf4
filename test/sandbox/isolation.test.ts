/** What a container may not see or do, and what it must be able to. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sandboxBench, skipped } from '../helpers/sandbox.js'
import { within } from '../helpers/within.js'

test("cannot see the host's /etc/shadow", async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(20_000, bench.run('cat /etc/shadow /proc/1/root/etc/shadow /../../../etc/shadow'))
  assert.is(done.stdout, '')
  assert.is.not(done.exitCode, 0)
})

test('is the first process of a pid namespace of its own', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(20_000, bench.run('echo $$; ls -d /proc/[0-9]* | wc -l'))
  assert.match(done.stdout, /^1\n/)
  assert.ok(Number(done.stdout.split('\n')[1]) < 5)
})

test('has the host name of the plan and the hosts file that goes with it', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const extraHosts = [{ name: 'db.test', address: '192.0.2.7' }]
  const done = await within(
    20_000,
    bench.run('hostname; cat /etc/hostname; grep -c . /etc/hosts; grep 192 /etc/hosts', { extraHosts }),
  )
  assert.match(done.stdout, /^buildkitsandbox\nbuildkitsandbox\n7\n192\.0\.2\.7\s+db\.test\n/)
})

test("may not mount, make namespaces or change the host's settings", async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(
    20_000,
    bench.run(`mount -t tmpfs x /tmp && echo mounted; unshare -m true && echo unshared
      echo 1 > /proc/sys/kernel/panic && echo written; echo b > /proc/sysrq-trigger && echo sysrq; true`),
  )
  assert.is(done.stdout, '')
})

test('may make a device node but not open one that leads to the host', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(
    20_000,
    bench.run('mknod /tmp/kmsg c 1 11 && echo made; head -c 1 /tmp/kmsg && echo opened; head -c 1 /dev/zero | wc -c'),
  )
  assert.is(done.stdout, 'made\n1\n')
})

test('has the devices that programs expect, and no others', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(
    20_000,
    bench.run('cd /dev; ls; echo x > null; test -c tty && test -c ptmx -o -L ptmx && test -d shm && echo all'),
  )
  const names = done.stdout.trim().split('\n')
  assert.ok(names.includes('all'))
  for (const name of ['vda', 'sda', 'kmsg', 'mem']) assert.not.ok(names.includes(name))
  for (const name of ['null', 'zero', 'full', 'random', 'urandom', 'fd', 'stdin']) assert.ok(names.includes(name), name)
})

test("has docker's fourteen capabilities as root and none as a user", async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const root = await within(20_000, bench.run('grep CapEff /proc/self/status'))
  assert.match(root.stdout, /00000000a80425fb/)
  const user = { uid: 1000, gid: 1000, additionalGids: [50] }
  const done = await within(20_000, bench.run('grep CapEff /proc/self/status; id -u; id -g; id -G', { user }))
  assert.match(done.stdout, /0000000000000000\n1000\n1000\n1000 50\n/)
})

test('setuid programs work', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(20_000, bench.run('grep -E "NoNewPrivs|Seccomp:" /proc/self/status'))
  assert.match(done.stdout, /NoNewPrivs:\s+0/)
  assert.match(done.stdout, /Seccomp:\s+2/)
})

test("an insecure container has all of mille's capabilities and no filter", async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(
    20_000,
    bench.run('mount -t tmpfs x /tmp && echo mounted; grep Seccomp: /proc/self/status', { security: 'insecure' }),
  )
  assert.match(done.stdout, /^mounted\nSeccomp:\s+0/)
})

test('a secret is there as it was given, in memory only, and gone after', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const content = Buffer.from('hunter2\n')
  const mounts = [{ kind: 'memory-file' as const, target: '/run/secrets/token', content, uid: 1000, gid: 50, mode: 0o440 }]
  const command =
    'cat /run/secrets/token; stat -c "%u %g %a" /run/secrets/token; grep /run/secrets/token /proc/self/mounts; echo x > /run/secrets/token || echo readonly'
  const done = await within(20_000, bench.run(command, { mounts }))
  assert.match(done.stdout, /^hunter2\n1000 50 440\ntmpfs \/run\/secrets\/token tmpfs ro,/)
  assert.match(done.stdout, /readonly\n$/)
  const left = await within(20_000, bench.run('find /run', { rootfs: bench.plan().rootfs }))
  assert.not.match(left.stdout, /secrets/)
})

test('a read-only bind mount stays as it is, a read-write one gets the changes', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const [source, other] = [join(bench.directory, 'in'), join(bench.directory, 'out')]
  mkdirSync(source)
  mkdirSync(other)
  writeFileSync(join(source, 'file'), 'kept')
  const mounts = [
    { kind: 'bind' as const, hostPath: source, target: '/in', readonly: true },
    { kind: 'bind' as const, hostPath: other, target: '/out', readonly: false },
    { kind: 'bind' as const, hostPath: join(source, 'file'), target: '/etc/one', readonly: true },
  ]
  const done = await within(20_000, bench.run('echo no > /in/file; cat /in/file /etc/one > /out/copy', { mounts }))
  assert.is(done.exitCode, 0)
  assert.is(readFileSync(join(other, 'copy'), 'utf8'), 'keptkept')
  assert.is(readFileSync(join(source, 'file'), 'utf8'), 'kept')
})

test('changes below an overlay mount are seen by the command and then thrown away', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const layer = join(bench.directory, 'layer')
  mkdirSync(join(layer, 'sub'), { recursive: true })
  writeFileSync(join(layer, 'sub/file'), 'kept')
  const mounts = [{ kind: 'overlay' as const, hostLowers: [layer], subpath: 'sub', target: '/view', readonly: false }]
  const done = await within(20_000, bench.run('cat /view/file; echo changed > /view/file; cat /view/file', { mounts }))
  assert.is(done.stdout, 'keptchanged\n')
  assert.is(readFileSync(join(layer, 'sub/file'), 'utf8'), 'kept')
})

test('a read-only root filesystem refuses writes, a tmpfs on it takes them', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const mounts = [{ kind: 'tmpfs' as const, target: '/scratch', sizeBytes: 1 << 20 }]
  const done = await within(
    20_000,
    bench.run('echo x > /file && echo wrote; echo y > /scratch/file && cat /scratch/file', { mounts, readonlyRootfs: true }),
  )
  assert.is(done.stdout, 'y\n')
})

test('a memory limit ends a command that exceeds it, and the status says so', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const limits = { memoryBytes: 32 << 20, memorySwapBytes: 32 << 20 }
  const done = await within(30_000, bench.run('tail /dev/zero', { limits }))
  assert.is(done.exitCode, 137)
  assert.is(done.signal, 'SIGKILL')
  assert.is(done.outOfMemory, true)
})

test('127 layers fit into one root filesystem', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const layers = Array.from({ length: 126 }, (_, i) =>
    join(bench.directory, `${'long-store-directory-name'}`, `layer-with-a-name-${i}`),
  )
  for (const [i, layer] of layers.entries()) {
    mkdirSync(layer, { recursive: true })
    writeFileSync(join(layer, `file-${i}`), '')
  }
  const rootfs = { ...bench.plan().rootfs, hostLowers: [bench.base, ...layers] }
  const done = await within(20_000, bench.run('ls / | grep -c file-', { rootfs }))
  assert.is(done.stdout, '126\n')
})

test.run()
