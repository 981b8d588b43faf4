import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type FlagTable, parseBytes, parseFlags } from '../../src/cli/args.js'
import { BuildError } from '../../src/core/errors.js'

const table = {
  tag: { type: 'list', short: 't', value: 'name', help: 'Names' },
  file: { type: 'string', short: 'f', help: 'The file' },
  interactive: { type: 'boolean', short: 'i', help: 'Keep stdin open' },
  tty: { type: 'boolean', short: 'T', help: 'A terminal' },
  rm: { type: 'boolean', default: 'true', help: 'Remove' },
  jobs: { type: 'integer', default: '4', env: 'JOBS', help: 'How many' },
  progress: { type: 'string', default: 'auto', env: 'PROGRESS', choices: ['auto', 'plain'], help: 'How' },
  memory: { type: 'bytes', short: 'm', help: 'How much' },
  cpus: { type: 'decimal', help: 'How many' },
} as const satisfies FlagTable

function parse(args: string[], options: { interspersed?: boolean; env?: Record<string, string> } = {}) {
  const { interspersed = true, env = {} } = options
  return parseFlags(args, table, { command: 'mille try', interspersed, unsupported: ['squash', 'detach|d'], env })
}

function codeAndMessage(args: string[], env?: Record<string, string>): string {
  try {
    parse(args, env === undefined ? {} : { env })
  } catch (error) {
    if (error instanceof BuildError) return `${error.code}: ${error.message}${error.hint === undefined ? '' : ` (${error.hint})`}`
    throw error
  }
  return 'no error'
}

test('a value may follow its flag, stand behind = or stick to the letter', () => {
  for (const args of [['-t', 'a'], ['-ta'], ['-t=a'], ['--tag', 'a'], ['--tag=a']]) {
    assert.equal(parse(args).values.tag, ['a'], args.join(' '))
  }
})

test('a list keeps every value, in order, and empty ones too', () => {
  assert.equal(parse(['-t', 'a', '--tag=', '-tb']).values.tag, ['a', '', 'b'])
})

test('the last of a repeated flag wins', () => {
  assert.is(parse(['-f', 'a', '--file=b']).values.file, 'b')
  assert.is(parse(['--rm', '--rm=false']).values.rm, false)
})

test('letters can be combined, the last one taking a value', () => {
  const { values } = parse(['-iTt', 'name'])
  assert.ok(values.interactive && values.tty)
  assert.equal(values.tag, ['name'])
  assert.equal(parse(['-itx']).values.tag, ['x'])
})

test('switches take =true and =false in long and short form', () => {
  assert.is(parse(['--interactive=false']).values.interactive, false)
  assert.is(parse(['-i=false']).values.interactive, false)
  assert.is(parse(['-i=1', 'x']).values.interactive, true)
  assert.equal(parse(['-i=true', 'x']).positionals, ['x'])
})

test('a switch does not eat the next word', () => {
  assert.equal(parse(['-i', 'false']).positionals, ['false'])
})

test('a value may start with a dash', () => {
  assert.is(parse(['-f', '-']).values.file, '-')
  assert.is(parse(['--file', '--tag']).values.file, '--tag')
})

test('a lone dash is an argument', () => {
  assert.equal(parse(['-t', 'x', '-']).positionals, ['-'])
})

test('behind -- everything is an argument', () => {
  assert.equal(parse(['-i', '--', '-t', '--nope']).positionals, ['-t', '--nope'])
})

test('where flags end with the first argument, the rest is left alone', () => {
  const parsed = parse(['-i', 'image', '-t', '--nope', '--', 'x'], { interspersed: false })
  assert.equal(parsed.positionals, ['image', '-t', '--nope', '--', 'x'])
  assert.equal(parsed.values.tag, [])
  assert.equal(parse(['-i', '--', '-image', '-t'], { interspersed: false }).positionals, ['-image', '-t'])
  assert.equal(parse(['-it', 'x', 'image', '-i=false'], { interspersed: false }).positionals, ['image', '-i=false'])
})

test('defaults and the environment stand in, the flag wins', () => {
  assert.is(parse([]).values.jobs, 4)
  assert.is(parse([], { env: { JOBS: '7' } }).values.jobs, 7)
  assert.is(parse(['--jobs=2'], { env: { JOBS: '7' } }).values.jobs, 2)
  assert.is(parse([], { env: { JOBS: '' } }).values.jobs, 4)
  assert.equal([...parse(['--jobs=2', '-i']).given], ['jobs', 'interactive'])
})

test('sizes are powers of 1024', () => {
  const cases: [string, number][] = [
    ['512', 512],
    ['64m', 64 * 1024 ** 2],
    ['1.5g', 1.5 * 1024 ** 3],
    ['20MiB', 20 * 1024 ** 2],
    ['2gb', 2 * 1024 ** 3],
    ['7b', 7],
  ]
  for (const [text, bytes] of cases) assert.is(parseBytes(text, '--memory'), bytes, text)
  assert.is(parse(['-m64m']).values.memory, 64 * 1024 ** 2)
})

test('mistakes are errors that name the flag and say what to do', () => {
  const cases: [string[], string][] = [
    [['--tga', 'x'], 'USAGE_UNKNOWN_FLAG: unknown flag --tga for "mille try" (did you mean --tag?)'],
    [['-x'], 'USAGE_UNKNOWN_FLAG: unknown flag -x for "mille try" ("mille try --help" lists the flags)'],
    [['--squash'], 'USAGE_UNKNOWN_FLAG: --squash of docker is not supported by "mille try" yet'],
    [['-id'], 'USAGE_UNKNOWN_FLAG: -d (--detach) of docker is not supported by "mille try" yet'],
    [['--detach'], 'USAGE_UNKNOWN_FLAG: --detach of docker is not supported by "mille try" yet'],
    [['--d'], 'USAGE_UNKNOWN_FLAG: unknown flag --d for "mille try" ("mille try --help" lists the flags)'],
    [['--constructor'], 'USAGE_UNKNOWN_FLAG: unknown flag --constructor for "mille try" ("mille try --help" lists the flags)'],
    [['--t', 'x'], 'USAGE_UNKNOWN_FLAG: unknown flag --t for "mille try" ("mille try --help" lists the flags)'],
    [['--file'], 'USAGE_BAD_FLAG: --file needs a value (write --file value)'],
    [['-t'], 'USAGE_BAD_FLAG: -t needs a value (write -t name)'],
    [['--jobs=many'], 'USAGE_BAD_FLAG: --jobs is "many", expected a whole number'],
    [['--rm=maybe'], 'USAGE_BAD_FLAG: --rm is "maybe", expected true or false'],
    [['--progress=plan'], 'USAGE_BAD_FLAG: --progress is "plan", expected one of auto, plain (did you mean plain?)'],
    [['-m', '5x'], 'USAGE_BAD_FLAG: --memory is "5x", expected a size such as 512m or 2g'],
    [['--cpus=a'], 'USAGE_BAD_FLAG: --cpus is "a", expected a number such as 1.5'],
  ]
  for (const [args, expected] of cases) assert.is(codeAndMessage(args), expected)
  assert.is(codeAndMessage([], { PROGRESS: 'loud' }), 'USAGE_BAD_VARIABLE: PROGRESS is "loud", expected one of auto, plain')
})

test.run()
