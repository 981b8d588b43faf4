/** What limits and confines RUN from the command line, and which of it is in keys. */
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { usableLimits } from '../../sandbox/cgroup.js'
import { type OciHost, ociConfig, ociConfigText } from '../../sandbox/drivers/oci.js'
import type { SandboxPlan } from '../../sandbox/plan.js'
import { usableProcessLimits } from '../../sandbox/process-limits.js'
import { parseFlags } from '../../src/cli/args.js'
import { limitFlags, readLimitFlags } from '../../src/cli/limit-flags.js'
import { busybox, makeBench, whyNoBuild } from '../helpers/engine.js'
import { failure } from '../helpers/failure.js'

function read(...args: string[]): ReturnType<typeof readLimitFlags> {
  const { values } = parseFlags(args, limitFlags, { command: 'mille build', interspersed: true, unsupported: [], env: {} })
  return readLimitFlags(values, '/tmp')
}

test('single flags and --resource say the same', () => {
  const single = read(
    '-m',
    '1g',
    '--memory-swap=2g',
    '-c',
    '512',
    '--cpu-quota=50000',
    '--cpu-period',
    '100000',
    '--cpuset-cpus=0,2-3',
  )
  const joined = 'memory=1g,memory-swap=2g,cpu-shares=512,cpu-quota=50000,cpu-period=100000,cpuset-cpus=0,2-3'
  assert.equal(read('--resource', joined), single)
  assert.equal(single.limits, {
    memoryBytes: 1 << 30,
    memorySwapBytes: 2 ** 31,
    cpuShares: 512,
    cpuPeriodUs: 100000,
    cpuQuotaUs: 50000,
    cpusetCpus: '0,2-3',
  })
})

test('what cannot be is an error that says what is expected', () => {
  const cases: readonly (readonly [args: readonly string[], expected: string])[] = [
    [['--ulimit', 'nofiles=1'], 'there is no limit "nofiles"'],
    [['--ulimit', 'nofile=5:2'], 'above the hard one'],
    [['--ulimit', 'nofile'], 'has not the form'],
    [['--memory-swap', '1g'], 'needs --memory'],
    [['--memory', '1m'], 'at least 6m'],
    [['--cpu-period', '10'], 'expected 1000 to'],
    [['--cpuset-cpus', 'a'], 'numbers and ranges'],
    [['--isolation', 'chroot'], 'knows default and oci'],
    [['--security-opt', 'seccomp=/nowhere/x.json'], 'the profile cannot be read (ENOENT)'],
    [['--security-opt', 'apparmor=strict'], 'is not supported'],
    [['--resource', 'gpus=1'], 'unknown key "gpus"'],
    [['--cgroup-parent', '../up'], 'leads upwards'],
  ]
  for (const [args, expected] of cases)
    assert.throws(() => read(...args), new RegExp(expected.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')))
})

test('limits without a controller are dropped by name, hard limits stay where they may not be raised', () => {
  const { limits, dropped } = usableLimits({ memoryBytes: 1, cpuShares: 2, pids: 3 }, (controller) => controller === 'pids')
  assert.equal(limits, { pids: 3 })
  assert.equal(dropped, ['memory', 'cpu-shares'])
  const own = usableProcessLimits([{ name: 'nofile', soft: 8, hard: 2 ** 40 }], new Set())
  assert.is(own.limits[0]?.soft, 8)
  assert.ok((own.limits[0]?.hard ?? 0) < 2 ** 40)
  assert.match(own.warnings[0] ?? '', 'ulimit nofile')
})

test('unlimited is written as the number that it is for the kernel', () => {
  const plan: SandboxPlan = {
    ...{ argv: ['"process":{'], env: [], cwd: '/', user: { uid: 0, gid: 0, additionalGids: [] }, hostname: 'h', mounts: [] },
    ...{ rootfs: { hostLowers: [], hostUpper: '', hostWork: '' }, network: 'none', extraHosts: [], security: 'sandbox' },
    ...{ readonlyRootfs: false, terminal: false, limits: {}, rlimits: [{ name: 'core', soft: 7, hard: -1 }] },
  }
  const host: OciHost = {
    rootPath: '/',
    mounts: [],
    cgroupVersion: 2,
    capabilities: new Set<string>(),
    architecture: 'x64',
    kernelRelease: '6.1.0',
  }
  const text = ociConfigText(ociConfig(plan, host))
  assert.match(text, '{"type":"RLIMIT_CORE","hard":18446744073709551615,"soft":7}')
  assert.equal(JSON.parse(text).process.args, plan.argv)
})

test('RUN is held as the command line says; ulimits are in the key, memory is not', async () => {
  const why = await whyNoBuild()
  if (why !== undefined) return console.log(`SKIP: ${why}`)
  using bench = await makeBench()
  const text = `FROM ${busybox}\nRUN ulimit -n; ulimit -Hn; grep NoNewPrivs /proc/self/status; grep Seccomp: /proc/self/status; cat /sys/fs/cgroup/memory*/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true\n`
  const build = async (...args: string[]): Promise<boolean> => {
    await bench.build({ dockerfile: { name: 'Dockerfile', text }, ...read(...args) })
    return bench.ran().length > 0
  }
  const parent = `mille-test-${process.pid}`
  assert.ok(await build('--ulimit=nofile=60:70', '-m', '64m', '--security-opt=no-new-privileges', `--cgroup-parent=${parent}`))
  assert.match(bench.output(), /^60\n70\nNoNewPrivs:\s1\nSeccomp:\s2\n/)
  if (existsSync('/sys/fs/cgroup/memory')) assert.match(bench.output(), '67108864')
  for (const path of ['/sys/fs/cgroup', '/sys/fs/cgroup/memory'])
    assert.not.ok(existsSync(`${path}/${parent}`), 'it is removed again')
  assert.not.ok(
    await build('--ulimit=nofile=60:70', '-m', '128m', '--security-opt=no-new-privileges', `--cgroup-parent=${parent}`),
  )
  assert.ok(await build('--ulimit=nofile=61:70', '--security-opt=seccomp=unconfined'))
  assert.match(bench.output(), /NoNewPrivs:\s0\nSeccomp:\s0\n/)
  const profile = join(bench.directory, 'profile.json')
  const held = `--security-opt=seccomp=${profile}`
  writeFileSync(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW' }))
  assert.ok(await build(held))
  assert.match(bench.output(), /Seccomp:\s[02]\n/)
  assert.not.ok(await build(held))
  writeFileSync(
    profile,
    JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['swapon'], action: 'SCMP_ACT_LOG' }] }),
  )
  assert.ok(await build(held), 'another profile is another step')
  writeFileSync(profile, '{"defaultAction": "SCMP_ACT_MAYBE"}')
  assert.is((await failure(build(held))).code, 'SANDBOX_BAD_PROFILE')
})

test('host-gateway is where a step finds this machine', async () => {
  const why = await whyNoBuild()
  if (why !== undefined) return console.log(`SKIP: ${why}`)
  using bench = await makeBench()
  const server = createServer((_, response) => response.end('from the host'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  try {
    for (const network of ['default', 'host'] as const) {
      const text = `FROM ${busybox}\nRUN wget -qO- http://here:${port}/${network}\n`
      const addHosts = [{ name: 'here', address: 'host-gateway' }]
      await bench.build({ dockerfile: { name: 'Dockerfile', text }, addHosts, network })
      assert.match(bench.output(), 'from the host')
    }
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
})

test.run()
