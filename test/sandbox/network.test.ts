/** Networks of containers. */
import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sandboxBench, skipped } from '../helpers/sandbox.js'
import { within } from '../helpers/within.js'

const noPasta = existsSync('/usr/bin/pasta') ? undefined : 'pasta is not installed'

test('without a network there is only loopback, and it is up', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(20_000, bench.run('ip -o link | wc -l; ip -o addr show lo', { network: 'none' }))
  assert.match(done.stdout, /^1\n/)
  assert.match(done.stdout, /127\.0\.0\.1/)
})

test("the host network is the host's own namespace", async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const done = await within(20_000, bench.run('readlink /proc/self/ns/net', { network: 'host' }))
  assert.is(done.stdout.trim(), readlinkSync('/proc/self/ns/net'))
})

test('the default network is private, reaches out, and is used again by the next step', async () => {
  if (skipped() || skipped(noPasta)) return
  const warnings: string[] = []
  await using bench = sandboxBench({ warn: (message) => warnings.push(message) })
  const own = readlinkSync('/proc/self/ns/net')
  const first = await within(20_000, bench.run('readlink /proc/self/ns/net; ip route', { network: 'default' }))
  const second = await within(20_000, bench.run('readlink /proc/self/ns/net', { network: 'default' }))
  assert.equal(warnings, [])
  const [name = ''] = first.stdout.split('\n')
  assert.match(name, /^net:/)
  assert.is.not(name, own)
  assert.match(first.stdout, /default via/)
  assert.is(second.stdout.trim(), name)
})

test('two containers at once do not share a private network', async () => {
  if (skipped() || skipped(noPasta)) return
  await using bench = sandboxBench()
  const command = 'readlink /proc/self/ns/net; sleep 0.5'
  const both = [bench.run(command, { network: 'default' }), bench.run(command, { network: 'default' })]
  const [a, b] = await within(20_000, Promise.all(both))
  assert.match(a?.stdout ?? '', /^net:/)
  assert.is.not(a?.stdout, b?.stdout)
})

test("a private network does not reach the host's loopback", async () => {
  if (skipped() || skipped(noPasta)) return
  await using bench = sandboxBench()
  const server = createServer((socket) => socket.end('host')).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  try {
    const done = await within(20_000, bench.run(`nc -w 2 127.0.0.1 ${port}`, { network: 'default' }))
    assert.is(done.stdout, '')
    assert.is.not(done.exitCode, 0)
  } finally {
    server.close()
  }
})

test('without pasta the host network is used, with one warning', async () => {
  if (skipped()) return
  const warnings: string[] = []
  // Only the runtimes' own directory: pasta is not looked for elsewhere.
  await using bench = sandboxBench({ searchPath: '/usr/sbin:/sbin', warn: (message) => warnings.push(message) })
  if (skipped(existsSync('/usr/sbin/runc') ? undefined : 'there is no /usr/sbin/runc')) return
  const own = readlinkSync('/proc/self/ns/net')
  for (let i = 0; i < 2; i++) {
    const done = await within(20_000, bench.run('readlink /proc/self/ns/net', { network: 'default' }))
    assert.is(done.stdout.trim(), own)
  }
  assert.is(warnings.length, 1)
  assert.match(warnings[0] ?? '', /pasta is not installed/)
})

test('names are resolved as on the host', async () => {
  if (skipped() || skipped(noPasta)) return
  const server = /^nameserver\s+(?!127\.)(\S+)/m.exec(readFileSync('/etc/resolv.conf', 'utf8'))?.[1]
  if (skipped(server === undefined ? 'this machine has no name server' : undefined)) return
  await using bench = sandboxBench()
  const done = await within(30_000, bench.run('cat /etc/resolv.conf', { network: 'default' }))
  assert.match(done.stdout, new RegExp(`nameserver ${server}`))
})

test.run()
