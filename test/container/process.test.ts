import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { containerProcess } from '../../src/container/process.js'
import { BuildError } from '../../src/core/errors.js'

const config = { Entrypoint: ['/entry'], Cmd: ['a', 'b'], Env: ['A=1', 'PATH=/bin'], WorkingDir: '/work', User: 'app' }
const none = { command: [], entrypoint: undefined, env: [], workdir: undefined, user: undefined, terminal: false }

test('ENTRYPOINT, CMD and the words of the command line go together as in docker', () => {
  const argv = (options: object): readonly string[] => containerProcess(config, { ...none, ...options }, 'h').argv
  assert.equal(argv({}), ['/entry', 'a', 'b'])
  assert.equal(argv({ command: ['x'] }), ['/entry', 'x'])
  assert.equal(argv({ entrypoint: ['/other'] }), ['/other'])
  assert.equal(argv({ entrypoint: ['/other'], command: ['x'] }), ['/other', 'x'])
  assert.equal(argv({ entrypoint: [], command: ['x'] }), ['x'])
  assert.equal(containerProcess({ Cmd: ['c'] }, none, 'h').argv, ['c'])
  assert.equal(containerProcess({ Entrypoint: null, Cmd: ['c'] }, none, 'h').argv, ['c'])
  for (const options of [{ entrypoint: [] }, {}]) {
    assert.throws(
      () => containerProcess(options === undefined ? {} : { Entrypoint: null }, { ...none, ...options }, 'h'),
      (error: unknown) => error instanceof BuildError && error.code === 'CONTAINER_NO_COMMAND',
    )
  }
})

test('a variable is there once, the command line wins over the image and the image over defaults', () => {
  const { env } = containerProcess(config, { ...none, env: ['A=2', 'B=', 'A=3'] }, 'box')
  assert.equal(env, ['PATH=/bin', 'HOSTNAME=box', 'A=3', 'B='])
  assert.ok(containerProcess({ Cmd: ['c'] }, none, 'h').env[0]?.startsWith('PATH=/usr/local/sbin:'))
  assert.ok(containerProcess(config, { ...none, terminal: true }, 'h').env.includes('TERM=xterm'))
})

test('directory and user come from the image unless they are given', () => {
  assert.equal([containerProcess(config, none, 'h').cwd, containerProcess(config, none, 'h').user], ['/work', 'app'])
  const given = containerProcess(config, { ...none, workdir: '/x', user: '7:8' }, 'h')
  assert.equal([given.cwd, given.user], ['/x', '7:8'])
  assert.is(containerProcess({ Cmd: ['c'] }, none, 'h').cwd, '/')
})

test.run()
