// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts under test are Dockerfile substitutions
/** Word expansion: what the shell vectors do not say. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ExpandOptions, expandWord, expandWords } from '../../grammar/words.js'

function expand(text: string, env: Record<string, string> = {}, options: ExpandOptions = {}): string {
  const expanded = expandWord(text, new Map(Object.entries(env)), options)
  return expanded.problem === undefined
    ? expanded.value
    : `problem ${expanded.problem.code} at ${expanded.problem.offset}: ${expanded.problem.message}`
}

test('the replacement of ${x//p/r} is literal text, with no references to groups', () => {
  assert.is(expand('${V//a/$r}', { V: 'banana', r: '$1${n}$&' }), 'b$1${n}$&n$1${n}$&n$1${n}$&')
  assert.is(expand('${V/a*n/-}', { V: 'banana' }), 'b-a')
})

test('an empty match right after a match is none, as in Go', () => {
  assert.is(expand('${V//*/-}', { V: 'abc' }), '-')
  assert.is(expand('${V///-}', { V: 'ab' }), '-a-b-')
})

test('a question mark takes one code point, not half of one', () => {
  assert.is(expand('${V#?}', { V: '😀b' }), 'b')
  assert.is(expand('${V%?}', { V: 'a😀' }), 'a')
  assert.is(expand('${V//?/x}', { V: '😀é' }), 'xx')
})

test('the backtick escapes where the file says so, and the backslash then is an ordinary character', () => {
  assert.is(expand('C:\\$D`$D', { D: 'x' }, { escape: '`' }), 'C:\\x$D')
  assert.is(expand('"a`"b"', {}, { escape: '`' }), 'a"b')
})

test('a here-document keeps its quotes, expands inside them, and a backslash takes any character', () => {
  const body = 'say "$A" \'$A\' \\$A \\\\ \\n a\\\nb'
  assert.is(expand(body, { A: 'x' }, { mode: 'heredoc', escape: '`' }), 'say "x" \'x\' $A \\ n a\nb')
})

test('keeping leaves quotes, escapes and unset variables as written', () => {
  const text = 'a\\ b "c $D" \'e\' ${F:-g} $H ${I//j/k}'
  assert.is(expand(text, { H: 'set' }, { mode: 'keep' }), 'a\\ b "c $D" \'e\' ${F:-g} set ${I//j/k}')
})

test('a problem has a code and the offset where the trouble starts', () => {
  assert.is(expand('ab${X:=1}'), 'problem DOCKERFILE_BAD_SUBSTITUTION at 2: unsupported modifier ":=" in a substitution')
  assert.is(expand('ab${X:?no X}'), 'problem DOCKERFILE_VARIABLE_REQUIRED at 2: X: no X')
  assert.is(expand('a"b'), 'problem DOCKERFILE_SYNTAX at 1: a double quote (") is opened and not closed')
  assert.is(expand('x${A'), 'problem DOCKERFILE_BAD_SUBSTITUTION at 1: missing \'}\' after "${A"')
  assert.is(expand('${A#\\x}', { A: 'b' }), 'problem DOCKERFILE_BAD_SUBSTITUTION at 0: the pattern "\\x" has an unknown escape')
})

test('variables that were used and that were not set are named once', () => {
  const expanded = expandWord('$A $B ${A} ${B:-$C} $1', new Map([['A', 'x']]))
  assert.equal(expanded, { value: 'x  x  ', used: ['A'], unset: ['B', 'C', '1'] })
})

test('words are split after expansion, but not inside quotes', () => {
  const split = expandWords('80 $P "$P" \'$P\'', new Map([['P', '443 8080/udp']]))
  assert.is(split.problem, undefined)
  if (split.problem === undefined) {
    assert.equal(
      split.words.map(({ text }) => text),
      ['80', '443', '8080/udp', '443 8080/udp', '$P'],
    )
  }
})

test('a hundred thousand nested defaults need one look-up each and no stack', () => {
  const depth = 100_000
  let lookups = 0
  const env = { get: (): undefined => void lookups++ }
  const expanded = expandWord(`${'${a:-'.repeat(depth)}x${'}'.repeat(depth)}`, env)
  assert.is(expanded.problem === undefined ? expanded.value : '', 'x')
  assert.is(lookups, depth)
})

test('every pattern trims and replaces as the regular expression of the same meaning does', () => {
  const alphabet = ['a', 'b', '*', '?']
  const patterns = ['']
  for (let length = 0; length < 4; length++) patterns.push(...patterns.flatMap((p) => alphabet.map((c) => p + c)))
  const values = ['', 'a', 'b', 'ab', 'ba', 'aab', 'abab', 'bbaab', 'aaaa']
  for (const pattern of new Set(patterns)) {
    for (const V of values) {
      const check = (text: string, expected: string): void => assert.is(expand(text, { V }), expected, `${text} of "${V}"`)
      check(`\${V#${pattern}}`, pattern.startsWith('#') ? '' : V.slice(prefixLength(V, pattern, false)))
      check(`\${V##${pattern}}`, V.slice(prefixLength(V, pattern, true)))
      check(`\${V%${pattern}}`, V.slice(0, V.length - suffixLength(V, pattern, false)))
      check(`\${V%%${pattern}}`, V.slice(0, V.length - suffixLength(V, pattern, true)))
      if (pattern !== '') check(`\${V/${pattern}/-}`, V.replace(toRegExp(pattern, ''), '-'))
    }
  }
})

function toRegExp(pattern: string, anchors: '' | '^$'): RegExp {
  const body = pattern.replace(/\*/g, '[^]*').replace(/\?/g, '[^]')
  return anchors === '' ? new RegExp(body) : new RegExp(`^(?:${body})$`)
}

/** All lengths are tried: slow and plainly right. */
function prefixLength(value: string, pattern: string, longest: boolean): number {
  return bestLength(value, longest, (length) => toRegExp(pattern, '^$').test(value.slice(0, length)))
}

function suffixLength(value: string, pattern: string, longest: boolean): number {
  return bestLength(value, longest, (length) => toRegExp(pattern, '^$').test(value.slice(value.length - length)))
}

function bestLength(value: string, longest: boolean, matches: (length: number) => boolean): number {
  const fitting = Array.from({ length: value.length + 1 }, (_, length) => length).filter(matches)
  return (longest ? fitting.at(-1) : fitting[0]) ?? 0
}

test.run()
