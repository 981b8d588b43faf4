/** Build records through the real command line. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BuildRecord } from '../../src/store/builds.js'
import { projectRoot } from '../helpers/cli.js'
import { whyNoBuild } from '../helpers/engine.js'
import { explainBench, shellBase } from '../helpers/explain.js'

const whyNoShell = await whyNoBuild()

test('lists, shows, compares and removes records of builds', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: 'FROM scratch\nCOPY a /a\nCOPY b /b\n', a: '1', b: '1' })
  const metadata = join(bench.directory, 'metadata.json')
  await bench.ok('build', '-t', 'app', '--build-arg', 'API_TOKEN=hidden', '--metadata-file', metadata, bench.context)
  await bench.ok('build', bench.context)
  bench.write({ b: '2' })
  await bench.ok('build', bench.context)
  const rows = (await bench.ok('history', 'ls', '--no-trunc', '--format', '{{.ID}} {{.Name}} {{.Status}} {{.Steps}}')).trim()
  const [last = '', warm = '', first = ''] = rows.split('\n')
  assert.match(last, /^[a-z0-9]{25} context Completed 1\/2$/)
  assert.match(warm, / 0\/2$/)
  assert.match(first, / 2\/2$/)
  assert.is((await bench.ok('history', '-q')).trim().split('\n').length, 3)
  assert.is((await bench.ok('buildx', 'history', 'ls', '-q')).trim().split('\n').length, 3)

  const record = JSON.parse(await bench.ok('history', 'inspect', '--format', 'json', '^2')) as BuildRecord
  assert.equal(record.names, ['docker.io/library/app:latest'])
  assert.equal(record.buildArgs, { API_TOKEN: '***' })
  assert.is(record.context, bench.context)
  assert.equal(
    record.steps.filter(({ reason }) => reason).map(({ status, key = '' }) => `${status} ${key.slice(0, 7)}`),
    ['ran sha256:', 'ran sha256:'],
  )
  assert.is(record.warnings.length > 0, true, 'the argument that nothing declares')
  const { 'buildx.build.ref': ref } = JSON.parse(await (await import('node:fs/promises')).readFile(metadata, 'utf8'))
  assert.match(await bench.ok('history', 'inspect', ref), `Build:      ${record.id}`)
  const shown = await bench.ok('history', 'inspect')
  assert.match(shown, /\ncached +\[1\/2\] COPY a \/a\nran +\d+\.\ds +\[2\/2\] COPY b \/b\n +why: b changed\n/)

  const difference = await bench.ok('history', 'diff')
  assert.match(difference, /\nran in B, not in A \(.*\):\n +\d+\.\ds {2}COPY b \/b\n +why: b changed\n/)
  assert.match(await bench.ok('history', 'diff', '^0', '^1'), 'ran in A, not in B')
  const pairs = JSON.parse(await bench.ok('history', 'diff', '--format', 'json', '^2', '^0')).steps as {
    name: string
    b?: unknown
  }[]
  assert.ok(pairs.some(({ name, b }) => name === 'COPY b /b' && b !== undefined))

  assert.match(await bench.ok('history', 'logs'), /#\d+ \[2\/2\] COPY b \/b\n#\d+ why: b changed\n#\d+ DONE/)
  assert.match(await bench.ok('history', 'logs', '^1'), '[2/2] COPY b /b\n#')
  await bench.ok('history', 'rm', record.id.slice(0, 10))
  const missing = await bench.run('history', 'inspect', record.id)
  assert.is(missing.code, 1)
  assert.match(missing.stderr, 'HISTORY_NOT_FOUND')
  await bench.ok('history', 'rm', '--all')
  assert.equal(readdirSync(join(bench.root, 'history')), [])
  assert.match(await bench.ok('history', 'app'), 'COPY b /b', 'with an image it is docker’s')
})

test('MILLE_HISTORY=0 keeps no record', async () => {
  using bench = await explainBench()
  bench.write({ Dockerfile: 'FROM scratch\nCOPY a /a\n', a: '1' })
  const { runProgram } = await import('../helpers/cli.js')
  const env = { MILLE_ROOT: bench.root, MILLE_HISTORY: '0' }
  assert.is((await runProgram(join(projectRoot, 'bin/mille'), ['build', bench.context], { env })).code, 0)
  assert.not(existsSync(join(bench.root, 'history')))
})

test('failed, interrupted and killed builds have records with the output until then', async () => {
  if (whyNoShell !== undefined) {
    console.log(`SKIP: ${whyNoShell}`)
    return
  }
  using bench = await explainBench({ shell: true })
  bench.write({ Dockerfile: `FROM ${shellBase}\nRUN echo before && exit 3\n` })
  assert.is((await bench.run('build', bench.context)).code, 1)
  const failed = JSON.parse(await bench.ok('history', 'inspect', '--format', 'json')) as BuildRecord
  assert.is(failed.status, 'failed')
  assert.is(failed.error?.code, 'SANDBOX_COMMAND_FAILED')
  assert.is(failed.steps.find(({ name }) => name.includes('RUN'))?.status, 'failed')
  assert.match(await bench.ok('history', 'logs'), / before\n#\d+ ERROR: /)

  bench.write({ Dockerfile: `FROM ${shellBase}\nRUN echo begun && sleep 60\n` })
  for (const [signal, status] of [
    ['SIGINT', 'Cancelled'],
    ['SIGKILL', 'Killed'],
  ] as const) {
    const child = spawn(join(projectRoot, 'bin/mille'), ['build', '--progress=plain', bench.context], {
      env: { ...process.env, MILLE_ROOT: bench.root },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let printed = ''
    child.stderr.on('data', (data: Buffer) => {
      printed += data.toString()
    })
    while (!/\d begun/.test(printed)) await sleep(20)
    assert.match(await bench.ok('history', 'ls'), 'Running')
    const closed = new Promise((resolve) => child.on('exit', resolve))
    child.kill(signal)
    await closed
    const [row = ''] = (await bench.ok('history', 'ls', '--format', '{{.Status}}')).split('\n')
    assert.is(row, status)
  }
})

test.run()
