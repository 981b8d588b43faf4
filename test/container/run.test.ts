/** `mille run` on a real image: what the container sees, what is left of it, how it ends. */
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { mille, milleOk, projectRoot, runProgram } from '../helpers/cli.js'
import { tempDirectory } from '../helpers/temp.js'
import { within } from '../helpers/within.js'

const binary = join(projectRoot, 'bin/mille')

/** Makes a store with a busybox image; undefined, after saying why, where that cannot be. */
async function busybox(directory: string): Promise<{ readonly root: string; readonly image: string } | undefined> {
  const missing = await whyNoBase('busybox')
  if (missing !== undefined) {
    console.log(`SKIP: ${missing}`)
    return undefined
  }
  const root = join(directory, 'store')
  return { root, image: await importBase(root, 'busybox') }
}

test('the exit code is the command’s own, or docker’s 125, 126, 127', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const cases: [string[], number][] = [
    [['true'], 0],
    [['sh', '-c', 'exit 3'], 3],
    [['sh', '-c', 'sleep 9 & kill -9 $!; wait $!'], 137],
    [['no-such-command'], 127],
    [['/etc'], 126],
  ]
  for (const [command, code] of cases) {
    const ended = await mille(box.root, ['run', '--rm', '--network=none', box.image, ...command])
    assert.is(ended.code, code, `${command.join(' ')}: ${ended.stderr}`)
  }
  assert.is((await mille(box.root, ['run', '--rm', '--pull=never', 'no/such/image', 'true'])).code, 125)
})

test('a command that cannot be started is reported once', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const ended = await mille(box.root, ['run', '--rm', '--network=none', box.image, 'no-such-command'])
  assert.match(ended.stderr, /^error: the command "no-such-command" was not found/)
  const folder = await mille(box.root, ['run', '--rm', '--network=none', box.image, '/etc'])
  assert.is(folder.stderr, 'error: the command "/etc" is a directory [SANDBOX_COMMAND_NOT_EXECUTABLE]\n')
})

/** Starts a container that prints `ready`, sends it signals, each after a line of output, and returns the end. */
async function signalled(
  box: { readonly root: string; readonly image: string },
  script: string,
  signals: readonly NodeJS.Signals[],
  flags: readonly string[] = [],
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const words = ['run', '--rm', '--network=none', ...flags, box.image, 'sh', '-c', script]
  const child = spawn(join(projectRoot, 'bin/mille'), words, { env: { ...process.env, MILLE_ROOT: box.root } })
  const left = [...signals]
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    const next = left.shift()
    if (next !== undefined) child.kill(next)
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  return { code: await within(30_000, ended), stdout, stderr }
}

test('signals are the command’s: mille waits for it and has its exit code; a second Ctrl-C kills it', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const wait = 'echo ready; while :; do sleep 0.1; done'
  for (const signal of ['INT', 'TERM', 'HUP'] as const) {
    const ended = await signalled(box, `trap 'echo got; exit 7' ${signal}; ${wait}`, [`SIG${signal}`])
    assert.equal(ended, { code: 7, stdout: 'ready\ngot\n', stderr: '' }, signal)
  }
  const stubborn = await signalled(box, `trap 'echo no' INT; ${wait}`, ['SIGINT', 'SIGINT'])
  assert.equal(stubborn, { code: 137, stdout: 'ready\nno\n', stderr: '' })
  const apart = await signalled(box, `trap 'exit 7' INT; ${wait}`, ['SIGINT'], ['--sig-proxy=false'])
  assert.is(apart.code, 130, apart.stderr)
  assert.match(apart.stderr, /cancelled\n$/)
})

test('stdout, stderr and a piped stdin are the caller’s', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const run = ['run', '--rm', '--network=none']
  const ended = await mille(box.root, [...run, box.image, 'sh', '-c', 'echo out; echo err >&2'])
  assert.equal([ended.stdout, ended.stderr], ['out\n', 'err\n'])
  assert.is(await milleOk(box.root, [...run, '-i', box.image, 'cat'], { input: 'some text' }), 'some text')
  assert.is(await milleOk(box.root, [...run, box.image, 'cat'], { input: 'some text' }), '')
})

test('variables, directory, user, host name and entry point are as asked for', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  writeFileSync(join(directory.path, 'env'), '# remark\nFROM_FILE=a b\nHANDED_ON\n')
  const flags = ['-e', 'GIVEN=x', '-e', 'HANDED', '-e', 'MISSING', '--env-file', join(directory.path, 'env')]
  const more = ['-w', '/tmp', '-u', '12:34', '-h', 'box', '--entrypoint', 'sh']
  const script = 'echo "$GIVEN|$HANDED|$(printenv MISSING || echo unset)|$FROM_FILE|$HANDED_ON"; pwd; id -u; id -g; hostname'
  const printed = await milleOk(box.root, ['run', '--rm', '--network=none', ...flags, ...more, box.image, '-c', script], {
    env: { HANDED: 'y', HANDED_ON: 'z' },
  })
  assert.is(printed, 'x|y|unset|a b|z\n/tmp\n12\n34\nbox\n')
  const unknown = await mille(box.root, ['run', '--rm', '-u', 'nobody-here', box.image, 'true'])
  assert.is(unknown.code, 125)
  assert.match(unknown.stderr, /\[SANDBOX_UNKNOWN_USER\]/)
})

test('directories of the host are mounted, read-only where asked, and made where missing', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const host = join(directory.path, 'host')
  mkdirSync(host)
  writeFileSync(join(host, 'file'), 'text')
  const run = ['run', '--rm', '--network=none']
  assert.is(
    await milleOk(box.root, [...run, '-v', `${host}:/data`, box.image, 'sh', '-c', 'cat /data/file; echo new > /data/new']),
    'text',
  )
  assert.is(readFileSync(join(host, 'new'), 'utf8'), 'new\n')
  const refused = await mille(box.root, [...run, '-v', `${host}:/data:ro`, box.image, 'touch', '/data/x'])
  assert.is(refused.code, 1)
  await milleOk(box.root, [...run, '-v', `${host}/made/deep:/data`, box.image, 'touch', '/data/x'])
  assert.equal(readdirSync(join(host, 'made/deep')), ['x'])
  const missing = await mille(box.root, [...run, '--mount', `type=bind,src=${host}/none,dst=/data`, box.image, 'true'])
  assert.is(missing.code, 125)
  assert.match(missing.stderr, /\[CONTAINER_BAD_VOLUME\]/)
})

test('a named volume starts with the image’s files and is kept, a nameless one is not', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const dockerfile = `FROM ${box.image}\nRUN mkdir -p /d/sub && echo image > /d/file && chown -R 5:6 /d && ln -s file /d/link\n`
  await milleOk(box.root, ['build', '-q', '-t', 'seeded', '-'], { input: dockerfile })
  const run = ['run', '--rm', '--network=none']
  const script = 'cat /d/link; stat -c %u:%g /d /d/file /d/sub; echo kept > /d/mine'
  assert.is(await milleOk(box.root, [...run, '-v', 'data:/d', 'seeded', 'sh', '-c', script]), 'image\n5:6\n5:6\n5:6\n')
  assert.is(await milleOk(box.root, [...run, '-v', 'data:/x', box.image, 'cat', '/x/mine']), 'kept\n')
  for (let i = 0; i < 2; i++) {
    assert.is(await milleOk(box.root, [...run, '-v', '/scratch', box.image, 'sh', '-c', 'ls /scratch; touch /scratch/x']), '')
  }
})

test('a read-only root filesystem has writable tmpfs and volumes only', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  await milleOk(box.root, ['build', '-q', '-t', 'volumes', '-'], { input: `FROM ${box.image}\nVOLUME /var\n` })
  const script = 'touch /x 2>/dev/null || echo refused; touch /tmp/x /var/x && echo written'
  const printed = await milleOk(box.root, [
    'run',
    '--rm',
    '--network=none',
    '--read-only',
    '--tmpfs',
    '/tmp:size=1m',
    'volumes',
    'sh',
    '-c',
    script,
  ])
  assert.is(printed, 'refused\nwritten\n')
})

test('with a read-only root filesystem the files of the network are read-only, too, unless one is mounted', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const hosts = join(directory.path, 'hosts')
  writeFileSync(hosts, '')
  const script =
    'for f in hosts hostname resolv.conf; do (echo "# own" >> /etc/$f) 2>/dev/null && echo $f; done; test -s /etc/hostname'
  const run = async (...flags: string[]): Promise<string> =>
    await milleOk(box.root, ['run', '--rm', '--network=none', ...flags, box.image, 'sh', '-c', script])
  assert.is(await run(), 'hosts\nhostname\nresolv.conf\n')
  assert.is(await run('--read-only'), '')
  assert.is(await run('--read-only', '-v', `${hosts}:/etc/hosts`), 'hosts\n')
  assert.is(readFileSync(hosts, 'utf8'), '# own\n')
})

test('nothing is left of a container: no mount, no directory, no change of the image', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  await milleOk(box.root, ['run', '--network=none', box.image, 'touch', '/left'])
  assert.is((await mille(box.root, ['run', '--rm', '--network=none', box.image, 'ls', '/left'])).code, 1)
  assert.not.match(readFileSync('/proc/self/mounts', 'utf8'), new RegExp(directory.path))
  const active = join(box.root, 'active')
  assert.equal(
    readdirSync(active).flatMap((lease) => readdirSync(join(active, lease))),
    [],
  )
})

test('a name belongs to one running container at a time', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const name = `test-${process.pid}`
  const flags = ['run', '--rm', '--network=none', '--name', name, box.image]
  const first = mille(box.root, [...flags, 'sleep', '4'])
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  const second = await mille(box.root, [...flags, 'true'])
  assert.is(second.code, 125)
  assert.match(second.stderr, /\[CONTAINER_NAME_IN_USE\]/)
  assert.is((await first).code, 0)
  assert.is((await mille(box.root, [...flags, 'true'])).code, 0)
})

test('-t gives the container a terminal', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const { projectRoot } = await import('../helpers/cli.js')
  const command = `${join(projectRoot, 'bin/mille')} run --rm -it --network=none ${box.image} sh -c 'tty; echo $TERM'`
  const ended = await runProgram('script', ['-qec', command, '/dev/null'], { env: { MILLE_ROOT: box.root } })
  assert.match(ended.stdout, /\/dev\/(pts\/0|console)\r\nxterm\r\n/)
  const refused = await mille(box.root, ['run', '--rm', '-it', box.image, 'true'])
  assert.is(refused.code, 125)
  assert.match(refused.stderr, /stdin is not a terminal/)
})

test('-t gives a terminal where the caller has none, and needs no -i', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const words = ['run', '--rm', '--network=none', '-t', box.image, 'sh', '-c']
  const ended = await mille(box.root, [...words, 'tty; cat <&1 & sleep 0.1; exit 5'])
  assert.is(ended.code, 5, ended.stderr)
  assert.match(ended.stdout, /^\/dev\/pts\/0\r?\n$/)
  assert.is(ended.stderr, '')
  const piped = await runProgram('bash', ['-c', `"$0" "$@" | head -1; echo "\${PIPESTATUS[0]}"`, binary, ...words, 'yes'], {
    env: { MILLE_ROOT: box.root },
  })
  assert.match(piped.stdout, /^y\r?\n141\n$/)
  assert.is(piped.stderr, '')
})

test('the terminal has the size of the caller’s, and follows it', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const script = 'stty size; while [ "$(stty size)" != "20 50" ]; do sleep 0.05; done; echo resized'
  for (const flags of ['-t', '-it']) {
    const inner = `stty rows 33 cols 111
      (sleep 1; stty rows 20 cols 50 < "$(tty <&2)") &
      "${binary}" run --rm --network=none ${flags} ${box.image} sh -c '${script}'`
    const ended = await runProgram('script', ['-qec', inner, '/dev/null'], { env: { MILLE_ROOT: box.root }, timeoutMs: 30_000 })
    assert.match(ended.stdout, /33 111\s+resized/, `${flags}: ${ended.stdout}`)
    assert.is(ended.code, 0)
  }
})

test('a VOLUME that the image has no directory for is an empty one', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const input = `FROM ${box.image}\nVOLUME /data/a /etc\n`
  await milleOk(box.root, ['build', '-q', '-t', 'with-volume', '-'], { input })
  const script = 'echo x > /data/a/f && cat /data/a/f && test -e /etc/hosts'
  assert.is(await milleOk(box.root, ['run', '--rm', '--network=none', 'with-volume', 'sh', '-c', script]), 'x\n')
  assert.is(await milleOk(box.root, ['run', '--rm', '--network=none', 'with-volume', 'ls', '/data/a']), '')
})

test('a flag with an empty text is one that was not given', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  await milleOk(box.root, ['build', '-q', '-t', 'joe', '-'], { input: `FROM ${box.image}\nWORKDIR /tmp\nUSER 1234\n` })
  const flags = ['--user=', '--workdir=', '--name=', '--hostname=', '--memory=0', '--cpus=0', '--shm-size=0', '--cpuset-cpus=']
  const script = 'id -u; pwd; hostname; df -k /dev/shm | tail -1'
  const out = await milleOk(box.root, ['run', '--rm', '--network=none', ...flags, 'joe', 'sh', '-c', script])
  assert.match(out, /^1234\n\/tmp\n[0-9a-f]{12}\nshm +65536 /)
})

test('an environment file is read by mille and not by Node', async () => {
  await using directory = await tempDirectory()
  const box = await busybox(directory.path)
  if (box === undefined) return
  const file = join(directory.path, 'env')
  writeFileSync(file, 'NODE_OPTIONS=--no-such-option\nMILLE_ROOT=/no/such/root\n')
  const words = ['run', '--rm', '--network=none']
  const out = await milleOk(box.root, [...words, '--env-file', file, box.image, 'env'])
  assert.match(out, /^NODE_OPTIONS=--no-such-option$/m)
  const missing = await mille(box.root, [...words, '--env-file', join(directory.path, 'nope'), box.image, 'env'])
  assert.is(missing.code, 125)
  assert.match(missing.stderr, /^error: --env-file .*nope cannot be read \(ENOENT\)/)
})

test('a flag that the runtime would choke on is refused before', async () => {
  await using directory = await tempDirectory()
  const cases: [string[], RegExp][] = [
    [['-m', '1k'], /--memory is 1024 bytes, expected at least 6m/],
    [['-m', '-1'], /--memory is "-1", expected a size/],
    [['-m', '999999999999999999999999'], /the most that can be asked for is 8p/],
    [['--memory-swap', '20m'], /--memory-swap needs --memory/],
    [['--shm-size', '-1'], /--shm-size is "-1", expected a size/],
    [['--cpuset-cpus', 'all'], /--cpuset-cpus is "all", expected numbers and ranges/],
    [['--add-host', 'a:999.1.1.1'], /"999\.1\.1\.1" is no IP address/],
    [['--add-host', 'a:1::2::3'], /"1::2::3" is no IP address/],
  ]
  for (const [flags, pattern] of cases) {
    const ended = await mille(directory.path, ['run', '--rm', '--pull=never', ...flags, 'x', 'true'])
    assert.is(ended.code, 125)
    assert.match(ended.stderr, pattern)
  }
  const passed = await mille(directory.path, ['run', '--pull=never', '--add-host=a:::1', '--add-host=b:[fe80::1]', 'x', 'true'])
  assert.match(passed.stderr, /there is no image x:latest/)
})

test.run()
