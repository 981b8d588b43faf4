/** RUN --mount and what feeds it, through `bin/mille`: secrets that leave no trace, caches that are shared, ssh agents. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openSshSocket } from '../../src/ops/ssh-agent.js'
import { importBase } from '../helpers/bases.js'
import { type Ended, mille, mustRun, type RunOptions, runProgram } from '../helpers/cli.js'
import { whyNoBuild } from '../helpers/engine.js'
import { tempDirectory } from '../helpers/temp.js'
import { within } from '../helpers/within.js'

interface Place {
  readonly path: string
  readonly root: string
  build(text: string, args?: readonly string[], options?: RunOptions): Promise<Ended>
}

function mountTest(title: string, work: (place: Place) => Promise<void>): void {
  test(title, async () => {
    const why = await whyNoBuild()
    if (why !== undefined) return console.log(`SKIP: ${why}`)
    await using directory = await tempDirectory()
    const { path } = directory
    const root = join(path, 'store')
    await importBase(root, 'busybox')
    let contexts = 0
    const build: Place['build'] = (text, args = [], options = {}) => {
      const context = join(path, `context${contexts++}`)
      mkdirSync(context)
      writeFileSync(join(context, 'Dockerfile'), `FROM localhost/base/busybox:latest\n${text}\n`)
      return mille(root, ['build', '--progress=plain', ...args, context], options)
    }
    await within(120_000, work({ path, root, build }))
  })
}

/** The files below a directory in which a text is. */
function filesWith(directory: string, text: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => readFileSync(path).includes(text))
}

const value = 'hunter2-correct-horse'

mountTest('the value of a secret is nowhere in the store, in the output or in the log of a failed step', async (place) => {
  writeFileSync(join(place.path, 'token'), `${value}\n`)
  const secret = ['--secret', `id=t,src=${join(place.path, 'token')}`]
  const shown = await place.build(
    [
      'RUN --mount=type=secret,id=t,env=TOKEN --mount=type=secret,id=t,target=/run/secrets/t ' +
        'cat /run/secrets/t; echo "got $TOKEN"; printf hunter2-; sleep 0.3; echo correct-horse; test "$(stat -c %a /run/secrets/t)" = 400',
      'RUN test ! -e /run/secrets/t && test -z "$TOKEN"',
    ].join('\n'),
    [...secret, '-t', 'shown'],
  )
  assert.is(shown.code, 0, shown.stderr)
  assert.match(shown.stderr, 'got ***')
  assert.not.match(shown.stderr, value)
  assert.not.match(shown.stderr, /correct-horse$/m)
  const failed = await place.build('RUN --mount=type=secret,id=t cat /run/secrets/t; false', secret)
  assert.is(failed.code, 1)
  assert.not.match(failed.stderr, value)
  assert.equal(filesWith(place.root, value), [])
  assert.ok(filesWith(join(place.root, 'logs'), '***').length > 0, 'there is a log, and it is redacted')
})

mountTest('a changed secret runs a step again only with cache-key=true', async ({ build }) => {
  const text = 'RUN --mount=type=secret,id=S,env=S echo run'
  const run = async (secret: string, more: string): Promise<boolean> => {
    const { code, stderr } = await build(text, ['--secret', `id=S,env=S${more}`], { env: { S: secret } })
    assert.is(code, 0, stderr)
    return !/^#2 CACHED/m.test(stderr)
  }
  assert.ok(await run('first', ''))
  assert.not.ok(await run('second', ''))
  assert.ok(await run('third', ',cache-key=true'))
  assert.not.ok(await run('third', ',cache-key=true'))
  assert.ok(await run('fourth', ',cache-key=true'))
})

mountTest('a missing secret leaves its variable unset, a required or too large one is an error', async ({ path, build }) => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
  const unset = await build('RUN --mount=type=secret,id=no,env=NO test -z "${NO+set}"')
  assert.is(unset.code, 0, unset.stderr)
  const required = await build('RUN --mount=type=secret,id=no,required=true true')
  assert.is(required.code, 1)
  assert.match(required.stderr, 'secret "no" was not given')
  writeFileSync(join(path, 'large'), Buffer.alloc(500 * 1024 + 1, 'x'))
  const large = await build('RUN --mount=type=secret,id=l true', ['--secret', `id=l,src=${join(path, 'large')}`])
  assert.is(large.code, 1)
  assert.match(large.stderr, '512001 bytes')
  const places: readonly (readonly [string, RegExp])[] = [
    [join(path, 'nowhere'), /there is no file .*nowhere/],
    [path, /is a directory, not a file/],
  ]
  for (const [place, message] of places) {
    const named = await build('RUN true', ['--secret', `id=t,src=${place}`])
    assert.is(named.code, 2)
    assert.match(named.stderr, message)
  }
})

mountTest('a locked cache mount is held by one process at a time, and reaches no layer', async ({ root, build }) => {
  const step = (n: number): string =>
    `RUN --mount=type=cache,target=/c,sharing=locked echo ${n}; test ! -e /c/busy && touch /c/busy && sleep 1 && rm /c/busy && echo x >> /c/count`
  const [one, two] = await Promise.all([build(step(1)), build(step(2))])
  assert.is(one.code, 0, one.stderr)
  assert.is(two.code, 0, two.stderr)
  const read = await build('RUN --mount=type=cache,target=/c test "$(wc -l < /c/count)" = 2 && echo 3\nRUN test ! -e /c/count')
  assert.is(read.code, 0, read.stderr)
  const pruned = await mille(root, ['prune', '--filter', 'type=exec.cachemount'])
  assert.is(pruned.code, 0, pruned.stderr)
  assert.equal(readdirSync(join(root, 'cache-mounts')), [])
  const again = await build('RUN --mount=type=cache,target=/c test ! -e /c/count && echo 4')
  assert.is(again.code, 0, again.stderr)
})

mountTest('private cache mounts are two directories, shared ones are one, at the same time', async ({ build }) => {
  const step = (n: number, sharing: string): string =>
    `RUN --mount=type=cache,id=${sharing},target=/c,sharing=${sharing} touch /c/${n}; sleep 1.5; ls /c | wc -l | sed "s/^/saw /"`
  const both = (sharing: string): Promise<Ended[]> => Promise.all([build(step(1, sharing)), build(step(2, sharing))])
  for (const { stderr } of await both('private')) assert.match(stderr, /saw 1/)
  assert.ok((await both('shared')).some(({ stderr }) => /saw 2/.test(stderr)))
})

mountTest('a cache mount starts from a directory of a stage with several layers', async ({ build }) => {
  const text = [
    'AS seed',
    'RUN mkdir -p /s/in && echo one > /s/in/a && chown 7:8 /s/in/a',
    'RUN echo two > /s/in/b',
    'FROM localhost/base/busybox:latest',
    'RUN --mount=type=cache,target=/c,from=seed,source=/s/in cat /c/a /c/b && test "$(stat -c %u:%g /c/a)" = 7:8 && echo more > /c/x',
    'RUN --mount=type=cache,target=/c,from=seed,source=/s/in test -e /c/x',
  ]
  const { code, stderr } = await build(`RUN true\nFROM localhost/base/busybox:latest ${text.join('\n')}`)
  assert.is(code, 0, stderr)
})

mountTest('--cache-mount puts a directory of this machine in the place of a cache', async ({ path, build }) => {
  const directory = join(path, 'mine')
  mkdirSync(directory)
  const args = ['--cache-mount', `id=go,src=${directory}`]
  const { code, stderr } = await build('RUN --mount=type=cache,id=go,target=/c echo kept > /c/file', args)
  assert.is(code, 0, stderr)
  assert.is(readFileSync(join(directory, 'file'), 'utf8'), 'kept\n')
})

mountTest('rights beyond the sandbox need --allow, devices are refused by name', async ({ build }) => {
  const host = await build('RUN --network=host true')
  assert.match(host.stderr, 'network.host')
  const insecure = await build('RUN --security=insecure true')
  assert.match(insecure.stderr, 'security.insecure')
  const device = await build('RUN --device=nvidia.com/gpu true')
  assert.match(device.stderr, 'nvidia.com/gpu')
  assert.equal([host.code, insecure.code, device.code], [1, 1, 1])
  const none = await build('RUN --network=none test "$(ls /sys/class/net)" = lo')
  assert.is(none.code, 0, none.stderr)
})

test('the socket of an ssh mount lists and signs with an agent and with key files, and refuses the rest', async () => {
  if ((await runProgram('sh', ['-c', 'command -v ssh-agent ssh-add ssh-keygen'])).code !== 0) {
    return console.log('SKIP: the OpenSSH client is not installed')
  }
  await using directory = await tempDirectory()
  const { path } = directory
  const keys: string[] = []
  for (const [type, bits, form] of [
    ['ed25519', '256', 'RFC4716'],
    ['rsa', '2048', 'RFC4716'],
    ['rsa', '2048', 'PEM'],
    ['ecdsa', '384', 'RFC4716'],
  ] as const) {
    const key = join(path, `${type}-${form}`)
    await mustRun('ssh-keygen', ['-q', '-t', type, '-b', bits, '-m', form, '-N', '', '-f', key])
    keys.push(key)
  }
  const owner = { uid: 0, gid: 0, mode: 0o600 }
  await using own = await openSshSocket({ keys }, join(path, 'run'), owner)
  const env = { SSH_AUTH_SOCK: own.path }
  const listed = await mustRun('ssh-add', ['-l'], { env })
  assert.is(listed.trim().split('\n').length, 4, listed)
  // ssh-keygen -Y signs by way of the agent when it is given the public key only, and checks the signature itself.
  writeFileSync(join(path, 'text'), 'signed')
  for (const key of keys) {
    const only = `${key}.only.pub`
    writeFileSync(only, readFileSync(`${key}.pub`))
    await mustRun('ssh-add', ['-T', only], { env })
    const made = await mustRun('ssh-keygen', ['-Y', 'sign', '-f', only, '-n', 'file'], { env, input: 'signed' })
    writeFileSync(join(path, 'signature'), made)
    writeFileSync(join(path, 'allowed'), `me ${readFileSync(only, 'utf8')}`)
    const check = ['-Y', 'verify', '-f', join(path, 'allowed'), '-I', 'me', '-n', 'file', '-s', join(path, 'signature')]
    await mustRun('ssh-keygen', check, { input: 'signed' })
  }
  // A step that goes on to an agent of the user's: what changes the agent does not get there.
  await using through = await openSshSocket({ agent: own.path }, join(path, 'run'), owner)
  assert.is(await mustRun('ssh-add', ['-l'], { env: { SSH_AUTH_SOCK: through.path } }), listed)
  const wiped = await runProgram('ssh-add', ['-D'], { env: { SSH_AUTH_SOCK: through.path } })
  assert.is.not(wiped.code, 0)
  const locked = join(path, 'locked')
  await mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'secret', '-f', locked])
  const message = await openSshSocket({ keys: [locked] }, join(path, 'run'), owner).then(
    () => 'it opened',
    (error: Error) => error.message,
  )
  assert.match(message, 'has a passphrase')
})

mountTest('RUN --mount=type=ssh has a socket of its own for the length of the step', async ({ path, build }) => {
  if ((await runProgram('sh', ['-c', 'command -v ssh-keygen'])).code !== 0) {
    return console.log('SKIP: the OpenSSH client is not installed')
  }
  const key = join(path, 'key')
  await mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
  const text = [
    'RUN --mount=type=ssh,uid=7,gid=8 echo "$SSH_AUTH_SOCK" && test -S "$SSH_AUTH_SOCK" && test "$(stat -c %a:%u:%g "$SSH_AUTH_SOCK")" = 600:7:8',
    'RUN test -z "$SSH_AUTH_SOCK" && test ! -e /run/buildkit',
  ].join('\n')
  const { code, stderr } = await build(text, ['--ssh', `default=${key}`])
  assert.is(code, 0, stderr)
  assert.match(stderr, '/run/buildkit/ssh_agent.0')
  const without = await build('RUN --mount=type=ssh,required=true true')
  assert.is(without.code, 1)
  assert.match(without.stderr, 'no ssh agent or key "default" was given')
})

mountTest('a directory of the context is mounted with its own mode, and another mode runs the step again', async (place) => {
  const context = join(place.path, 'modes')
  mkdirSync(join(context, 'closed'), { recursive: true })
  writeFileSync(join(context, 'closed/file'), 'text')
  const run = 'RUN --mount=type=bind,source=closed,target=/m stat -c %a /m > /mode'
  writeFileSync(join(context, 'Dockerfile'), `FROM localhost/base/busybox\n${run}\nFROM scratch\nCOPY --from=0 /mode /\n`)
  for (const mode of ['700', '711', '700']) {
    chmodSync(join(context, 'closed'), Number.parseInt(mode, 8))
    const built = await mille(place.root, ['build', '-q', '-o', join(place.path, 'out'), context])
    assert.is(built.code, 0, built.stderr)
    assert.is(readFileSync(join(place.path, 'out/mode'), 'utf8').trim(), mode)
  }
})

test.run()
