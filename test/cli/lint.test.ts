/** `mille lint`, `mille fmt`, `build --check` and `--call` as a user types them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Ended, mille } from '../helpers/cli.js'
import { sarifProblems } from '../helpers/sarif.js'

interface SarifResult {
  readonly locations: readonly { readonly physicalLocation: { readonly artifactLocation: { readonly uri: string } } }[]
}

const doubtful = 'FROM scratch as base\nLABEL a b\n'

/** Runs command lines in a directory with one Dockerfile. */
async function inDirectory(
  dockerfile: string,
  body: (run: (...args: string[]) => Promise<Ended>, directory: string) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'mille-lint-'))
  try {
    writeFileSync(join(directory, 'Dockerfile'), dockerfile)
    await body((...args) => mille(join(directory, 'store'), args, { cwd: directory }), directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

test('build --check shows warnings with their line and exits with 1, without building', async () => {
  await inDirectory(doubtful, async (run) => {
    const { code, stdout } = await run('build', '--check', '.')
    assert.is(code, 1)
    assert.match(stdout, /Dockerfile:1:14: warning: .*\[FromAsCasing\]\n +1 \| FROM scratch as base\n +\| +\^~/)
    assert.match(stdout, '2 warnings have been found')
    assert.is((await run('images', '-q')).stdout, '')
  })
})

test('build --check of a clean file exits with 0', async () => {
  await inDirectory('FROM scratch\n', async (run) => {
    const { code, stdout } = await run('build', '--check', '.')
    assert.equal([code, stdout], [0, 'Dockerfile: Check complete, no warnings found.\n'])
  })
})

test('--call=check,format=json has the fields of buildx', async () => {
  await inDirectory(doubtful, async (run) => {
    const { stdout } = await run('build', '--call=check,format=json', '.')
    const { warnings, sources } = JSON.parse(stdout)
    assert.is(warnings[0].ruleName, 'FromAsCasing')
    assert.is(warnings[0].location.ranges[0].start.line, 1)
    assert.is(Buffer.from(sources[0].data, 'base64').toString(), doubtful)
  })
})

test('--call=outline and --call=targets print tables', async () => {
  await inDirectory('# base is first\nFROM scratch AS base\nARG A=1\n', async (run) => {
    assert.match(
      (await run('build', '--call=outline', '.')).stdout,
      /TARGET: +base\nDESCRIPTION: +is first\n\nBUILD ARG .*\nA +1\n/,
    )
    assert.match((await run('build', '--call=targets', '.')).stdout, /base \(default\) +scratch +is first/)
  })
})

test('an unknown call is a usage error', async () => {
  await inDirectory(doubtful, async (run) => {
    assert.is((await run('build', '--call=nothing', '.')).code, 2)
    assert.is((await run('build', '--check', '--call=targets', '.')).code, 2)
  })
})

test('a build shows its warnings at the end, and error=true makes it fail', async () => {
  await inDirectory(doubtful, async (run, directory) => {
    const { code, stderr } = await run('build', '.')
    assert.is(code, 0)
    assert.ok(stderr.indexOf('2 warnings found:') > stderr.indexOf('exporting'))
    writeFileSync(join(directory, 'Dockerfile'), `# check=error=true\n${doubtful}`)
    const failed = await run('build', '.')
    assert.is(failed.code, 1)
    assert.match(failed.stderr, 'lint violation found for rules: FromAsCasing, LegacyKeyValueFormat [DOCKERFILE_CHECK_FAILED]')
  })
})

test('lint --fix mends the file, sarif and github name the rules', async () => {
  await inDirectory(doubtful, async (run, directory) => {
    const sarif = JSON.parse((await run('lint', '--format', 'sarif', 'Dockerfile')).stdout)
    assert.is(sarif.runs[0].results[0].ruleId, 'FromAsCasing')
    assert.match(
      (await run('lint', '--format=github', 'Dockerfile')).stdout,
      '::warning file=Dockerfile,line=1,col=14,title=FromAsCasing::',
    )
    assert.is((await run('lint', '--fix', 'Dockerfile')).code, 0)
    assert.is(readFileSync(join(directory, 'Dockerfile'), 'utf8'), 'FROM scratch AS base\nLABEL a=b\n')
  })
})

test('sarif and github stand names and texts with anything in them', async () => {
  await inDirectory('FROM scratch\n', async (run, directory) => {
    const name = 'a b%,:é#.Dockerfile'
    writeFileSync(
      join(directory, name),
      'FROM scratch as base\nENV "é\u{1f600}" as\nCOPY --link --chmod=1 a /\nLABLE a=b\n\nEXPOSE 80/TCP',
    )
    const { stdout } = await run('lint', '--format', 'sarif', name, join(directory, 'Dockerfile'), join(directory, name))
    const log = JSON.parse(stdout)
    assert.equal(sarifProblems(log), [])
    const uris = log.runs[0].results.map((result: SarifResult) => result.locations[0]?.physicalLocation.artifactLocation.uri)
    assert.is(uris[0], 'a%20b%25,%3A%C3%A9%23.Dockerfile')
    assert.is(decodeURIComponent(uris.at(-1)), `file://${join(directory, name)}`)
    const lines = (await run('lint', '--format=github', name)).stdout
    assert.match(lines, '::warning file=a b%25%2C%3Aé#.Dockerfile,line=1,col=14,title=FromAsCasing::')
    assert.ok(
      lines
        .trimEnd()
        .split('\n')
        .every((line) => /^::(warning|error) file=[^,:]*,line=\d+,col=\d+,title=[^,:]+::/.test(line)),
      lines,
    )
  })
})

test('fmt prints, names and rewrites files', async () => {
  await inDirectory('from   scratch\n', async (run, directory) => {
    assert.is((await run('fmt', 'Dockerfile')).stdout, 'FROM scratch\n')
    const check = await run('fmt', '--check', 'Dockerfile')
    assert.equal([check.code, check.stdout], [1, 'Dockerfile\n'])
    assert.is((await run('fmt', '--write', 'Dockerfile')).code, 0)
    assert.is(readFileSync(join(directory, 'Dockerfile'), 'utf8'), 'FROM scratch\n')
    assert.is((await run('fmt', '--check', 'Dockerfile')).code, 0)
  })
})

test.run()
