/** Builds by a user who is not root: what works gives the same bytes as root's, what does not work says so. */
import { createHash } from 'node:crypto'
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Ended, milleOk, projectRoot, runProgram } from '../helpers/cli.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeTree } from '../helpers/tree.js'

const nobody = 65534
const env = { SOURCE_DATE_EPOCH: '1600000000' }

/** A context, and a place where nobody may write. */
interface Place {
  readonly root: string
  readonly context: string
  /** Builds as nobody; with `ids` he has subordinate ids. */
  build(dest: string, ids?: string): Promise<Ended>
  own(name: string): string
}

async function withPlace(work: (place: Place) => Promise<void>): Promise<void> {
  if (process.geteuid?.() !== 0) return console.log("SKIP: only root can take another user's place")
  const asNobody = ['--reuid', String(nobody), '--regid', String(nobody), '--clear-groups']
  const can = await runProgram('setpriv', [
    ...asNobody,
    'unshare',
    '--user',
    '--map-root-user',
    'test',
    '-x',
    `${projectRoot}/bin/mille`,
  ])
  if (can.code !== 0) return console.log(`SKIP: a user cannot make a user namespace here: ${can.stderr.trim()}`)
  await using temp = await tempDirectory()
  chmodSync(temp.path, 0o755)
  const context = makeTree(join(temp.path, 'context'), { 'a.txt': 'a', 'src/b': 'b', 'src/closed': 'c', link: '-> a.txt' })
  writeFileSync(join(context, '.dockerignore'), 'src/closed\n')
  chmodSync(join(context, 'src/closed'), 0)
  const home = join(temp.path, 'home')
  mkdirSync(home)
  chownSync(home, nobody, nobody)
  await work({
    root: join(temp.path, 'root'),
    context,
    own: (name) => join(home, name),
    build(dest, ids) {
      const store = join(home, ids === undefined ? 'store' : 'store-with-ids')
      const command = ['setpriv', ...asNobody, `${projectRoot}/bin/mille`, 'build', '-q', '-o', `type=oci,dest=${dest}`, context]
      const variables = { ...env, HOME: home, MILLE_ROOT: store }
      if (ids === undefined) return runProgram(command[0] ?? '', command.slice(1), { env: variables })
      writeFileSync(join(temp.path, 'ids'), ids)
      const mounts = ['subuid', 'subgid'].map((name) => `mount --bind '${temp.path}/ids' /etc/${name}`)
      return runProgram('unshare', ['-m', 'sh', '-c', `${mounts.join(' && ')} && exec "$@"`, 'sh', ...command], {
        env: variables,
      })
    },
  })
}

async function rootBuild({ root, context }: Place, dest: string): Promise<string> {
  await milleOk(root, ['build', '-q', '-o', `type=oci,dest=${dest}`, context], { env })
  return sha256(dest)
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

test('root and another user make the same archive of a Dockerfile without RUN', () =>
  withPlace(async (place) => {
    writeFileSync(join(place.context, 'Dockerfile'), 'FROM scratch\nWORKDIR /w/deep\nCOPY . .\nCOPY --link src /s\nENV A=1\n')
    const ended = await place.build(place.own('user.tar'))
    assert.is(ended.code, 0, ended.stderr)
    assert.is(sha256(place.own('user.tar')), await rootBuild(place, `${place.root}.tar`))
  }))

test('with subordinate ids files have any owner, without them the error says what is missing', () =>
  withPlace(async (place) => {
    writeFileSync(join(place.context, 'Dockerfile'), 'FROM scratch\nCOPY --chown=1:2 . /a/\nCOPY --chown=3 src /b/\n')
    const without = await place.build(place.own('without.tar'))
    assert.is(without.code, 1)
    assert.match(without.stderr, 'STORE_NO_PERMISSION')
    assert.match(without.stderr, '/etc/subuid')
    if ((await runProgram('sh', ['-c', 'command -v newuidmap && test -e /etc/subuid && test -e /etc/subgid'])).code !== 0) {
      console.log('SKIP: newuidmap is not installed')
      return
    }
    const ended = await place.build(place.own('user.tar'), `${nobodyName()}:200000:65536\n`)
    assert.is(ended.code, 0, ended.stderr)
    assert.is(sha256(place.own('user.tar')), await rootBuild(place, `${place.root}.tar`))
  }))

function nobodyName(): string {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((text) => text.split(':')[2] === String(nobody))
  return line?.split(':')[0] ?? 'nobody'
}

test('RUN of another user than root is refused and says so', () =>
  withPlace(async (place) => {
    writeFileSync(join(place.context, 'Dockerfile'), 'FROM scratch\nCOPY a.txt /\nRUN ["/a.txt"]\n')
    const ended = await place.build(place.own('user.tar'))
    assert.is(ended.code, 1)
    assert.match(ended.stderr, 'SANDBOX_UNSUPPORTED')
    assert.match(ended.stderr, 'Dockerfile:3:1')
  }))

test.run()
