/** Places and files that a user names and that are no ordinary ones: each gives one clear error, and nothing hangs. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { type Ended, mille, milleOk, mustRun, projectRoot, runProgram } from '../helpers/cli.js'
import { tempDirectory } from '../helpers/temp.js'

const noBase = await whyNoBase('busybox')

/** A store with the busybox base, and a context whose build needs no container. */
async function workshop(): Promise<AsyncDisposable & { path: string; root: string; context: string }> {
  const directory = await tempDirectory()
  const root = join(directory.path, 'store')
  const context = join(directory.path, 'context')
  mkdirSync(context)
  await importBase(root, 'busybox')
  writeFileSync(join(context, 'Dockerfile'), 'FROM localhost/base/busybox\nLABEL a=b\n')
  return { path: directory.path, root, context, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() }
}

const onBusybox = (title: string, body: (at: Awaited<ReturnType<typeof workshop>>) => Promise<void>): void =>
  test(title, async () => {
    if (noBase !== undefined) return void console.log(`SKIP: ${noBase}`)
    await using at = await workshop()
    await body(at)
  })

function expectError(ended: Ended, exitCode: number, pattern: RegExp): void {
  assert.is(ended.code, exitCode, `${ended.signal}\n${ended.stderr}`)
  assert.match(ended.stderr, pattern)
}

onBusybox('where the kernel makes no directories, an output, a cache or a mount is an error and no hang', async (at) => {
  const limit = { timeoutMs: 60_000 }
  const build = (flag: string, value: string) => mille(at.root, ['build', flag, value, at.context], limit)
  const target = '/proc/no-such/place'
  expectError(
    await build('-o', `type=local,dest=${target}`),
    1,
    /error: \/proc\/no-such\/place cannot be written .*EXPORT_FAILED/,
  )
  expectError(await build('--cache-to', `type=local,dest=${target}`), 1, /\/proc\/no-such\/place/)
  const run = ['run', '--rm', '-v', `${target}:/y`, 'localhost/base/busybox', 'true']
  expectError(await mille(at.root, run, limit), 125, /\/proc\/no-such\/place.*CONTAINER_BAD_VOLUME/)
  const other = await mille(target, ['build', at.context], limit)
  expectError(other, 1, /\/proc\/no-such\/place/)
})

onBusybox('a directory where a file is to be written is refused before the build', async (at) => {
  for (const flag of ['iidfile', 'metadata-file']) {
    const ended = await mille(at.root, ['build', `--${flag}`, at.path, at.context])
    expectError(ended, 2, new RegExp(`--${flag} ${at.path} is a directory \\[USAGE_BAD_FLAG\\]`))
    assert.not.match(ended.stderr, /FROM/)
  }
  const ended = await mille(at.root, ['build', '-q', '--iidfile', '/proc/no-such/id', at.context])
  expectError(ended, 1, /--iidfile \/proc\/no-such\/id cannot be written \(ENOENT\) \[OUTPUT_UNWRITABLE\]/)
})

onBusybox('a tree deeper than a path can be long names its step, and what is left of it can be removed', async (at) => {
  const name = 'a'.repeat(100)
  const loop = `i=0; while [ $i -lt 90 ]; do mkdir ${name} && cd ${name} || break; i=$((i+1)); done`
  for (const [line, pattern] of [
    [`RUN ${loop}`, /Dockerfile:2:1: error: .*4,095 bytes.*LAYER_UNSUPPORTED/],
    [`RUN ${loop}; exit 3`, /Dockerfile:2:1: error: .*exited with code 3.*SANDBOX_COMMAND_FAILED/],
  ] as const) {
    writeFileSync(join(at.context, 'Dockerfile'), `FROM localhost/base/busybox\n${line}\n`)
    const ended = await mille(at.root, ['build', '--network=none', at.context])
    expectError(ended, 1, pattern)
    assert.not.match(ended.stderr, /suppressed|ENAMETOOLONG/)
  }
  assert.equal(readdirSync(join(at.root, 'tmp')), [])
  // What an earlier version left.
  const left = join(at.root, 'tmp/gone-0123456789ab')
  await mustRun('sh', ['-c', `mkdir ${left} && cd ${left} && ${loop}`])
  await milleOk(at.root, ['prune', '-f'])
  assert.equal(readdirSync(join(at.root, 'tmp')), [])
})

onBusybox('a pipe that nobody writes to is no Dockerfile and no ignore file; one with a writer is', async (at) => {
  const pipe = join(at.path, 'pipe')
  await mustRun('mkfifo', [pipe, join(at.context, '.dockerignore')])
  const limit = { timeoutMs: 60_000 }
  expectError(await mille(at.root, ['build', at.context], limit), 1, /\.dockerignore cannot be read: it is a pipe/)
  rmSync(join(at.context, '.dockerignore'))
  expectError(await mille(at.root, ['build', '-f', pipe, at.context], limit), 1, /pipe is a pipe, and nobody writes to it/)
  const file = join(at.context, 'Dockerfile')
  const build = `${join(projectRoot, 'bin/mille')} --root ${at.root} build -q`
  for (const line of [
    `(sleep 0.2; cat ${file}) > ${pipe} & ${build} -f ${pipe} ${at.context}`,
    `${build} -f <(sleep 0.2; cat ${file}) ${at.context}`,
    `cat ${file} | ${build} -f /dev/stdin ${at.context}`,
    `${build} -f /dev/stdin ${at.context} < ${file}`,
    `${build.replace(/build -q/, 'lint')} <(cat ${file})`,
  ]) {
    const ended = await runProgram('bash', ['-c', line], limit)
    assert.is(ended.code, 0, `${line}: ${ended.stderr}`)
  }
})

onBusybox('SIGTERM ends the wait for a pipe whose writer is silent', async (at) => {
  const pipe = join(at.path, 'pipe')
  await mustRun('mkfifo', [pipe])
  const build = `${join(projectRoot, 'bin/mille')} --root ${at.root} build -f ${pipe} ${at.context}`
  const line = `exec 9<>${pipe}; timeout -s TERM -k 30 2 ${build}`
  const ended = await runProgram('bash', ['-c', `${line}; true`], { timeoutMs: 60_000 })
  assert.match(ended.stderr, /cancelled/)
})

onBusybox('a full disk during a step names the step, and says what to do', async (at) => {
  const small = join(at.path, 'small')
  mkdirSync(small)
  const script = [
    `mount -t tmpfs -o size=8m tmpfs ${small}`,
    `${join(projectRoot, 'bin/mille')} --root ${small}/store build --progress=plain ${at.context}`,
  ].join('\n')
  writeFileSync(join(at.context, 'big'), randomBytes(8 << 20))
  writeFileSync(join(at.context, 'Dockerfile'), 'FROM scratch\nCOPY big /\n')
  const ended = await runProgram('unshare', ['-m', 'bash', '-c', script])
  if (/unshare failed|Operation not permitted|mount:/.test(ended.stderr)) return void console.log('SKIP: no mounts here')
  expectError(ended, 1, /Dockerfile:2:1: error: no space left at .*STORE_NO_SPACE/)
  assert.match(ended.stderr, /ERROR: no space left/)
  assert.match(ended.stderr, /hint: free some space/)
})

onBusybox('a NUL byte in a path, a too low limit and an empty stdin are said as what they are', async (at) => {
  writeFileSync(join(at.context, 'Dockerfile'), 'FROM localhost/base/busybox\nCOPY a\0b /x\n')
  expectError(await mille(at.root, ['build', at.context]), 1, /Dockerfile:2:6: error: there is a NUL byte in this path/)
  const limited = await mille(at.root, ['build', '--ulimit', 'nofile=10', at.context])
  expectError(limited, 2, /--ulimit nofile=10 is too low.*\n {2}hint: the least is nofile=20/)
  expectError(await mille(at.root, ['build', '-'], { input: '' }), 2, /nothing came there \[USAGE_BAD_ARGUMENT\]/)
})

onBusybox('what save could not write is the only error', async (at) => {
  const bin = join(projectRoot, 'bin/mille')
  const line = `${bin} --root ${at.root} save localhost/base/busybox > /dev/full`
  const ended = await runProgram('bash', ['-c', line])
  assert.is(ended.code, 1)
  assert.match(ended.stderr, /no space is left/)
  assert.not.match(ended.stderr, /cancelled/)
})

test.run()
