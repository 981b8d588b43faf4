/** fixtures/apps/node-web, from its base image to what other tools make of the result. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  buildApp,
  checkAcceptedByPeers,
  checkCachedRebuild,
  checkEqualToBuildah,
  checkNarrowRebuild,
  checkPushAndPullBack,
  prepareApp,
} from '../helpers/app.js'
import { whyNoBase } from '../helpers/bases.js'
import { milleOk } from '../helpers/cli.js'
import { executedSteps } from '../helpers/progress.js'
import { tempDirectory } from '../helpers/temp.js'

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
  assert.match(await milleOk(app.root, ['run', '--rm', app.tag, ...['node', '--version']]), /^v\d+/)
})

test.run()
