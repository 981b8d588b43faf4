/** RUN --mount=type=ssh with a real ssh-agent, and what is left of its socket when mille is killed. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openSshSocket } from '../../src/ops/ssh-agent.js'
import { importBase } from '../helpers/bases.js'
import { milleOk, mustRun, projectRoot, runProgram } from '../helpers/cli.js'
import { whyNoBuild } from '../helpers/engine.js'
import { tempDirectory } from '../helpers/temp.js'
import { within } from '../helpers/within.js'

async function lacksOpenSsh(): Promise<boolean> {
  return (await runProgram('sh', ['-c', 'command -v ssh-agent && command -v ssh-add && command -v ssh-keygen'])).code !== 0
}

/** A running ssh-agent with one key in it. */
async function withAgent(path: string, work: (socket: string, key: string) => Promise<void>): Promise<void> {
  const socket = join(path, 'agent.sock')
  const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' })
  try {
    for (let i = 0; i < 200 && !existsSync(socket); i++) await sleep(25)
    const key = join(path, 'key')
    await mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
    await mustRun('ssh-add', ['-q', key], { env: { SSH_AUTH_SOCK: socket } })
    await work(socket, key)
  } finally {
    agent.kill('SIGKILL')
  }
}

test('a real agent lists and signs through the socket of a step, and cannot be changed', async () => {
  if (await lacksOpenSsh()) return console.log('SKIP: the OpenSSH client is not installed')
  await using directory = await tempDirectory()
  await withAgent(directory.path, async (socket, key) => {
    await using through = await openSshSocket({ agent: socket }, join(directory.path, 'run'), { uid: 0, gid: 0, mode: 0o600 })
    const env = { SSH_AUTH_SOCK: through.path }
    const listed = await mustRun('ssh-add', ['-l'], { env })
    assert.is(listed, await mustRun('ssh-add', ['-l'], { env: { SSH_AUTH_SOCK: socket } }))
    const only = join(directory.path, 'only.pub')
    writeFileSync(only, readFileSync(`${key}.pub`))
    assert.match(
      await mustRun('ssh-keygen', ['-Y', 'sign', '-f', only, '-n', 'file'], { env, input: 'x' }),
      'BEGIN SSH SIGNATURE',
    )
    for (const args of [['-D'], ['-d', `${key}.pub`], [key], ['-x']]) {
      assert.is.not((await runProgram('ssh-add', args, { env, input: 'a\na\n' })).code, 0, args.join(' '))
    }
    assert.is(await mustRun('ssh-add', ['-l'], { env: { SSH_AUTH_SOCK: socket } }), listed)
  })
})

test('after kill -9 no socket is left, and the next build leaves no directory of the killed one', async () => {
  const why = (await lacksOpenSsh()) ? 'the OpenSSH client is not installed' : await whyNoBuild()
  if (why !== undefined) return console.log(`SKIP: ${why}`)
  await using directory = await tempDirectory()
  const { path } = directory
  const [root, context] = [join(path, 'store'), join(path, 'context')]
  for (const each of [root, context]) mkdirSync(each)
  await importBase(root, 'busybox')
  const state = '/run/mille'
  await withAgent(path, async (socket) => {
    const mark = `${process.pid}-${Date.now()}`
    const step = `RUN --mount=type=ssh test -S "$SSH_AUTH_SOCK" && echo ${mark} >/dev/null && echo started && sleep 60`
    writeFileSync(join(context, 'Dockerfile'), `FROM localhost/base/busybox\n${step}\n`)
    const before = new Set(readdirSync(state))
    const child = spawn(join(projectRoot, 'bin/mille'), ['build', '--progress=plain', '--ssh', `default=${socket}`, context], {
      env: { ...process.env, MILLE_ROOT: root },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let text = ''
    await within(
      60_000,
      new Promise<void>((resolve, reject) => {
        child.stderr.on('data', (chunk: Buffer) => {
          text += chunk.toString()
          if (/^#\d+ [\d.]+ started$/m.test(text)) resolve()
        })
        child.on('exit', () => reject(new Error(`the build ended early\n${text}`)))
      }),
    )
    child.removeAllListeners('exit')
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('exit', resolve))
    const left = readdirSync(state).filter((name) => !before.has(name))
    const sockets = left.flatMap((name) => {
      const at = join(state, name)
      if (!statSync(at).isDirectory()) return statSync(at).isSocket() ? [at] : []
      return readdirSync(at, { recursive: true, encoding: 'utf8' }).filter((inner) => inner.includes('ssh-'))
    })
    assert.equal(sockets, [])
    writeFileSync(join(context, 'Dockerfile'), 'FROM localhost/base/busybox\nRUN echo next\n')
    await milleOk(root, ['build', '-q', context])
    const swept = left.filter((name) => name.startsWith('run-') && existsSync(join(state, name, 'runtime-path')))
    assert.equal(swept, [])
  })
})

test.run()
