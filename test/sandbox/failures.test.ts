/** Commands that cannot be started, set-ups that go wrong, cancelling, and mille being killed. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SandboxError } from '../../src/core/errors.js'
import { mountsWith, sandboxBench, skipped } from '../helpers/sandbox.js'
import { within } from '../helpers/within.js'

const runtimes = ['crun', 'runc'].filter((name) => existsSync(`/usr/bin/${name}`) || existsSync(`/usr/sbin/${name}`))

async function errorOf(work: Promise<unknown>): Promise<SandboxError> {
  try {
    await within(20_000, work)
  } catch (error) {
    assert.instance(error, SandboxError)
    return error as SandboxError
  }
  throw new Error('it did not fail')
}

for (const runtime of runtimes) {
  test(`${runtime}: a missing command is 127, one that is no program is 126`, async () => {
    if (skipped()) return
    await using bench = sandboxBench({ runtime })
    writeFileSync(join(bench.base, 'bin/plain'), '#!/bin/sh\n', { mode: 0o644 })
    writeFileSync(join(bench.base, 'bin/noise'), Buffer.from([0x7f, 0x45, 0x4c, 0x46, 9, 9, 9, 9]), { mode: 0o755 })
    writeFileSync(join(bench.base, 'bin/orphan'), '#!/no/interpreter\n', { mode: 0o755 })
    for (const command of ['nope', '/bin/nope', '/bin/orphan']) {
      const error = await errorOf(bench.run([command]))
      assert.is(error.code, 'SANDBOX_COMMAND_NOT_FOUND', `${command}: ${error.message}`)
      assert.is(error.exitCode, 127)
      assert.match(error.message, `"${command}"`)
    }
    for (const command of ['/bin/plain', '/bin/noise', '/etc']) {
      const error = await errorOf(bench.run([command]))
      assert.is(error.code, 'SANDBOX_COMMAND_NOT_EXECUTABLE', `${command}: ${error.message}`)
      assert.is(error.exitCode, 126)
    }
  })

  test(`${runtime}: a set-up that fails is not the command's exit code`, async () => {
    if (skipped()) return
    await using bench = sandboxBench({ runtime })
    const error = await errorOf(bench.run('true', { cwd: '/bin/busybox' }))
    assert.is(error.code, 'SANDBOX_SETUP_FAILED')
    assert.is(error.exitCode, undefined)
    assert.match(error.message, new RegExp(`^${runtime} could not set up the container: .*(directory|chdir|cwd|mkdir)`, 'i'))
  })

  test(`${runtime}: a command's own 126 and 127 are exit codes`, async () => {
    if (skipped()) return
    await using bench = sandboxBench({ runtime })
    assert.is((await within(20_000, bench.run('exit 127'))).exitCode, 127)
    assert.is((await within(20_000, bench.run('nope'))).exitCode, 127)
    assert.is((await within(20_000, bench.run('exit 126'))).exitCode, 126)
    const killed = await within(20_000, bench.run('sh -c "kill -TERM \\$\\$"; exit $?'))
    assert.is(killed.exitCode, 143)
    assert.is(killed.signal, 'SIGTERM')
  })

  test(`${runtime}: cancelling ends a command that ignores signals at once, and leaves nothing`, async () => {
    if (skipped()) return
    await using bench = sandboxBench({ runtime })
    await within(20_000, bench.run('true'))
    const abort = new AbortController()
    // Its own name: the same test may be running beside it.
    const sleeper = `sleep ${4711 + process.pid}`
    const running = bench.run(`(${sleeper} &) ; ${sleeper}`, { network: 'none' }, abort.signal)
    running.catch(() => undefined)
    for (let i = 0; i < 400 && processes(sleeper) < 2; i++) await sleep(25)
    const started = performance.now()
    abort.abort()
    try {
      await within(10_000, running)
      assert.unreachable()
    } catch (error) {
      assert.is((error as Error).name, 'AbortError')
    }
    assert.ok(performance.now() - started < 3_000)
    assert.is(processes(sleeper), 0)
    assert.equal(
      mountsWith(bench.directory).filter((line) => line.startsWith('overlay')),
      [],
    )
  })
}

test('cancelling lets a command that handles SIGTERM end by itself', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const abort = new AbortController()
  const out = join(bench.directory, 'out')
  mkdirSync(out)
  const mounts = [{ kind: 'bind' as const, hostPath: out, target: '/out', readonly: false }]
  const command = 'trap "echo tidy > /out/done; exit 0" TERM; touch /out/ready; while true; do sleep 0.05; done'
  const running = bench.run(command, { mounts }, abort.signal)
  running.catch(() => undefined)
  for (let i = 0; i < 400 && !existsSync(join(out, 'ready')); i++) await sleep(25)
  abort.abort()
  await within(
    10_000,
    running.catch(() => undefined),
  )
  assert.is(readFileSync(join(out, 'done'), 'utf8'), 'tidy\n')
})

test('a signal that was aborted before starts nothing', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  try {
    await bench.run('true', {}, AbortSignal.abort())
    assert.unreachable()
  } catch (error) {
    assert.is((error as Error).name, 'AbortError')
  }
  assert.not.ok(existsSync(bench.stateDirectory))
})

test('a mount source that is missing is named', async () => {
  if (skipped()) return
  await using bench = sandboxBench()
  const mounts = [{ kind: 'bind' as const, hostPath: '/no/such/place', target: '/x', readonly: true }]
  const error = await errorOf(bench.run('true', { mounts }))
  assert.is(error.code, 'SANDBOX_MOUNT_FAILED')
  assert.match(error.message, '/no/such/place')
})

test("the runtime's own words do not get into the command's output, the command's do", async () => {
  if (skipped()) return
  for (const runtime of runtimes) {
    await using bench = sandboxBench({ runtime })
    const out: string[] = []
    const collect = (data: Uint8Array): void => void out.push(Buffer.from(data).toString())
    const io = { stdin: 'ignore' as const, onStdout: collect, onStderr: collect }
    await errorOf(bench.sandbox.run(bench.plan({ argv: ['nope'] }), io, new AbortController().signal))
    assert.equal(out, [])
    const done = await within(20_000, bench.run('echo error of mine >&2; exit 1'))
    assert.is(done.stderr, 'error of mine\n')
  }
})

test('an unknown runtime is an error that names it', async () => {
  if (skipped()) return
  await using bench = sandboxBench({ runtime: 'nocrun' })
  const error = await errorOf(bench.run('true'))
  assert.is(error.code, 'SANDBOX_NO_RUNTIME')
  assert.match(error.message, 'nocrun')
})

test('when mille is killed its containers, helpers and state end within seconds', async () => {
  if (skipped()) return
  const stateDirectory = mkdtempSync(join(tmpdir(), 'mille-killed-'))
  try {
    const child = startVictim(stateDirectory)
    for (let i = 0; i < 400 && processes('sleep 4712') === 0; i++) await sleep(25)
    assert.is(processes('sleep 4712'), 1)
    child.kill('SIGKILL')
    for (let i = 0; i < 200 && (processes('sleep 4712') > 0 || processes(stateDirectory) > 0); i++) await sleep(50)
    assert.is(processes('sleep 4712'), 0)
    assert.is(processes(stateDirectory), 0)
    assert.equal(
      readdirSync(stateDirectory).filter((name) => name.startsWith('run-')),
      [],
    )
  } finally {
    rmSync(stateDirectory, { recursive: true, force: true })
  }
})

test('what a killed mille could not remove, the next one does', async () => {
  if (skipped()) return
  const stateDirectory = mkdtempSync(join(tmpdir(), 'mille-killed-'))
  try {
    const child = startVictim(stateDirectory)
    for (let i = 0; i < 400 && processes('sleep 4712') === 0; i++) await sleep(25)
    for (const pid of pidsOf('mille-guardian').filter((pid) => commandOf(pid).includes(stateDirectory)))
      process.kill(pid, 'SIGKILL')
    child.kill('SIGKILL')
    await sleep(200)
    assert.is(processes('sleep 4712'), 1)
    {
      await using bench = sandboxBench({ stateDirectory })
      await within(20_000, bench.run('true'))
    }
    for (let i = 0; i < 100 && processes('sleep 4712') + processes(stateDirectory) > 0; i++) await sleep(50)
    assert.is(processes('sleep 4712'), 0)
    assert.is(processes(stateDirectory), 0)
    assert.equal(
      readdirSync(stateDirectory).filter((name) => name.startsWith('run-')),
      [],
    )
  } finally {
    rmSync(stateDirectory, { recursive: true, force: true })
  }
})

/** Another process that runs a container, to be killed. */
function startVictim(stateDirectory: string): ReturnType<typeof spawn> {
  const helper = fileURLToPath(new URL('../helpers/sandbox.js', import.meta.url))
  const code = `const { sandboxBench } = await import(${JSON.stringify(helper)})
    await sandboxBench({ stateDirectory: ${JSON.stringify(stateDirectory)} }).run('sleep 4712', { network: 'default' })`
  // Its own temporary files go where the test removes them.
  const env = { ...process.env, TMPDIR: stateDirectory }
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'ignore', env })
}

function processes(part: string): number {
  return pidsOf(part).length
}

/** Processes whose command line has `part`, zombies and this one not counted. */
function pidsOf(part: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => commandOf(pid).includes(part) && !commandOf(pid).includes('node'))
}

function commandOf(pid: number): string {
  const path = `/proc/${pid}/cmdline`
  try {
    return readFileSync(path, 'utf8').replaceAll('\0', ' ').trim()
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return ''
    throw error
  }
}

test.run()
