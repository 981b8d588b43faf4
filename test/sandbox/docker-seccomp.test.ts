/** Seccomp profiles in Docker's form: which rules hold for whom, and what is refused. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { convertProfile, type ProfileHost, readSeccompProfile } from '../../sandbox/drivers/docker-seccomp.js'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { mille, milleOk } from '../helpers/cli.js'
import { tempDirectory } from '../helpers/temp.js'

const host: ProfileHost = { architecture: 'x64', capabilities: ['CAP_CHOWN'], kernelRelease: '6.1.0-13-amd64' }

function namesOf(profile: object, where: Partial<ProfileHost> = {}): string {
  const converted = convertProfile(readSeccompProfile(JSON.stringify(profile)), { ...host, ...where })
  return (converted?.syscalls ?? []).flatMap(({ names }) => names).join(' ')
}

test('rules hold by capabilities, processors and kernels', () => {
  const rule = (name: string, filter: object) => ({ names: [name], action: 'SCMP_ACT_ALLOW', ...filter })
  const profile = {
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [
      { name: 'always', action: 'SCMP_ACT_ALLOW', comment: 'the older form' },
      rule('chown', { includes: { caps: ['CAP_CHOWN'] } }),
      rule('both', { includes: { caps: ['CAP_CHOWN', 'CAP_BPF'] } }),
      rule('unless', { excludes: { caps: ['CAP_BPF', 'CAP_CHOWN'] } }),
      rule('amd', { includes: { arches: ['amd64', 'x32'] }, excludes: {} }),
      rule('arm', { includes: { arches: ['arm', 'arm64'] } }),
      rule('notamd', { excludes: { arches: ['amd64'] } }),
      rule('newer', { includes: { minKernel: '4.8' } }),
      rule('older', { excludes: { minKernel: '4.8' } }),
    ],
  }
  assert.is(namesOf(profile), 'always chown amd newer')
  assert.is(namesOf(profile, { architecture: 'arm64', kernelRelease: '4.4.0' }), 'always chown arm notamd older')
  assert.is(namesOf(profile, { capabilities: ['CAP_CHOWN', 'CAP_BPF'] }), 'always chown both amd newer')
  assert.is(namesOf(profile, { capabilities: [], kernelRelease: '10.0' }), 'always unless amd newer')
})

test('the rest is handed on to the runtime, processors by the map', () => {
  const args = [{ index: 0, value: 2_114_060_288, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }]
  const rule = { names: ['clone'], action: 'SCMP_ACT_ERRNO', errnoRet: 1, args }
  const archMap = [
    { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
    { architecture: 'SCMP_ARCH_S390X', subArchitectures: null },
  ]
  const flags = ['SECCOMP_FILTER_FLAG_LOG']
  const text = JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', defaultErrnoRet: 38, flags, archMap, syscalls: [rule] })
  const expected = { defaultAction: 'SCMP_ACT_ALLOW', defaultErrnoRet: 38, flags, syscalls: [rule] }
  const profile = readSeccompProfile(text)
  assert.equal(convertProfile(profile, host), { ...expected, architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'] })
  assert.equal(convertProfile(profile, { ...host, architecture: 's390x' })?.architectures, ['SCMP_ARCH_S390X'])
  assert.equal(convertProfile(profile, { ...host, architecture: 'mips' })?.architectures, [])
  assert.is(convertProfile(readSeccompProfile('{}'), host), undefined)
})

test('what is not known in a profile is refused with its place', () => {
  const allow = { defaultAction: 'SCMP_ACT_ALLOW' }
  const call = { names: ['a'], action: 'SCMP_ACT_ALLOW' }
  const cases: [unknown, string][] = [
    ['{', 'no JSON'],
    [[], 'is no object'],
    [{ defaultAction: 'allow' }, 'defaultAction "allow", expected one of'],
    [{ ...allow, listenerPath: '/x' }, 'the field "listenerPath"'],
    [{ syscalls: [call] }, 'no defaultAction'],
    [{ ...allow, architectures: ['a'], archMap: [{ architecture: 'b' }] }, 'both architectures and archMap'],
    [{ ...allow, syscalls: [{ action: 'SCMP_ACT_ALLOW' }] }, 'syscalls[0] needs one of name and names'],
    [{ ...allow, syscalls: [{ ...call, action: 'SCMP_ACT_NOTIFY' }] }, 'the action "SCMP_ACT_NOTIFY"'],
    [{ ...allow, syscalls: [call, { ...call, exclude: {} }] }, 'syscalls[1] has the field "exclude"'],
    [{ ...allow, syscalls: [{ ...call, includes: { cap: [] } }] }, 'syscalls[0].includes has the field "cap"'],
    [{ ...allow, syscalls: [{ ...call, args: [{ index: 0, value: 1e17, op: 'SCMP_CMP_EQ' }] }] }, 'args[0] has a value'],
    [{ ...allow, syscalls: [{ ...call, includes: { minKernel: 'new' } }] }, 'minKernel "new"'],
  ]
  for (const [profile, message] of cases) {
    const text = typeof profile === 'string' ? profile : JSON.stringify(profile)
    let found = ''
    try {
      readSeccompProfile(text)
    } catch (error) {
      found = String(error)
    }
    assert.ok(found.includes(message), `${found}: ${message}`)
  }
})

test('run holds a container by a profile, also a privileged one; without a filter it is not held', async () => {
  const reason = await whyNoBase('busybox')
  if (reason !== undefined) return void console.log(`SKIP: ${reason}`)
  await using directory = await tempDirectory()
  const root = join(directory.path, 'store')
  await importBase(root, 'busybox')
  const profile = join(directory.path, 'no-mkdir.json')
  const names = ['mkdir', 'mkdirat']
  const rules = [{ names, action: 'SCMP_ACT_ERRNO', errnoRet: 28, excludes: { caps: ['CAP_SYS_ADMIN'] } }]
  writeFileSync(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: rules }))
  const run = (words: string[]) =>
    mille(root, ['run', '--rm', '--network=none', ...words, 'localhost/base/busybox', 'mkdir', '/new'])
  const held = await run([`--security-opt=seccomp=${profile}`])
  assert.is(held.code, 1)
  assert.match(held.stderr, /No space left on device/)
  assert.is((await run(['--privileged', `--security-opt=seccomp=${profile}`])).code, 0, 'it has CAP_SYS_ADMIN')
  assert.is((await run([])).code, 0)
  const status = ['localhost/base/busybox', 'grep', '-E', 'NoNewPrivs|Seccomp:', '/proc/self/status']
  const free = ['--security-opt', 'seccomp=unconfined', '--security-opt', 'no-new-privileges']
  assert.match(await milleOk(root, ['run', '--rm', '--network=none', ...free, ...status]), /NoNewPrivs:\s+1\nSeccomp:\s+0/)
  writeFileSync(profile, '{"defaultAction":1}')
  const bad = await run([`--security-opt=seccomp=${profile}`])
  assert.is(bad.code, 125)
  assert.match(bad.stderr, /SANDBOX_BAD_PROFILE/)
  const podmans = '/usr/share/containers/seccomp.json'
  if (!existsSync(podmans)) return void console.log(`SKIP: ${podmans} is not there`)
  assert.ok(readFileSync(podmans, 'utf8').includes('includes'))
  const seccomp = `--security-opt=seccomp=${podmans}`
  assert.match(await milleOk(root, ['run', '--rm', '--network=none', seccomp, ...status]), /Seccomp:\s+2/)
})

test.run()
