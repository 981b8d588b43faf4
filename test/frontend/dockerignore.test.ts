import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BuildError } from '../../src/core/errors.js'
import { compileIgnore, readIgnoreFile } from '../../src/frontend/dockerignore.js'

test('reads an ignore file: comments only in column 0, paths cleaned, BOM and CR dropped', () => {
  const text = '\uFEFF/a//b/\r\n# comment\n  # no comment\n\n! /keep/../kept \n./c\n/\n'
  assert.equal(readIgnoreFile(text), ['a/b', '# no comment', '!kept', 'c', '/'])
})

test('the last line that matches wins, also over lines about a parent', () => {
  const matcher = compileIgnore(['docs', '!docs/README.md', 'docs/secret*', '**/*.log', '!keep.log'])
  assert.is(matcher.excludes('docs'), true)
  assert.is(matcher.excludes('docs/a/b.md'), true)
  assert.is(matcher.excludes('docs/README.md'), false)
  assert.is(matcher.excludes('docs/secret.md'), true)
  assert.is(matcher.excludes('x/y/z.log'), true)
  assert.is(matcher.excludes('keep.log'), false)
  assert.is(matcher.excludes('src/keep.log'), true)
  const again = compileIgnore(['a', '!a/b', 'a'])
  assert.is(again.excludes('a/b'), true)
})

test('the root itself is never excluded', () => {
  for (const pattern of ['*', '**', '.', '/']) assert.is(compileIgnore([pattern]).excludes('.'), false)
})

test('prunes excluded directories wherever no later "!" can match below', () => {
  const cases: readonly (readonly [readonly string[], string, boolean])[] = [
    [['node_modules'], 'node_modules', true],
    [['node_modules', '!src'], 'node_modules', true],
    [['*', '!src'], 'lib', true],
    [['*', '!src/app'], 'src', false],
    [['*', '!src/app/*.ts'], 'src', false],
    [['*', '!src/app/*.ts'], 'src/lib', true],
    [['*', '!s?c/app'], 'src', false],
    [['*', '!**/keep'], 'anything', false],
    [['!**/keep', '*'], 'anything', true],
    [['*', '!a/**'], 'a', false],
    [['*', '!a/**/x'], 'a/b/c', false],
    [['*', '!a/**/x'], 'b', true],
  ]
  for (const [patterns, directory, expected] of cases) {
    assert.is(compileIgnore(patterns).canPrune(directory), expected, `${patterns.join(' ')} at ${directory}`)
  }
})

test('names the pattern that cannot be used', () => {
  for (const pattern of ['!', '[a', 'a\\', 'x[]', '[-x]']) {
    assert.throws(
      () => compileIgnore([pattern]),
      (error: unknown) =>
        error instanceof BuildError && error.code === 'CONTEXT_BAD_IGNORE_PATTERN' && error.message.includes(`"${pattern}"`),
    )
  }
})

test('hostile patterns cost no more than pattern length times path length', () => {
  const patterns = ['**/'.repeat(30) + 'x*'.repeat(30), `${'*a'.repeat(40)}b`, `${'a*'.repeat(20)}**${'/*a'.repeat(20)}`]
  const matcher = compileIgnore(patterns)
  const path = `${'a'.repeat(200)}/${'a/'.repeat(100)}${'xa'.repeat(100)}`
  const start = performance.now()
  for (const end of ['b', 'a', '']) matcher.excludes(path + end)
  assert.ok(performance.now() - start < 5_000)
})

test('names that are not UTF-8 are matched byte by byte', () => {
  const name = 'a\udcff.txt'
  assert.is(compileIgnore(['a?.txt']).excludes(name), true)
  assert.is(compileIgnore([name]).excludes(name), true)
  assert.is(compileIgnore(['a??.txt']).excludes(name), false)
})

test('time grows with the length of a path, whatever the pattern', () => {
  const cpuOf = (pattern: string, path: string): number => {
    const matcher = compileIgnore([pattern])
    const before = process.cpuUsage()
    matcher.excludes(path)
    return process.cpuUsage(before).user
  }
  for (const [pattern, piece] of [
    [`${'*a'.repeat(20)}*b`, 'a'],
    [`${'**/a/'.repeat(20)}b`, 'a/'],
    ['[a-z]*?*?*?*?[!z]', 'a'],
  ] as const) {
    const ratio = Math.min(
      ...[1, 2, 3].map(
        () => cpuOf(pattern, `${piece.repeat(8_000)}c`) / Math.max(cpuOf(pattern, `${piece.repeat(1_000)}c`), 1_000),
      ),
    )
    assert.ok(ratio < 32, `${ratio.toFixed(1)} times as long for 8 times the path, with ${pattern}`)
  }
})

test.run()
