/** The small parsers and printers of the frontend: Go's texts, git URLs, mount fields, paths, sizes. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { proxyVariables } from '../../src/frontend/args.js'
import { parseGitRef } from '../../src/frontend/git-ref.js'
import { goDuration, goQuote } from '../../src/frontend/go-text.js'
import { splitMountFields } from '../../src/frontend/mount-fields.js'
import { parseSize } from '../../src/frontend/mounts.js'
import { absolutePath, hasWildcard, sourcePath } from '../../src/frontend/paths.js'

test('texts are quoted as Go quotes them', () => {
  assert.is(goQuote('a "b" \\ \t\n\x01\x7f'), '"a \\"b\\" \\\\ \\t\\n\\x01\\x7f"')
  assert.is(goQuote('naïve 日本 😀'), '"naïve 日本 😀"')
  assert.is(goQuote('\u200b\u{e0001}\udc80'), '"\\u200b\\U000e0001\\x80"')
})

test('durations are printed as Go prints them', () => {
  const printed = [0, 1, 1500, 2_500_000, 1e9, 90e9, 3600e9, 5_400_500_000_000].map(goDuration)
  assert.equal(printed, ['0s', '1ns', '1.5µs', '2.5ms', '1s', '1m30s', '1h0m0s', '1h30m0.5s'])
})

test('git URLs: what is one, and what its query says', () => {
  const read = (text: string) => parseGitRef(text)
  assert.is(read('./repo.git'), undefined)
  assert.is(read('https://example.com/archive.tar.gz'), undefined)
  const ssh = 'ssh://root@host.example:2222/deep/path/foo.git'
  assert.equal(read(ssh), { remote: ssh, shortName: 'foo' })
  const both = read('https://e.com/r.git?branch=dev&keep-git-dir&submodules=false#:sub/dir')
  assert.equal(both, {
    ...{ remote: 'https://e.com/r.git', shortName: 'r', ref: 'refs/heads/dev', subDir: 'sub/dir' },
    ...{ keepGitDir: true, submodules: false },
  })
  for (const query of ['tag=a&branch=b', 'ref=', 'ref=a&ref=b', 'submodules=maybe', 'subdir=a#:b', 'nope=1']) {
    const found = read(`https://e.com/r.git?${query}`)
    assert.ok(found !== undefined && 'problem' in found, query)
  }
})

test('mount fields are one CSV record', () => {
  const fields = splitMountFields('type=bind,"source=a,b",RO,target="x')
  assert.equal(fields, [
    ...[
      { key: 'type', value: 'bind' },
      { key: 'source', value: 'a,b' },
      { key: 'ro', value: undefined },
    ],
    { key: 'target', value: '"x' },
  ])
  assert.is(splitMountFields('"open'), undefined)
})

test('paths are clamped to their root and keep a final slash where it means something', () => {
  assert.equal(
    ['a', '/a/', '.', '', '../..', 'x/.'].map((path) => absolutePath('/w', path)),
    [...['/w/a', '/a/', '/w/', '/w/', '/', '/w/x/']],
  )
  assert.equal(['/a/../b', '../../x', '.', '/', 'd/'].map(sourcePath), ['b', 'x', '.', '.', 'd'])
  assert.equal(['a*', 'a\\*', '[x]', 'plain', 'a\\\\?'].map(hasWildcard), [true, false, true, false, true])
})

test('sizes have units of 1024', () => {
  assert.equal(['64m', '1.5k', '10', '2GiB', 'x', '-1'].map(parseSize), [67108864, 1536, 10, 2147483648, undefined, undefined])
})

test('a proxy is given in both cases', () => {
  assert.equal(proxyVariables({ noProxy: 'local' }), ['NO_PROXY=local', 'no_proxy=local'])
})

test.run()
