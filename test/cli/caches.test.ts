/** Caches in buckets and with GitHub Actions by the command line as it ships: credentials and addresses come from variables. */
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { mille, milleOk } from '../helpers/cli.js'
import { startGha } from '../helpers/gha-server.js'
import { startS3 } from '../helpers/s3-server.js'

/** Builds on one store, then on another; what was found there is fetched by a later command. */
async function travels(where: string, env: Readonly<Record<string, string>>, summary: RegExp): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'mille-test-'))
  try {
    const context = join(directory, 'context')
    mkdirSync(context)
    writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY data /data\nCOPY data /again\n')
    writeFileSync(join(context, 'data'), Buffer.alloc(300_000, 'some data '))
    const [one, two] = [join(directory, 'one'), join(directory, 'two')]
    await milleOk(one, ['build', '--cache-to', `${where},mode=max`, context], { env })
    const built = await mille(two, ['build', '--cache-from', where, '-t', 'localhost/found', context], { env })
    assert.is(built.code, 0, built.stderr)
    assert.match(built.stderr, summary)
    assert.not.match(built.stderr, /NodeVersionSupportWarning/)
    const file = join(directory, 'image.tar')
    await milleOk(two, ['save', '-o', file, 'localhost/found'], { env })
    assert.ok(statSync(file).size > 1000)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

test('a bucket is reached with the variables of AWS', async () => {
  await using s3 = await startS3()
  const env = {
    AWS_BUCKET: 'caches',
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'S3RVER',
    AWS_SECRET_ACCESS_KEY: 'S3RVER',
    AWS_PROFILE: '',
  }
  const { endpointUrl } = s3.settings
  await travels(
    `type=s3,endpoint_url=${endpointUrl},use_path_style=true,name=main`,
    env,
    /imported 2 records from s3:\/\/caches\/main, 2 hit/,
  )
  assert.ok(s3.requests.some((line) => /^GET \/caches\/blobs\//.test(line)))
})

test('a job of GitHub Actions reaches its cache with the variables of the runner', async () => {
  await using gha = await startGha()
  const env = { ACTIONS_RESULTS_URL: gha.url, ACTIONS_RUNTIME_TOKEN: gha.token('refs/heads/main') }
  await travels('type=gha,scope=app', env, /imported 2 records from gha:app, 2 hit/)
  assert.equal(gha.mistakes, [])
})

test.run()
