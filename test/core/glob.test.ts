import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { canMatchAfter, hasWildcard, matchGlob, parseGlob } from '../../src/core/glob.js'

function match(pattern: string, text: string): boolean | undefined {
  const elements = parseGlob(pattern)
  return elements === undefined ? undefined : matchGlob(elements, text)
}

test('matches as filepath.Match of Go does', () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['abc', 'abc', true],
    ['*', 'abc', true],
    ['*', 'a/b', false],
    ['a*/b', 'a/c/b', false],
    ['a*b?c*x', 'abxbbxdbxebxczzx', true],
    ['a*b?c*x', 'abxbbxdbxebxczzy', false],
    ['ab[b-d]', 'abc', true],
    ['ab[^b-d]', 'abc', false],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'axb', false],
    ['a?b', 'a☺b', true],
    ['[a-ζ]*', 'α', true],
    ['[\\]a]', ']', true],
    ['[\\-x]', '-', true],
    ['*x', 'xxx', true],
    ['**', 'abc', true],
    ['**', 'a/b', false],
  ]
  for (const [pattern, text, expected] of cases) assert.is(match(pattern, text), expected, `${pattern} ${text}`)
})

test('refuses what is no pattern', () => {
  for (const pattern of ['[]a]', '[x-]', '[-x]', '\\', '[a-b-c]', '[', '[^', 'a[', 'a[\\'])
    assert.is(match(pattern, 'a'), undefined)
})

test('tells whether a longer text could match', () => {
  const elements = parseGlob('src/*.ts') ?? []
  assert.is(canMatchAfter(elements, 'src/'), true)
  assert.is(canMatchAfter(elements, 'lib/'), false)
  assert.is(canMatchAfter(elements, 'src/a/'), false)
})

test('escaped wildcards are none', () => {
  assert.is(hasWildcard('a*'), true)
  assert.is(hasWildcard('a\\*'), false)
  assert.is(hasWildcard('a\\\\*'), true)
  assert.is(hasWildcard('plain'), false)
})

test.run()
