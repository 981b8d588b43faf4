/** `mille run` on a real image: what the container sees, what is left of it, how it ends. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { mille, milleOk, runProgram } from '../helpers/cli.js'
import { tempDirectory } from '../helpers/temp.js'

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

test.run()
