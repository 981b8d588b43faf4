import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { canonicalJson } from '../../src/core/canonical.js'
import { chainIdOf, diffIdFromHex, digestOf, isDigest } from '../../src/core/digest.js'
import { comparePaths, decodePath, encodePath } from '../../src/core/path-bytes.js'
import { formatPlatform, parsePlatform, platformMatches } from '../../src/core/platform.js'
import { familiarReference, formatReference, isReference, parseReference } from '../../src/core/reference.js'
import { lineAt, positionAt } from '../../src/core/span.js'
import { nearestWord } from '../../src/core/suggest.js'

const hex = 'a'.repeat(64)

test('short image names get their registry, library and tag, and lose them again when printed', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['debian', 'docker.io/library/debian:latest', 'debian:latest'],
    ['team/app:1', 'docker.io/team/app:1', 'team/app:1'],
    ['localhost/app', 'localhost/app:latest', 'localhost/app:latest'],
    ['127.0.0.1:5000/a/b:c', '127.0.0.1:5000/a/b:c', '127.0.0.1:5000/a/b:c'],
    ['index.docker.io/debian', 'docker.io/library/debian:latest', 'debian:latest'],
    [`reg.example/x@sha256:${hex}`, `reg.example/x@sha256:${hex}`, `reg.example/x@sha256:${hex}`],
    [`x:1@sha256:${hex}`, `docker.io/library/x:1@sha256:${hex}`, `x:1@sha256:${hex}`],
    ['[::1]:5000/x', '[::1]:5000/x:latest', '[::1]:5000/x:latest'],
  ]
  for (const [text, full, familiar] of cases) {
    const reference = parseReference(text)
    if (!isReference(reference)) throw new Error(`${text}: ${reference.problem}`)
    assert.is(formatReference(reference), full)
    assert.is(familiarReference(reference), familiar)
  }
})

test('names that are no image names are refused with what is wrong', () => {
  for (const text of [
    '',
    'UPPER',
    'a//b',
    'a:b c',
    'a@sha256:12',
    'a@b@c',
    '-a',
    'a/',
    ':x',
    'reg.example/',
    `a:${'t'.repeat(129)}`,
  ]) {
    const reference = parseReference(text)
    assert.ok(!isReference(reference), text)
    assert.ok(reference.problem.length > 10)
  }
})

test('platforms are normalised as containerd does', () => {
  const host = { os: 'linux', architecture: 'amd64' }
  const cases: readonly (readonly [string, string])[] = [
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['aarch64', 'linux/arm64'],
    ['windows', 'windows/amd64'],
  ]
  for (const [text, expected] of cases) {
    const platform = parsePlatform(text, host)
    assert.is(platform === undefined ? 'none' : formatPlatform(platform), expected, text)
  }
  assert.equal(parsePlatform('windows(10.0.1)/x86_64', host), { os: 'windows', architecture: 'amd64', 'os.version': '10.0.1' })
  for (const text of ['', 'a/b/c/d', 'nonsense', 'linux/', 'linux(/amd64', '(1)/amd64'])
    assert.is(parsePlatform(text, host), undefined, text)
  assert.ok(platformMatches({ os: 'linux', architecture: 'arm64', variant: 'v8' }, { os: 'linux', architecture: 'aarch64' }))
  assert.not.ok(platformMatches({ os: 'linux', architecture: 'arm', variant: 'v6' }, { os: 'linux', architecture: 'arm' }))
})

test('file names of any bytes survive being strings', () => {
  const samples = [
    Buffer.from('plain'),
    Buffer.from('naïve 🍰'),
    Buffer.from([0x61, 0xff, 0x62]),
    Buffer.from([0xed, 0xb3, 0xbf]),
    Buffer.from([0xe2, 0x82]),
    Buffer.from([0xf0, 0x9f, 0x8d]),
    Buffer.from([0xef, 0xbf, 0xbd, 0x80]),
    Buffer.from([0xc0, 0xaf]),
  ]
  for (const bytes of samples) assert.equal(encodePath(decodePath(bytes)), bytes)
  assert.is(decodePath(Buffer.from('é')), 'é')
})

test('every byte string of a random sample survives', () => {
  let state = 12345
  const next = (): number => {
    state = (state * 1103515245 + 12345) & 0x7fffffff
    return state >> 8
  }
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(Array.from({ length: next() % 9 }, () => (next() % 3 ? 0x80 + (next() % 0x80) : next() % 0x80)))
    assert.equal(encodePath(decodePath(bytes)), bytes, bytes.toString('hex'))
  }
})

test('names are ordered by their bytes, not by their UTF-16 units', () => {
  assert.ok(comparePaths('\uFF5E', '\u{1F370}') < 0)
  assert.ok(comparePaths('a', 'b') < 0)
  assert.ok(comparePaths('a', '\udcff') < 0)
  assert.is(comparePaths('é', 'é'), 0)
})

test('canonical JSON sorts keys and leaves undefined out', () => {
  assert.is(canonicalJson({ b: [1, null, 'x'], a: { d: undefined, c: true } }), '{"a":{"c":true},"b":[1,null,"x"]}')
  assert.throws(() => canonicalJson({ a: Number.NaN }))
})

test('a chain id folds the layers below into the one above', () => {
  const a = diffIdFromHex('1'.repeat(64))
  const b = diffIdFromHex('2'.repeat(64))
  assert.is(chainIdOf([]), undefined)
  assert.is(String(chainIdOf([a])), a)
  assert.is(String(chainIdOf([a, b])), digestOf(`${a} ${b}`))
  assert.ok(isDigest(digestOf('')))
})

test('positions and lines are 1-based and end at the end', () => {
  assert.equal(positionAt('ab\ncd', 4), { line: 2, column: 2 })
  assert.equal(positionAt('ab', 99), { line: 1, column: 3 })
  assert.is(lineAt('a\r\nb', 1), 'a')
  assert.is(lineAt('a', 3), '')
})

test('did you mean finds slips of the finger and nothing far off', () => {
  assert.is(nearestWord('RUNN', ['RUN', 'USER', 'FROM']), 'RUN')
  assert.is(nearestWord('form', ['FROM', 'COPY']), 'FROM')
  assert.is(nearestWord('xyz', ['FROM', 'COPY']), undefined)
})

test.run()
