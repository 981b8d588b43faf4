/** `mille build --volume`: what RUN sees of this machine, and what of it is in keys. */
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readBuildVolumes } from '../../src/cli/build-volumes.js'
import type { BuildVolume } from '../../src/engine/options.js'
import { type Bench, busybox, makeBench, whyNoBuild } from '../helpers/engine.js'

function volumeTest(
  title: string,
  work: (bench: Bench, volumes: (text: string) => readonly BuildVolume[]) => Promise<void>,
): void {
  test(title, async () => {
    const why = await whyNoBuild()
    if (why !== undefined) return console.log(`SKIP: ${why}`)
    using bench = await makeBench()
    const host = join(bench.directory, 'host')
    mkdirSync(join(host, 'sub'), { recursive: true })
    writeFileSync(join(host, 'a'), 'one\n')
    await work(bench, (text) => readBuildVolumes([text], bench.directory))
  })
}

const dockerfile = (command: string): { name: string; text: string } => ({
  name: 'Dockerfile',
  text: `FROM ${busybox}\nRUN ${command}\n`,
})

volumeTest('a read-only volume is in the key by its content, and cannot be written', async (bench, volumes) => {
  const run = async (volume: string): Promise<boolean> => {
    const options = { dockerfile: dockerfile('cat /v/a; touch /v/x 2>/dev/null && exit 1; true'), volumes: volumes(volume) }
    await bench.build(options)
    return bench.ran().length > 0
  }
  assert.ok(await run('./host:/v:ro'))
  assert.match(bench.output(), 'one')
  assert.not.ok(await run('./host:/v:ro'))
  mkdirSync(join(bench.directory, 'other'))
  writeFileSync(join(bench.directory, 'other/a'), 'one\n')
  mkdirSync(join(bench.directory, 'other/sub'))
  assert.not.ok(await run('./other:/v:ro'), 'the same content elsewhere is the same')
  writeFileSync(join(bench.directory, 'host/a'), 'two\n')
  assert.ok(await run('./host:/v:ro'))
  assert.match(bench.output(), 'two')
})

volumeTest('a file is mounted as a file, and no mount point is left in the layer', async (bench, volumes) => {
  const rootfs = join(bench.directory, 'out')
  await bench.build({
    dockerfile: dockerfile('test "$(cat /new/file)" = one && echo done > /done'),
    volumes: volumes('./host/a:/new/file:ro'),
    outputs: [{ type: 'local', dest: rootfs }],
  })
  assert.ok(existsSync(join(rootfs, 'done')))
  assert.not.ok(existsSync(join(rootfs, 'new')))
})

volumeTest(
  'what is written to a volume stays, and the step runs each time unless it is said to be cacheable',
  async (bench, volumes) => {
    const options = (volume: string): object => ({ dockerfile: dockerfile('echo line >> /v/log'), volumes: volumes(volume) })
    await bench.build(options('./host:/v'))
    await bench.build(options('./host:/v:rw,Z'))
    assert.is(readFileSync(join(bench.directory, 'host/log'), 'utf8'), 'line\nline\n')
    await bench.build(options('./host:/v:cacheable'))
    assert.is(readFileSync(join(bench.directory, 'host/log'), 'utf8'), 'line\nline\n')
  },
)

volumeTest('with O what is written is thrown away, with U the files are given to the user', async (bench, volumes) => {
  await bench.build({ dockerfile: dockerfile('rm /v/a && touch /v/b && ls /v'), volumes: volumes('./host:/v:O') })
  assert.ok(existsSync(join(bench.directory, 'host/a')))
  assert.not.ok(existsSync(join(bench.directory, 'host/b')))
  chownSync(join(bench.directory, 'host/a'), 7, 7)
  const text = `FROM ${busybox}\nUSER 1234:4321\nRUN stat -c %u:%g /v /v/a && echo more >> /v/a\n`
  await bench.build({ dockerfile: { name: 'Dockerfile', text }, volumes: volumes('./host:/v:U') })
  assert.match(bench.output(), '1234:4321\n1234:4321\n')
})

volumeTest('a volume with a name starts with what the image has, and is there for the next build', async (bench, volumes) => {
  await bench.build({ dockerfile: dockerfile('test -e /bin/sh && echo kept > /etc/kept'), volumes: volumes('data:/etc') })
  await bench.build({ dockerfile: dockerfile('cat /v/kept'), volumes: volumes('data:/v') })
  assert.match(bench.output(), 'kept')
})

test('volumes that cannot be are errors that name them', () => {
  const problem = (text: string): string => {
    try {
      readBuildVolumes([text], '/')
      return ''
    } catch (error) {
      return String(error)
    }
  }
  assert.match(problem('/v'), 'has not the form')
  assert.match(problem('/no/such:/v'), 'there is no /no/such')
  assert.match(problem('/etc:/v:rX'), 'unknown option "rX"')
  assert.match(problem('/etc:/v:ro,rw'), 'ro goes with neither')
  assert.match(problem('/etc:v'), 'expected an absolute one')
  assert.match(problem('a b:/v'), 'neither a path nor a volume name')
})

test.run()
