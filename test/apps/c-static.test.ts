/** fixtures/apps/c-static, from its base image to what other tools make of the result. */
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

test('c-static builds, rebuilds from the cache, and is accepted everywhere', async () => {
  const reason = await whyNoBase('gcc')
  if (reason !== undefined) return void console.log(`SKIP: ${reason}`)
  await using directory = await tempDirectory()
  const app = await prepareApp('c-static', 'gcc', directory.path)
  const first = await buildApp(app)
  assert.ok(executedSteps(first).length > 2, 'the first build carries its steps out')
  await checkCachedRebuild(app, 'src/main.c')
  await checkEqualToBuildah(app, 'gcc')
  await checkAcceptedByPeers(app, ['12'], /^2\n3\n5\n7\n11\n$/)
  await checkPushAndPullBack(app)
  // An empty line more gives the same program, which is all that the last stage takes.
  await checkNarrowRebuild(app, 'src/main.c', [/COPY src\//, /RUN make/])
  assert.match(await milleOk(app.root, ['run', '--rm', app.tag, ...['12']]), /^2\n3\n5\n7\n11\n$/)
})

test.run()
