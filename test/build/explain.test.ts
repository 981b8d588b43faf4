/** Reasons through the real command line: each is provoked by the change that it names. Most need no container. */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { writeRecord } from '../../src/store/record-file.js'
import { milleOk } from '../helpers/cli.js'
import { whyNoBuild } from '../helpers/engine.js'
import { explainBench, reasonsOf, shellBase } from '../helpers/explain.js'

const whyNoShell = await whyNoBuild()

const app = `FROM scratch AS files
WORKDIR /app
COPY src ./src
COPY other /other
FROM scratch
COPY --from=files /app /app
`

test('a first build says of each step that it was never built, a second runs nothing', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: app, 'src/a': '1', other: 'x' })
  const first = await bench.explain()
  assert.equal(new Set(first.steps.flatMap(({ reason }) => reason?.kind ?? [])), new Set(['new']))
  assert.is(first.counts.ran, 4)
  assert.not(first.upToDate)
  const folder = join(bench.root, 'explain')
  const before = readdirSync(folder).map((name) => [name, statSync(join(folder, name)).mtimeMs])
  const second = await bench.explain()
  assert.ok(second.upToDate)
  assert.equal(reasonsOf(second), [])
  assert.equal(
    readdirSync(folder).map((name) => [name, statSync(join(folder, name)).mtimeMs]),
    before,
    'a build of nothing writes nothing for explanations',
  )
  assert.match(await bench.ok('build', '--explain', bench.context), 'no step ran')
})

test('names the files that changed, came and went, and the steps that this led to', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: app, 'src/a': '1', 'src/b': '1', 'src/c': '1', other: 'x' })
  await bench.reasons()
  bench.write({ 'src/b': '2', 'src/new': '1' })
  rmSync(join(bench.context, 'src/c'))
  const changed = await bench.explain()
  assert.equal(reasonsOf(changed), [
    'COPY src ./src <- src/b changed (and 2 more)',
    'COPY other /other <- its input COPY src ./src changed',
    'COPY --from=files /app /app <- its input COPY other /other changed',
  ])
  assert.equal(changed.steps.find(({ name }) => name.includes('COPY src'))?.reason?.changes, [
    {
      kind: 'files',
      count: 3,
      paths: [
        { path: 'src/b', change: 'changed' },
        { path: 'src/new', change: 'added' },
        { path: 'src/c', change: 'removed' },
      ],
    },
  ])
  bench.write({ other: 'y' })
  assert.equal((await bench.reasons())[0], 'COPY other /other <- other changed')
  utimesSync(join(bench.context, 'other'), 1, 1)
  assert.equal(await bench.reasons(), [], 'a time is no change')
})

test('compares with the nearest state, not the last', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: 'FROM scratch\nCOPY . /\n', '.dockerignore': 'Dockerfile\n.dockerignore', a: '1', b: '1', c: '1' })
  await bench.reasons()
  bench.write({ a: '2', b: '2', c: '2' })
  await bench.reasons()
  bench.write({ Dockerfile: 'FROM scratch\nCOPY . /\nCOPY a /z\n' })
  assert.equal(await bench.reasons(), ['COPY a /z <- never built here'])
})

test('tells a changed instruction, with both texts, from a new one', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: 'FROM scratch\nCOPY a /first\nCOPY b /second\n', a: '1', b: '1' })
  await bench.reasons()
  bench.write({ Dockerfile: 'FROM scratch\nCOPY a /other\nCOPY b /new\nCOPY b /second\n' })
  const { steps } = await bench.explain()
  const reasons = steps.flatMap(({ reason }) => (reason === undefined ? [] : [reason]))
  assert.equal(reasons[0]?.changes, [{ kind: 'instruction', old: 'COPY a /first', new: 'COPY a /other' }])
  assert.is(reasons[0]?.text, 'the instruction changed, it was COPY a /first')
  assert.is(reasons[1]?.text, 'never built here')
  assert.is(reasons[2]?.text, 'its input COPY b /new changed')
  const dockerfile = (name: string): string => `FROM scratch\nARG NAME=${name}\nCOPY a /$NAME\n`
  bench.write({ Dockerfile: dockerfile('one') })
  await bench.reasons()
  bench.write({ Dockerfile: dockerfile('two') })
  assert.equal(await bench.reasons(), ['COPY a /two <- the instruction changed, it was COPY a /one'])
})

test('names the base that is another one now', async () => {
  using bench = await explainBench()
  const base = (text: string): void => bench.write({ Dockerfile: 'FROM scratch\nCOPY a /a\n', a: text })
  const child = (tag: string): string => `FROM localhost/base:${tag}\nCOPY a /b\n`
  base('1')
  await bench.ok('build', '-t', 'localhost/base:1', bench.context)
  bench.write({ Dockerfile: child('1') })
  await bench.reasons()
  base('2')
  await bench.ok('build', '-t', 'localhost/base:1', '-t', 'localhost/base:2', bench.context)
  bench.write({ a: '1', Dockerfile: child('1') })
  const [reason = ''] = await bench.reasons()
  assert.match(reason, /^COPY a \/b <- base localhost\/base:1 is now sha256:[0-9a-f]{12}$/)
  base('3')
  await bench.ok('build', '-t', 'localhost/base:3', bench.context)
  bench.write({ a: '1', Dockerfile: child('3') })
  assert.equal(await bench.reasons(), ['COPY a /b <- the base is localhost/base:3 now, it was localhost/base:1'])
})

test('--no-cache, --no-cache-filter, and a result that was pruned or is gone', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: app, 'src/a': '1', other: 'x' })
  await bench.reasons('-t', 'app')
  const forced = await bench.reasons('--no-cache')
  assert.is(forced.length, 3, 'all but WORKDIR')
  assert.ok(forced.every((text) => text.endsWith(' <- --no-cache')))
  const filtered = await bench.reasons('--no-cache-filter', 'files')
  assert.is(filtered.length, 2, 'what comes after is found by its content')
  assert.ok(filtered.every((text) => text.endsWith(' <- --no-cache-filter files')))
  await bench.ok('prune', '--all')
  const pruned = await bench.reasons()
  assert.is(pruned.length, 4)
  assert.ok(
    pruned.every((text) => / <- its result was pruned \d+ s ago$/.test(text)),
    pruned.join('\n'),
  )
  rmSync(join(bench.root, 'records'), { recursive: true })
  const lost = await bench.reasons()
  assert.ok(
    lost.every((text) => text.endsWith(' <- its result is not in the store any more')),
    lost.join('\n'),
  )
})

test('what was kept in another form costs the reasons, not the build', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: app, 'src/a': '1', other: 'x' })
  await bench.reasons()
  const folder = join(bench.root, 'explain')
  const journals = readdirSync(folder).filter((name) => name.endsWith('.journal'))
  assert.is(journals.length, 1)
  for (const name of journals) {
    const text = readFileSync(join(folder, name), 'utf8')
    const { value } = JSON.parse(text) as { value: unknown }
    writeRecord(
      join(folder, name),
      JSON.parse(JSON.stringify(value, (key, inner: unknown) => (key === 'shown' ? undefined : inner))),
    )
  }
  bench.write({ other: 'y' })
  assert.equal(await bench.reasons(), ['COPY other /other <- never built here'])
  bench.write({ other: 'z' })
  assert.equal(await bench.reasons(), ['COPY other /other <- other changed'])
})

test('a check-out elsewhere, and another target, are compared with what was built before', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: app, 'src/a': '1', other: 'x' })
  await bench.reasons()
  bench.write({ 'src/a': '2' })
  const second = join(bench.directory, 'second/context')
  cpSync(bench.context, second, { recursive: true })
  const report = JSON.parse(await milleOk(bench.root, ['build', '--explain=json', '--target', 'files', second]))
  assert.equal(reasonsOf(report)[0], 'COPY src ./src <- src/a changed')
})

test('a dry run says what would run, and writes nothing', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: app, 'src/a': '1', other: 'x' })
  const never = await bench.explain('--dry-run')
  assert.is(never.counts['would-run'], 4)
  assert.not(existsSync(bench.root), 'no store is made')
  await bench.reasons('-t', 'app')
  assert.ok((await bench.explain('--dry-run')).upToDate)
  bench.write({ other: 'y' })
  const before = listing(bench.root)
  const { stdout, code } = await bench.run('build', '--dry-run', bench.context)
  assert.is(code, 0)
  assert.match(stdout, 'why: other changed')
  const foreseen = await bench.explain('--dry-run')
  assert.equal(listing(bench.root), before)
  assert.equal(
    foreseen.steps.filter(({ reason }) => reason !== undefined).map(({ status }) => status),
    ['would-run', 'may-run'],
  )
  const done = await bench.explain()
  // /app, which the last step takes, comes out as it was: what may run need not.
  assert.equal(reasonsOf(done), reasonsOf({ steps: foreseen.steps.filter(({ status }) => status === 'would-run') }))
})

test('every progress has the reasons; --explain does not mix with results on stdout', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: 'FROM scratch\nCOPY a /a\n', a: '1' })
  const plain = await bench.run('build', '--progress=plain', bench.context)
  assert.match(plain.stderr, /\n#\d+ \[1\/1\] COPY a \/a\n#\d+ why: never built here\n/)
  bench.write({ a: '2' })
  const { stderr } = await bench.run('build', '--progress=rawjson', bench.context)
  const vertices = stderr
    .trim()
    .split('\n')
    .flatMap((line) => (JSON.parse(line) as { vertexes?: { reason?: { text: string } }[] }).vertexes ?? [])
  assert.equal(
    vertices.flatMap(({ reason }) => reason?.text ?? []),
    ['a changed'],
  )
  const mixed = await bench.run('build', '--explain', '-o', '-', bench.context)
  assert.is(mixed.code, 2)
  assert.match(mixed.stderr, '--explain prints to stdout')
  assert.is((await bench.run('build', '--explain=xml', bench.context)).code, 2)
})

test('variables, settings and failures of RUN', async () => {
  if (whyNoShell !== undefined) {
    console.log(`SKIP: ${whyNoShell}`)
    return
  }
  using bench = await explainBench({ shell: true })
  const dockerfile = (mode: string, command = 'true'): string => `FROM ${shellBase}
ARG VERSION=1.2
ARG API_TOKEN=none
ENV MODE=${mode}
RUN ${command}
`
  bench.write({ Dockerfile: dockerfile('a') })
  await bench.reasons()
  assert.equal(await bench.reasons('--build-arg', 'VERSION=1.3'), ['RUN true <- ARG VERSION: 1.2 → 1.3'])
  assert.equal(await bench.reasons('--build-arg', 'API_TOKEN=hidden-value'), ['RUN true <- ARG API_TOKEN has another value'])
  bench.write({ Dockerfile: dockerfile('b') })
  assert.equal(await bench.reasons(), ['RUN true <- ENV MODE: a → b'])
  assert.equal(await bench.reasons('--network', 'none'), ['RUN true <- network: default → none'])
  const folder = join(bench.root, 'explain')
  assert.not(readdirSync(folder).some((name) => readFileSync(join(folder, name), 'utf8').includes('hidden-value')))
  bench.write({ Dockerfile: dockerfile('b', 'false') })
  assert.match((await bench.reasons())[0] ?? '', 'RUN false <- the instruction changed, it was RUN true')
  assert.match((await bench.reasons())[0] ?? '', /^RUN false <- it did not succeed \d+ s ago$/)
  bench.write({ Dockerfile: dockerfile('b', 'true # again') })
  assert.equal(await bench.reasons(), ['RUN true # again <- the instruction changed, it was RUN true'])
})

test('of 12 steps the third is edited and leaves the same files: one step runs', async () => {
  if (whyNoShell !== undefined) {
    console.log(`SKIP: ${whyNoShell}`)
    return
  }
  using bench = await explainBench({ shell: true })
  const steps = (comment: string): string =>
    Array.from({ length: 12 }, (_, i) => (i === 2 ? `RUN echo 3 > /3 # ${comment}` : `RUN cat /* 2>&1 | wc > /${i + 1}`)).join(
      '\n',
    )
  bench.write({ Dockerfile: `FROM ${shellBase}\n${steps('one')}\n` })
  assert.is((await bench.explain()).counts.ran, 12)
  bench.write({ Dockerfile: `FROM ${shellBase}\n${steps('two')}\n` })
  assert.equal(await bench.reasons(), ['RUN echo 3 > /3 # two <- the instruction changed, it was RUN echo 3 > /3 # one'])
})

/** Every file below a directory with its size and time. */
function listing(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const stats = statSync(join(root, name))
      return `${name} ${stats.isFile() ? stats.size : ''} ${stats.mtimeMs}`
    })
}

test.run()
