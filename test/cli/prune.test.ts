/** `mille du`, `mille prune` and the collection at the end of builds, through `bin/mille`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Ended, mille, mustRun, projectRoot } from '../helpers/cli.js'
import { whyNoBuild } from '../helpers/engine.js'
import { type ExplainBench, explainBench, shellBase } from '../helpers/explain.js'
import { within } from '../helpers/within.js'

const missing = await whyNoBuild()

/** A test with a store that has busybox in it. */
function pruneTest(title: string, body: (bench: ExplainBench) => Promise<void>): void {
  test(title, async () => {
    if (missing !== undefined) return console.log(`SKIP: ${missing}`)
    using bench = await explainBench({ shell: true })
    await body(bench)
  })
}

interface ShownItem {
  readonly ID: string
  readonly Type: string
  readonly Description: string
  readonly Reclaimable: boolean
  readonly Shared: boolean
  readonly SizeBytes: number
  readonly UsageCount?: number
  readonly UniqueBytes?: number
}

async function du(bench: ExplainBench, ...args: string[]): Promise<ShownItem[]> {
  const text = await bench.ok('du', '--format=json', ...args)
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as ShownItem]))
}

const sumOf = (items: readonly ShownItem[]): number => items.reduce((sum, { SizeBytes }) => sum + SizeBytes, 0)

async function diskBytes(path: string): Promise<number> {
  return Number((await mustRun('du', ['-sB1', path])).split('\t')[0])
}

const files = (name: string, count: number): string =>
  `mkdir /${name} && for i in $(seq ${count}); do echo $i > /${name}/$i; done && ln /${name}/1 /${name}/link && mkdir /${name}/$'\\xff'`

/** Two images that share a step, a cache mount, a build that failed, an image without a name. */
async function fillStore(bench: ExplainBench): Promise<void> {
  const shared = `FROM ${shellBase}\nRUN ${files('shared', 300)}\n`
  bench.write({ Dockerfile: `${shared}RUN --mount=type=cache,id=npm,target=/c head -c 3000000 /dev/zero > /c/x; echo a > /a\n` })
  await bench.ok('build', '-t', 'one', bench.context)
  bench.write({ Dockerfile: `${shared}RUN head -c 2000000 /dev/zero > /b\n` })
  await bench.ok('build', '-t', 'two', bench.context)
  bench.write({ Dockerfile: `${shared}RUN head -c 1000000 /dev/zero > /unnamed\n` })
  await bench.ok('build', bench.context)
  bench.write({ Dockerfile: `${shared}RUN echo failing; false\n` })
  assert.is((await bench.run('build', bench.context)).code, 1)
  await bench.ok('run', '--rm', '-v', 'data:/data', 'one', 'sh', '-c', 'head -c 500000 /dev/zero > /data/x')
}

pruneTest('du accounts for every byte on the disk, and prune --all frees what du calls reclaimable', async (bench) => {
  await fillStore(bench)
  const before = await diskBytes(bench.root)
  const items = await du(bench)
  // Nothing is written by du itself.
  assert.ok(Math.abs(sumOf(items) - before) <= before * 0.02, `du says ${sumOf(items)}, the disk ${before}`)
  const cache = items.find(({ Type }) => Type === 'exec.cachemount')
  assert.is(cache?.Description, 'cached mount /c with id "npm"')
  assert.ok((cache?.SizeBytes ?? 0) >= 3_000_000 && cache?.Reclaimable)
  const step = items.find(({ Description }) => Description.includes('/shared'))
  assert.ok(step?.Shared && !step.Reclaimable)
  assert.ok((step?.SizeBytes ?? 0) > 300 * 4096, 'small files take blocks')
  assert.ok(items.some(({ Type, Reclaimable }) => Type === 'volume' && !Reclaimable))
  assert.ok(items.some(({ Type }) => Type === 'history'))
  const image = items.find(({ Description }) => Description === 'image docker.io/library/two:latest')
  assert.ok((image?.UniqueBytes ?? 0) >= 2_000_000 && (image?.UniqueBytes ?? 0) < 2_200_000)

  const reclaimable = sumOf(items.filter(({ Type, Reclaimable }) => Reclaimable && Type !== 'history'))
  assert.match(await bench.ok('prune', '--all', '--dry-run'), /\nWould be removed: {3}\S+MB\n$/)
  assert.is(await diskBytes(bench.root), before)
  const table = await bench.ok('prune', '--all', '--force')
  assert.match(table, /^ID +RECLAIMABLE +SIZE +LAST ACCESSED\n[0-9a-f]{25}/)
  assert.match(table, /\nTotal: {3}\S+MB\n$/)
  const freed = before - (await diskBytes(bench.root))
  assert.ok(Math.abs(freed - reclaimable) <= before * 0.02, `${reclaimable} were reclaimable, ${freed} are free`)
  assert.match(await bench.ok('run', '--rm', 'two', 'ls', '/shared/300', '/b'), '/b')
})

pruneTest('use is counted: last use and number, and a build of nothing notes its one record', async (bench) => {
  bench.write({ Dockerfile: `FROM ${shellBase}\nRUN echo used > /used\n` })
  await bench.ok('build', '-t', 'app', bench.context)
  const count = async (): Promise<number | undefined> =>
    (await du(bench)).find(({ Description }) => Description.endsWith('RUN echo used > /used'))?.UsageCount
  const first = (await count()) ?? 0
  for (let i = 0; i < 3; i++) await bench.ok('build', '-t', 'app', bench.context)
  assert.is(await count(), first + 3)
})

pruneTest('filters choose among cached results, caches and records', async (bench) => {
  await fillStore(bench)
  const ids = async (...filters: string[]): Promise<string[]> =>
    (await du(bench, ...filters.flatMap((filter) => ['--filter', filter]))).map(({ ID }) => ID).sort()
  const all = await ids()
  assert.equal(await ids('mutable', 'type=exec.cachemount'), await ids('type=exec.cachemount'))
  assert.equal([...(await ids('shared')), ...(await ids('private'))].sort(), all)
  assert.equal([...(await ids('inuse')), ...(await ids('inuse=false'))].sort(), all)
  assert.equal([...(await ids('description~=^image')), ...(await ids('type!=image'))].sort(), all)
  assert.equal(
    (await ids('until=1h')).filter((id) => /^[0-9a-f]{25}$/.test(id)),
    [],
  )
  for (const bad of ['tpye=image', 'type=regula', 'until=later', 'inuse=maybe', 'id~=(']) {
    const { code, stderr } = await bench.run('prune', '--filter', bad)
    assert.is(code, 2, bad)
    assert.ok(stderr.includes(bad), stderr)
  }
  await bench.ok('prune', '--filter', 'type=exec.cachemount', '--filter', 'until=1h')
  assert.is((await ids('type=exec.cachemount')).length, 1)
  await bench.ok('prune', '--filter', 'type=exec.cachemount')
  assert.equal(await ids('type!=exec.cachemount'), await ids())
  assert.is((await ids()).length, all.length - 1)
  assert.ok(readdirSync(join(bench.root, 'history')).length > 0)
  await bench.ok('prune', '--filter', 'type=history')
  assert.equal(readdirSync(join(bench.root, 'history')), [])
})

const go = 'touch /c/started; while ! test -e /c/go; do sleep 0.05; done'

/** Waits until the process in the container has begun. */
async function started(directory: () => string | undefined, child: ChildProcess): Promise<string> {
  for (;;) {
    const found = directory()
    if (found !== undefined && existsSync(join(found, 'started'))) return found
    assert.is(child.exitCode, null, 'it ended before it began')
    await sleep(20)
  }
}

function start(bench: ExplainBench, ...args: string[]): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
  const child = spawn(join(projectRoot, 'bin/mille'), args, { env: { ...process.env, MILLE_ROOT: bench.root } })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (data) => {
    stdout += data
  })
  child.stderr.on('data', (data) => {
    stderr += data
  })
  const ended = new Promise<Ended>((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })))
  return { child, ended }
}

pruneTest('what a running build, its cache mount and a running container need stays', async (bench) => {
  bench.write({
    Dockerfile: `FROM ${shellBase}\nRUN echo base > /base\nRUN --mount=type=cache,target=/c ${go}; cat /base > /copy\n`,
  })
  const mounts = join(bench.root, 'cache-mounts')
  const mountPath = (): string | undefined =>
    (existsSync(mounts) ? readdirSync(mounts) : []).flatMap((name) => (name.includes('.') ? [] : [join(mounts, name)]))[0]
  const { child, ended } = start(bench, 'build', '-t', 'app', bench.context)
  const mount = await within(60_000, started(mountPath, child))
  const during = await du(bench)
  assert.is(during.find(({ Type }) => Type === 'exec.cachemount')?.Reclaimable, false)
  const pruned = await bench.run('prune', '-a')
  assert.is(pruned.code, 0, pruned.stderr)
  assert.match(pruned.stderr, 'another mille is running; what it uses was kept')
  writeFileSync(join(mount, 'go'), '')
  const built = await within(60_000, ended)
  assert.is(built.code, 0, built.stderr)
  assert.is(await bench.ok('run', '--rm', 'app', 'cat', '/copy'), 'base\n')
  assert.is((await bench.reasons('-t', 'app')).length, 0, 'the results of the running build stayed too')

  const shared = join(bench.directory, 'shared')
  mkdirSync(shared)
  const id = (await bench.ok('images', '-q', '--no-trunc', 'app')).trim()
  const container = start(bench, 'run', '--rm', '-v', `${shared}:/c`, id, 'sh', '-c', `${go}; cat /copy`)
  await within(
    60_000,
    started(() => shared, container.child),
  )
  await bench.ok('image', 'prune', '-a')
  await bench.ok('system', 'prune', '-a')
  writeFileSync(join(shared, 'go'), '')
  assert.is((await within(60_000, container.ended)).stdout, 'base\n')
})

pruneTest('builds that start and end while prunes run give whole images', async (bench) => {
  const build = (name: string): Promise<string> => bench.ok('build', '-t', name, '-f', join(bench.context, name), bench.context)
  bench.write({
    one: `FROM ${shellBase}\nRUN echo shared > /shared\nRUN echo one > /name\n`,
    two: `FROM ${shellBase}\nRUN echo shared > /shared\nRUN echo two > /name\n`,
  })
  const prunes = async (): Promise<void> => {
    for (let i = 0; i < 4; i++) await bench.ok('prune', i % 2 === 0 ? '--all' : '--force')
  }
  for (let round = 0; round < 2; round++) {
    await Promise.all([build('one'), build('two'), prunes()])
    await Promise.all([build('two'), build('one')])
    for (const name of ['one', 'two']) {
      assert.is(await bench.ok('run', '--rm', name, 'cat', '/shared', '/name'), `shared\n${name}\n`)
    }
  }
})

pruneTest('builds collect by limits, say what went and why, and steps that run again say so', async (bench) => {
  const dockerfile = (n: number): string => `FROM ${shellBase}\nRUN head -c 2000000 /dev/zero > /${n}\n`
  const build = async (n: number, env: Record<string, string>): Promise<Ended> => {
    bench.write({ Dockerfile: dockerfile(n) })
    const ended = await mille(bench.root, ['build', '-t', 'app', '--progress=plain', bench.context], { env })
    assert.is(ended.code, 0, ended.stderr)
    return ended
  }
  const limits = { MILLE_GC_MAX_USED: '3MB', MILLE_GC_MIN_FREE: '0', MILLE_GC_RESERVED: '0' }
  for (const n of [1, 2, 3, 4]) await build(n, { ...limits, MILLE_GC: 'off' })
  const used = async (): Promise<number> =>
    sumOf((await du(bench)).filter(({ Reclaimable, Type }) => Reclaimable && Type !== 'history'))
  assert.ok((await used()) > 6_000_000)
  const collecting = await build(5, limits)
  assert.match(
    collecting.stderr,
    /\nRemoved \S+MB from the cache: .*results? used longest ago, for space.* \(MILLE_GC=off turns this off\)\n$/,
  )
  assert.ok((await used()) <= 3 * 1024 ** 2)
  assert.not.match((await build(5, limits)).stderr, 'Removed')
  assert.match((await build(1, limits)).stderr, /why: its result was pruned \d+ s ago/)
  assert.is((await bench.run('build', bench.context)).code, 0)
})

pruneTest('a variable with a value it cannot have is an error that says what it can be', async (bench) => {
  for (const [name, value, expected] of [
    ['MILLE_GC', 'maybe', 'on or off'],
    ['MILLE_HISTORY', 'some', 'on or off'],
    ['MILLE_GC_MAX_USED', 'much', 'a size such as 20GB or a part of the disk such as 10%'],
    ['MILLE_GC_MIN_FREE', '120%', 'at most 100%'],
    ['MILLE_GC_RESERVED', '5 apples', 'a size such as 20GB or a part of the disk such as 10%'],
    ['MILLE_GC_KEEP_DURATION', '2 moons', 'a length of time such as 48h or 60d'],
    ['BUILDKIT_PROGRESS', 'fancy', 'one of auto, tty, plain, rawjson, quiet, none'],
  ] as const) {
    const { code, stderr } = await mille(bench.root, ['build', bench.context], { env: { [name]: value } })
    assert.is(code, 2)
    assert.match(stderr, `${name} is "${value}", expected ${expected}`)
    assert.match(stderr, '[USAGE_BAD_VARIABLE]')
  }
})

pruneTest(
  'what was not used for 60 days goes, a store within its limits is left alone, and so is it by builds of nothing',
  async (bench) => {
    bench.write({ Dockerfile: `FROM ${shellBase}\nRUN echo old > /old\n` })
    await bench.ok('build', bench.context)
    const old = new Date(Date.now() - 61 * 86_400_000)
    const age = (path: string): void => {
      for (const name of readdirSync(path, { recursive: true, encoding: 'utf8' })) {
        if (statSync(join(path, name)).isFile()) utimesSync(join(path, name), old, old)
      }
    }
    age(join(bench.root, 'records'))
    age(join(bench.root, 'gc'))
    bench.write({ Dockerfile: `FROM ${shellBase}\nRUN echo new > /new\n` })
    const kept = await mille(bench.root, ['build', '-t', 'new', bench.context])
    assert.not.match(kept.stderr, 'Removed', 'the default reserves more than this')
    age(join(bench.root, 'gc'))
    const state = readFileSync(join(bench.root, 'gc/state.json'), 'utf8')
    const env = { MILLE_GC_RESERVED: '0', MILLE_GC_MIN_FREE: '0' }
    const again = await mille(bench.root, ['build', '-t', 'new', bench.context], { env })
    assert.match(again.stderr, /Removed \S+ from the cache: \d+ results? not used for 60 days/)
    assert.is.not(readFileSync(join(bench.root, 'gc/state.json'), 'utf8'), state)
    const before = statSync(join(bench.root, 'gc/state.json')).mtimeMs
    await mille(bench.root, ['build', '-t', 'new', bench.context], { env })
    assert.is(statSync(join(bench.root, 'gc/state.json')).mtimeMs, before)
  },
)

test.run()
