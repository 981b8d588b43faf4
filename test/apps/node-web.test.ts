/** fixtures/apps/node-web, from its base image to what other tools make of the result. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type App,
  buildApp,
  checkAcceptedByPeers,
  checkCachedRebuild,
  checkEqualToBuildah,
  checkNarrowRebuild,
  checkPushAndPullBack,
  prepareApp,
} from '../helpers/app.js'
import { whyNoBase } from '../helpers/bases.js'
import { milleOk, projectRoot } from '../helpers/cli.js'
import { executedSteps } from '../helpers/progress.js'
import { answers, freePort } from '../helpers/registry-server.js'
import { tempDirectory } from '../helpers/temp.js'
import { within } from '../helpers/within.js'

test('node-web builds, rebuilds from the cache, and is accepted everywhere', async () => {
  const reason = await whyNoBase('node')
  if (reason !== undefined) return void console.log(`SKIP: ${reason}`)
  await using directory = await tempDirectory()
  const app = await prepareApp('node-web', 'node', directory.path)
  const first = await buildApp(app)
  assert.ok(executedSteps(first).length > 2, 'the first build carries its steps out')
  await checkCachedRebuild(app, 'src/server.js')
  await checkEqualToBuildah(app, 'node')
  await checkAcceptedByPeers(app, ['node', '--version'], /^v\d+/)
  await checkPushAndPullBack(app)
  await checkNarrowRebuild(app, 'src/greet.js', [/COPY \. \./, /RUN groupadd/])
  assert.match(await milleOk(app.root, ['run', '--rm', app.tag, 'node', '--version']), /^v\d+/)
  await checkAnswersOverHttp(app)
})

/** The server answers as the user the Dockerfile names, and ends by itself when mille is told to stop. */
async function checkAnswersOverHttp(app: App): Promise<void> {
  const port = await freePort()
  const args = ['run', '--rm', '--network', 'host', '-e', `PORT=${port}`, app.tag]
  const server = spawn(join(projectRoot, 'bin/mille'), args, { env: { ...process.env, MILLE_ROOT: app.root }, stdio: 'ignore' })
  const ended = new Promise<number | null>((resolve) => server.once('exit', resolve))
  try {
    const answer = (await (await answers(`http://127.0.0.1:${port}/`)).json()) as { message: string; uid: number }
    assert.is(answer.message, 'hello from mille')
    assert.ok(answer.uid > 0, 'not root')
  } finally {
    server.kill('SIGTERM')
  }
  assert.is(await within(15_000, ended), 0)
}

test.run()
