/** Ports and signals as EXPOSE and STOPSIGNAL accept them. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parsePorts } from '../../src/frontend/expose.js'
import { isSignal } from '../../src/frontend/stop-signal.js'

test('a port has tcp by default, ranges become ports, host parts are dropped', () => {
  const specs = ['80', '53/UDP', '8000-8002', '8080:90', '127.0.0.1::91', '[::1]:80:92', '7000-7009:93', '94/']
  const ports = ['80/tcp', '53/udp', '8000/tcp', '8001/tcp', '8002/tcp', '90/tcp', '91/tcp', '92/tcp', '93/tcp', '94/tcp']
  assert.equal(parsePorts(specs), ports)
})

for (const spec of [
  '',
  '/tcp',
  'x',
  '65536',
  '10-5',
  '1-2-3',
  '80/icmp',
  'x:80',
  '1-2:80-82',
  '1.2.3:80:80',
  '1.2.3.4.5::80',
  'g::1::80',
]) {
  test(`"${spec}" is no port`, () => {
    assert.ok('problem' in parsePorts([spec]))
  })
}

test('signals are known by name in any case, with or without SIG, and by number', () => {
  for (const text of ['SIGTERM', 'term', 'SigUsr1', 'RTMIN+3', '9', '77']) assert.ok(isSignal(text), text)
  for (const text of ['0', '', 'SIGTREM', 'SIGRTMIN+16', '9x']) assert.not(isSignal(text), text)
})

test.run()
