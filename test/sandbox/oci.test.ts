/** The pure parts: the runtime's config against golden files, resolv.conf and hosts, the seccomp list. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type OciHost, ociConfig } from '../../sandbox/drivers/oci.js'
import { seccompProfile } from '../../sandbox/drivers/seccomp.js'
import type { SandboxPlan } from '../../sandbox/plan.js'
import { hostsFile, namesSystemdStub, resolvConf } from '../../sandbox/rootfs.js'
import { exitStatusOf, signalName } from '../../sandbox/status.js'

const fixtures = fileURLToPath(new URL('../../../fixtures/sandbox/', import.meta.url))

const plan: SandboxPlan = {
  argv: ['/bin/sh', '-c', 'make'],
  env: ['PATH=/usr/bin:/bin', 'A=1'],
  cwd: '/src',
  user: { uid: 1000, gid: 1000, additionalGids: [29] },
  hostname: 'buildkitsandbox',
  rootfs: { hostLowers: ['/store/a'], hostUpper: '/store/u', hostWork: '/store/w' },
  mounts: [],
  network: 'none',
  extraHosts: [],
  security: 'sandbox',
  readonlyRootfs: false,
  terminal: false,
  shmSizeBytes: 1 << 20,
  limits: { memoryBytes: 1 << 30, memorySwapBytes: 1 << 31, cpus: 1.5, cpuShares: 512, cpusetCpus: '0-1', pids: 100 },
}

const host: OciHost = {
  rootPath: '/run/mille/root',
  mounts: [{ destination: '/etc/hosts', type: 'bind', source: '/run/mille/hosts', options: ['rbind', 'rprivate', 'rw'] }],
  cgroupsPath: '/mille-x',
  cgroupVersion: 2,
  capabilities: new Set(['CAP_CHOWN', 'CAP_KILL', 'CAP_MKNOD', 'CAP_SYS_ADMIN']),
  architecture: 'arm64',
}

function golden(name: string, value: unknown): void {
  const file = join(fixtures, name)
  const text = `${JSON.stringify(value, undefined, 2)}\n`
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, text)
  assert.fixture(text, readFileSync(file, 'utf8'))
}

test('the config of a limited, confined container', () => {
  const config = ociConfig(plan, host)
  golden('confined.json', { ...config, linux: { ...config.linux, seccomp: '…' } })
})

test('the config of an insecure container with the host network and a terminal', () => {
  golden('insecure.json', ociConfig({ ...plan, security: 'insecure', network: 'host', terminal: true, limits: {} }, host))
})

test('a network to join is named by its path', () => {
  const { linux } = ociConfig({ ...plan, network: 'default' }, { ...host, networkPath: '/run/mille/network' })
  assert.equal(
    linux.namespaces.find(({ type }) => type === 'network'),
    { type: 'network', path: '/run/mille/network' },
  )
})

test('without cgroups no device may be made: nothing would keep it shut', () => {
  const { cgroupsPath: _, ...bare } = host
  const config = ociConfig(plan, bare)
  assert.equal(config.process.capabilities.bounding, ['CAP_CHOWN', 'CAP_KILL'])
  assert.is(config.linux.resources, undefined)
})

test('the seccomp list names no call twice for different answers and refuses what reaches the host', () => {
  const profile = seccompProfile('x64')
  const unconditional = profile.syscalls.filter(({ args }) => args === undefined)
  const names = unconditional.flatMap((rule) => rule.names)
  assert.is(new Set(names).size, names.length)
  const allowed = new Set(profile.syscalls.filter(({ action }) => action === 'SCMP_ACT_ALLOW').flatMap((rule) => rule.names))
  for (const name of ['mount', 'bpf', 'kexec_load', 'init_module', 'unshare', 'setns', 'keyctl', 'io_uring_setup', 'clone3']) {
    assert.not.ok(allowed.has(name), name)
  }
  for (const name of ['read', 'execve', 'openat', 'clone', 'socket', 'statx', 'rseq', 'chroot'])
    assert.ok(allowed.has(name), name)
  assert.equal(seccompProfile('arm64').architectures, ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'])
})

test("loopback name servers are left out unless the network is the host's", () => {
  const text = 'search example.org\nnameserver 127.0.0.1\nnameserver 192.0.2.53\noptions ndots:2\n'
  assert.is(resolvConf(text, 'host'), text)
  assert.is(resolvConf(text, 'default'), 'search example.org\nnameserver 192.0.2.53\noptions ndots:2\n')
  assert.match(resolvConf('nameserver ::1\n', 'default'), /^nameserver 8\.8\.8\.8$/m)
  assert.is(resolvConf('nameserver ::1\n', 'none'), '')
  assert.ok(namesSystemdStub('nameserver 127.0.0.53\n'))
  assert.not.ok(namesSystemdStub('nameserver 127.0.0.53\nnameserver 192.0.2.1\n'))
  assert.not.ok(namesSystemdStub(''))
})

test('the hosts file has the extra hosts last', () => {
  const text = hostsFile({ hostname: 'h', extraHosts: [{ name: 'db', address: '2001:db8::1' }] })
  assert.match(text, /^127\.0\.0\.1\tlocalhost h\n/)
  assert.match(text, /\n2001:db8::1\tdb\n$/)
})

test('an exit code above 128 names the signal', () => {
  const run = {
    runtimeName: 'crun',
    command: 'x',
    log: '',
    limitsMemory: false,
    execProblem: () => undefined,
    isDirectory: () => false,
  }
  assert.equal(exitStatusOf({ ...run, end: { code: 139, signal: null } }), {
    exitCode: 139,
    signal: 'SIGSEGV',
    outOfMemory: false,
  })
  assert.equal(exitStatusOf({ ...run, end: { code: 255, signal: null } }), {
    exitCode: 255,
    signal: undefined,
    outOfMemory: false,
  })
  assert.is(signalName(9), 'SIGKILL')
})

test('the primary group is among the further groups', () => {
  const groups = (gid: number, additionalGids: readonly number[]): readonly number[] =>
    ociConfig({ ...plan, user: { uid: 1000, gid, additionalGids } }, host).process.user.additionalGids
  assert.equal(groups(1000, [29]), [1000, 29])
  assert.equal(groups(0, []), [0])
  assert.equal(groups(10, [29, 10]), [10, 29])
})

test.run()
